"""Sessions of temporary credentials: sealed into session tokens, and carried by authorization tokens and links.

A session is kept nowhere: its token says all of it, under a seal that holds for one access key id alone. What a session
says never changes, so that what opening gave may be kept; whether the principal behind it still works is asked at every
use (`application/authentication.py`). Only a session too large for an authorization token becomes a row.
"""

import base64
import binascii
import functools
import hashlib
import zlib
from dataclasses import dataclass, field

import msgspec

from openecr.domain.accounts import KeyOwner
from openecr.domain.callers import Caller, FederatedUser, RoleSession, Root, Session, User
from openecr.ports.clock import Clock
from openecr.ports.keys import ServerKeyRing
from openecr.store import large_sessions
from openecr.store.connections import Connection
from openecr.store.database import Database

SESSION_TOKEN_MAX_CHARACTERS = 16_384
"""No more is read of a request's session token; the bound on policies and tags keeps tokens far below."""

CARRIED_MAX_BYTES = 900
"""A larger session does not fit into an authorization token of 2,000 characters, nor into a link."""

Carried = bytes | None
"""A session inside of a token or link: itself, or the id of its row; None for a key that lasts."""

_TOKEN_PURPOSE = "session-token"  # noqa: S105 -- the name of a purpose
ROW_PURPOSE = "large-session"
_ROW_MARK = b"#"  # what is packed begins with an x
_ROW_GRACE = 60 * 60 * 1_000_000
_OPENED_TOKENS = 1_024
_CALLERS = 1_024
_ROWS = 256


class SessionClaims(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed of a caller with temporary credentials. Instants in microseconds.

    `principal_id` is the role's, or that of the user (or root: the account's) whose key `made_by` made the session.
    """

    kind: str
    account_id: str
    principal_id: str
    role_name: str
    access_key_id: str
    issued_at: int
    expires_at: int
    name: str
    source_identity: str | None
    tags: tuple[tuple[str, str], ...]
    transitive_tag_keys: tuple[str, ...]
    policy: str | None
    policy_arns: tuple[str, ...]
    made_by: str
    federated_provider: str | None

    @property
    def is_of_role(self) -> bool:
        """Tell whether it ends with a role, and not with a key."""
        return self.kind == _ROLE


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    secret: str
    claims: SessionClaims


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session token that was opened: the secret of its access key, and what it says."""

    secret: str = field(repr=False)
    claims: SessionClaims


_ROOT, _USER, _ROLE, _FEDERATED = "root", "user", "role", "federated"


class Sessions:
    """Seals and opens sessions."""

    def __init__(
        self, *, database: Database, keys: ServerKeyRing, clock: Clock, carried_seconds: int
    ) -> None:
        """`carried_seconds`: how long an authorization token or a link lives at most."""
        self._database = database
        self._keys = keys
        self._clock = clock
        self._carried = carried_seconds * 1_000_000
        # Opening is pure, so what it gave may be kept, and used while the ring is open: nothing in it can change.
        self._open = functools.lru_cache(maxsize=_OPENED_TOKENS)(self._unseal)
        self._rows: dict[str, SessionClaims] = {}

    def issue(self, caller: Caller, secret: str) -> str:
        """Return the session token of a caller with a session, whose access key has this secret."""
        plain = zlib.compress(msgspec.msgpack.encode(_Sealed(secret, claims_of(caller))))
        sealed = self._keys.seal(_TOKEN_PURPOSE, plain, associated=caller.access_key_id.encode())
        token = base64.b64encode(sealed).decode()
        assert len(token) <= SESSION_TOKEN_MAX_CHARACTERS, "policies and tags are bounded, so tokens are"
        return token

    def open(self, access_key_id: str, session_token: str) -> OpenedSession | None:
        """Return the session of this access key id, ended or not; None for what is no token of this server for it.

        Raises Unavailable.
        """
        self._keys.check_open()
        if len(session_token) > SESSION_TOKEN_MAX_CHARACTERS:
            return None
        try:
            return self._open(access_key_id, session_token)
        except ValueError:
            return None

    async def carry(self, caller: Caller) -> Carried:
        """Return the session as a token or link carries it. A large one gets a row that outlives both."""
        if caller.session is None:
            return None
        packed = pack(caller)
        if len(packed) <= CARRIED_MAX_BYTES:
            return packed
        row_id = hashlib.sha256(packed).hexdigest()
        assert not packed.startswith(_ROW_MARK), "what zlib writes begins with its header"
        needed_until = self._clock.now() + self._carried
        sealed = self._keys.seal(ROW_PURPOSE, packed, associated=row_id.encode())

        def unit(connection: Connection) -> None:
            large_sessions.keep(
                connection,
                row_id,
                account_id=caller.account_id,
                sealed=sealed,
                expires_at=needed_until + _ROW_GRACE,
            )

        kept_until = await self._database.read(
            lambda connection: large_sessions.find_expiry(connection, row_id)
        )
        if kept_until is None or kept_until < needed_until:
            await self._database.write(unit)
        return _ROW_MARK + row_id.encode()

    async def find_carried(self, carried: bytes) -> SessionClaims | None:
        """Return what a token or link of this server carries, or None where the row is gone. Raises Unavailable."""
        self._keys.check_open()
        if not carried.startswith(_ROW_MARK):
            return unpack(carried)
        row_id = carried.removeprefix(_ROW_MARK).decode()
        claims = self._rows.get(row_id)
        if claims is None:
            sealed = await self._database.read(lambda connection: large_sessions.find(connection, row_id))
            if sealed is None:
                return None
            claims = unpack(self._keys.unseal(ROW_PURPOSE, sealed, associated=row_id.encode()))
            if len(self._rows) >= _ROWS:
                del self._rows[next(iter(self._rows))]
            self._rows[row_id] = claims
        return claims

    def _unseal(self, access_key_id: str, session_token: str) -> OpenedSession:
        """Raises ValueError for what was not sealed here for that key."""
        try:
            sealed = base64.b64decode(session_token.encode("ascii"), validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise ValueError from error
        plain = self._keys.unseal(_TOKEN_PURPOSE, sealed, associated=access_key_id.encode())
        try:
            opened = msgspec.msgpack.decode(zlib.decompress(plain), type=_Sealed)
        except msgspec.MsgspecError as error:  # of a server of another release
            raise ValueError from error
        return OpenedSession(secret=opened.secret, claims=opened.claims)


def pack(caller: Caller) -> bytes:
    """Return the session of a caller in as few bytes as may be."""
    return zlib.compress(msgspec.msgpack.encode(claims_of(caller)))


@functools.lru_cache(_CALLERS)
def unpack(packed: bytes) -> SessionClaims:
    """Return what `pack` put together, which came back under a seal."""
    return msgspec.msgpack.decode(zlib.decompress(packed), type=SessionClaims)


def claims_of(caller: Caller) -> SessionClaims:
    """Return what is sealed of a caller who has a session."""
    session = caller.session
    assert session is not None, "a key that lasts needs no session"
    kind, principal_id, role_name = _principal_of(caller)
    return SessionClaims(
        kind=kind,
        account_id=caller.account_id,
        principal_id=principal_id,
        role_name=role_name,
        access_key_id=caller.access_key_id,
        issued_at=session.issued_at,
        expires_at=session.expires_at,
        name=session.name,
        source_identity=session.source_identity,
        tags=session.tags,
        transitive_tag_keys=session.transitive_tag_keys,
        policy=session.policy,
        policy_arns=session.policy_arns,
        made_by=session.made_by,
        federated_provider=session.federated_provider,
    )


def _principal_of(caller: Caller) -> tuple[str, str, str]:
    match caller:
        case Root():
            return _ROOT, caller.account_id, ""
        case User():
            return _USER, caller.unique_id, ""
        case RoleSession():
            return _ROLE, caller.unique_id, caller.role_name
        case FederatedUser():
            return _FEDERATED, caller.user_id, ""
        case _:
            raise AssertionError("a service has no session")


@functools.lru_cache(_CALLERS)
def caller_of(claims: SessionClaims, owner: KeyOwner | None) -> Caller | None:
    """Return the caller of a session. `owner` has the key that made it; None for a role's, which ends with the role.

    None where the key is not that of the session's principal any more.
    """
    session = _session_of(claims)
    if claims.kind == _ROLE:
        return RoleSession(
            account_id=claims.account_id,
            access_key_id=claims.access_key_id,
            unique_id=claims.principal_id,
            role_name=claims.role_name,
            session=session,
        )
    if owner is None or (owner.account_id, owner.principal_id) != (claims.account_id, claims.principal_id):
        return None
    if claims.kind == _FEDERATED:
        return FederatedUser(
            account_id=claims.account_id,
            access_key_id=claims.access_key_id,
            unique_id=f"{claims.account_id}:{claims.name}",
            user_id=claims.principal_id,
            session=session,
        )
    return owned_by(owner, claims.access_key_id, session)


def owned_by(owner: KeyOwner, access_key_id: str, session: Session | None = None) -> Caller | None:
    """Return the principal of a key: the root, whose id is the account's, or a user. None where the user is gone."""
    if owner.principal_id == owner.account_id:
        return Root(account_id=owner.account_id, access_key_id=access_key_id, session=session)
    if owner.user is None:
        return None
    name, path = owner.user
    return User(
        account_id=owner.account_id,
        access_key_id=access_key_id,
        unique_id=owner.principal_id,
        name=name,
        path=path,
        session=session,
    )


def _session_of(claims: SessionClaims) -> Session:
    return Session(
        issued_at=claims.issued_at,
        expires_at=claims.expires_at,
        name=claims.name,
        source_identity=claims.source_identity,
        tags=claims.tags,
        transitive_tag_keys=claims.transitive_tag_keys,
        policy=claims.policy,
        policy_arns=claims.policy_arns,
        made_by=claims.made_by,
        federated_provider=claims.federated_provider,
    )
