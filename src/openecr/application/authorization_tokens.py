"""Authorization tokens: the passwords that GetAuthorizationToken hands out and docker sends.

A token is sealed and self-contained, so that a login writes nothing. It names a principal and decides nothing: whether
its key still works, and what the principal may do, is asked at every use.
"""

import base64
import binascii
import enum
import functools
from dataclasses import dataclass

import msgspec

from openecr.application.sessions import Carried
from openecr.domain.callers import Caller
from openecr.domain.errors import TokenExpired, TokenInvalid
from openecr.ports.clock import Clock
from openecr.ports.keys import ServerKeyRing

TOKEN_MAX_CHARACTERS = 2_000
"""Windows' credential store takes no more."""

LIFETIME_SECONDS = 12 * 60 * 60
"""ECR API, GetAuthorizationToken: a token is valid for twelve hours."""

_PURPOSE = "authorization-token"
_VERSION = b"authorization-token/1"
_DECODED_TOKENS = 4_096
_SECOND = 1_000_000


class TokenEnd(enum.Enum):
    """When a token of temporary credentials ends: alone after its twelve hours, or with their session if sooner."""

    ALONE = "ALONE"
    WITH_SESSION = "WITH_SESSION"


class TokenClaims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says. Instants in microseconds; `session` as `Sessions.carry` gave it."""

    region: str
    account_id: str
    principal_id: str
    access_key_id: str
    issued_at: int
    expires_at: int
    session: Carried = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationToken:
    """A token and the instant at which it ends."""

    token_text: str
    expires_at: int


class AuthorizationTokens:
    """Issues and opens tokens."""

    def __init__(
        self,
        *,
        keys: ServerKeyRing,
        clock: Clock,
        lifetime_seconds: int = LIFETIME_SECONDS,
        end: TokenEnd = TokenEnd.ALONE,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._lifetime = lifetime_seconds * _SECOND
        self._end = end
        # Opening is pure, so what it gave may be kept, and used while the ring is open: nothing in it can change.
        self._decode = functools.lru_cache(maxsize=_DECODED_TOKENS)(self._unseal)

    def issue(self, caller: Caller, region: str, session: Carried = None) -> AuthorizationToken:
        """Return a token for the registries of `region`: base64url, so that no colon is in it.

        `session` is the caller's as `Sessions.carry` gives it.
        """
        assert (session is None) is (caller.session is None), "temporary credentials are told as such"
        issued_at = self._clock.now()
        claims = TokenClaims(
            region=region,
            account_id=caller.account_id,
            principal_id=caller.unique_id,
            access_key_id=caller.access_key_id,
            issued_at=issued_at,
            expires_at=self._expiry(caller, issued_at),
            session=session,
        )
        sealed = self._keys.seal(_PURPOSE, msgspec.msgpack.encode(claims), associated=_VERSION)
        text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        assert len(text) <= TOKEN_MAX_CHARACTERS, "names are bounded, so tokens are"
        return AuthorizationToken(token_text=text, expires_at=claims.expires_at)

    def open(self, token_text: str, *, region: str) -> TokenClaims:
        """Return what a token of this server says on a host of `region`.

        Raises TokenInvalid, TokenExpired, Unavailable.
        """
        self._keys.check_open()
        if len(token_text) > TOKEN_MAX_CHARACTERS:
            raise TokenInvalid
        claims = self._decode(token_text)
        if claims.region != region:
            raise TokenInvalid
        if claims.expires_at <= self._clock.now():
            raise TokenExpired
        return claims

    def _expiry(self, caller: Caller, issued_at: int) -> int:
        expires_at = issued_at + self._lifetime
        if caller.session is None or self._end is TokenEnd.ALONE:
            return expires_at
        return min(expires_at, caller.session.expires_at)

    def _unseal(self, token_text: str) -> TokenClaims:
        try:
            encoded = token_text.encode("ascii")
            sealed = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
            plain = self._keys.unseal(_PURPOSE, sealed, associated=_VERSION)
            return msgspec.msgpack.decode(plain, type=TokenClaims)
        except (UnicodeEncodeError, binascii.Error, ValueError, msgspec.MsgspecError) as error:
            raise TokenInvalid from error
