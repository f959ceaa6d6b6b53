"""Who calls: from an access key's id (AWS face) or an authorization token (registry face) to a caller.

Nothing is cached about keys and roles: each request reads the row that the caller's rights hang on, so that a key that
was made inactive, or a role that was deleted, ends at once with all its sessions.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from openecr.application.accounts import SECRET_PURPOSE, associated_data
from openecr.application.authorization_tokens import AuthorizationTokens
from openecr.application.sessions import Carried, SessionClaims, Sessions, caller_of, owned_by
from openecr.domain.accounts import KeyOwner
from openecr.domain.callers import Caller
from openecr.domain.errors import TokenInvalid
from openecr.domain.registries import RegistryId
from openecr.engines.sigv4 import ExpiredSession
from openecr.ports.clock import Clock
from openecr.ports.keys import KeyRing
from openecr.store import access_keys, principals
from openecr.store.database import Database
from openecr.store.principals import Scene

_KEY_ID_MAX_CHARACTERS = 128
_CALLERS_KEPT = 1024


class Bearer(msgspec.Struct, frozen=True):
    """For whom a sealed token or link stands. `principal_id` is the caller's unique id."""

    account_id: str
    principal_id: str
    access_key_id: str
    session: Carried


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a signature is checked with, and who the caller is if it fits."""

    secret: str = field(repr=False)
    caller: Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """Who sent a request to the registry, and what was read along with that: it is for the authorizer alone."""

    caller: Caller
    scene: Scene


class Authenticator:
    """Finds the caller that credentials stand for."""

    def __init__(
        self,
        *,
        database: Database,
        keys: KeyRing,
        clock: Clock,
        tokens: AuthorizationTokens,
        sessions: Sessions,
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._tokens = tokens
        self._sessions = sessions

    async def secret_of(self, access_key_id: str, session_token: str | None = None) -> Credential | None:
        """Return the secret and the owner of a key, or None where the key is unknown or inactive.

        A session's key is known by its token alone, and a key that lasts is as good as unknown with one. Raises
        ExpiredSession.
        """
        if len(access_key_id) > _KEY_ID_MAX_CHARACTERS or not _is_alphanumeric(access_key_id):
            return None  # PostgreSQL's text takes no NUL
        if session_token is not None:
            return await self._secret_of_session(access_key_id, session_token)
        found = await self._database.read(
            lambda connection: access_keys.find_active(connection, access_key_id)
        )
        if found is None:
            return None
        key, owner = found
        caller = _caller(owner)
        if caller is None:
            return None
        secret = self._keys.unseal(
            SECRET_PURPOSE, key.sealed_secret, associated=associated_data(key.account_id, key.access_key_id)
        )
        return Credential(secret=secret.decode(), caller=caller)

    async def _secret_of_session(self, access_key_id: str, session_token: str) -> Credential | None:
        opened = self._sessions.open(access_key_id, session_token)
        if opened is None:
            return None
        if opened.claims.expires_at <= self._clock.now():
            raise ExpiredSession
        found = await self._find_session(opened.claims, _nowhere(opened.claims.account_id), None)
        if found is None:
            return None
        return Credential(secret=opened.secret, caller=found.caller)

    async def by_token(
        self, token_text: str, registry: RegistryId, repository_name: str | None = None
    ) -> Authenticated:
        """Return whose token this is, on a host of `registry`, and what a decision begins with.

        All is read in one statement, since every request to the registry needs it. Raises TokenInvalid (not this
        server's, another region's, or its key, role or owner is inactive or gone) and TokenExpired.
        """
        claims = self._tokens.open(token_text, region=registry.region)
        bearer = Bearer(claims.account_id, claims.principal_id, claims.access_key_id, claims.session)
        found = await self._find(bearer, registry, repository_name)
        if found is None:
            raise TokenInvalid
        return found

    async def by_bearer(self, bearer: Bearer) -> Authenticated | None:
        """Return who bears a link, or None where the key, role or owner is inactive or gone."""
        return await self._find(bearer, _nowhere(bearer.account_id), None)

    async def _find(self, bearer: Bearer, registry: RegistryId, name: str | None) -> Authenticated | None:
        if bearer.session is not None:
            claims = await self._sessions.find_carried(bearer.session)
            return None if claims is None else await self._find_session(claims, registry, name)
        found = await self._database.read(
            lambda connection: access_keys.find_active_owner(connection, bearer.access_key_id, registry, name)
        )
        if found is None:
            return None
        owner, scene = found
        if (owner.account_id, owner.principal_id) != (bearer.account_id, bearer.principal_id):
            return None
        return _authenticated(_caller(owner), scene)

    async def _find_session(
        self, claims: SessionClaims, registry: RegistryId, name: str | None
    ) -> Authenticated | None:
        """Return the caller of a session whose role, or whose maker's key, is there and works."""
        if claims.is_of_role:
            scene = await self._database.read(
                lambda connection: principals.find_role_scene(
                    connection, claims.principal_id, claims.account_id, registry, name
                )
            )
            return None if scene is None else _authenticated(caller_of(claims, None), scene)
        found = await self._database.read(
            lambda connection: access_keys.find_active_owner(connection, claims.made_by, registry, name)
        )
        return None if found is None else _authenticated(caller_of(claims, found[0]), found[1])


def _authenticated(caller: Caller | None, scene: Scene) -> Authenticated | None:
    if caller is None or scene.caller_epoch is None:
        return None
    return Authenticated(caller=caller, scene=scene)


def _nowhere(account_id: str) -> RegistryId:
    """Return a registry without repositories, for what is about none."""
    return RegistryId(account_id=account_id, region="")


def _is_alphanumeric(text: str) -> bool:
    return text.isascii() and text.isalnum()


@lru_cache(_CALLERS_KEPT)
def _caller(owner: KeyOwner) -> Caller | None:
    return owned_by(owner, owner.access_key_id)
