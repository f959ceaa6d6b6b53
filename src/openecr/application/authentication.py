"""Who calls: from an access key's id (AWS face) or an authorization token (registry face) to a caller.

Nothing is cached about keys: each request reads the key's row, so that a key that was made inactive stops at once.
"""

from dataclasses import dataclass, field
from functools import lru_cache

from openecr.application.accounts import SECRET_PURPOSE, associated_data
from openecr.application.authorization_tokens import AuthorizationTokens
from openecr.domain.accounts import KeyOwner
from openecr.domain.callers import Caller, Root, User
from openecr.domain.errors import TokenInvalid
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import Repository
from openecr.ports.keys import KeyRing
from openecr.store import access_keys
from openecr.store.database import Database

_KEY_ID_MAX_CHARACTERS = 128
_CALLERS_KEPT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a signature is checked with, and who the caller is if it fits."""

    secret: str = field(repr=False)
    caller: Caller
    caller_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticated:
    """Who sent a request to the registry, and what was read along with that.

    `repository` is for the authorizer alone. The epochs are those of the caller's account and of the registry's, by
    which the authorizer tells whether what it kept still holds; `owner_epoch` is None where there is no such account.
    """

    caller: Caller
    repository: Repository | None
    caller_epoch: int
    owner_epoch: int | None


class Authenticator:
    """Finds the caller that credentials stand for."""

    def __init__(self, *, database: Database, keys: KeyRing, tokens: AuthorizationTokens) -> None:
        self._database = database
        self._keys = keys
        self._tokens = tokens

    async def secret_of(self, access_key_id: str, session_token: str | None = None) -> Credential | None:
        """Return the secret and the owner of a key, or None where the key is unknown or inactive.

        A session token belongs to no key that lasts: with one, such a key is as good as unknown.
        """
        if session_token is not None:
            return None
        if len(access_key_id) > _KEY_ID_MAX_CHARACTERS or not _is_alphanumeric(access_key_id):
            return None  # PostgreSQL's text takes no NUL
        found = await self._database.read(
            lambda connection: access_keys.find_active(connection, access_key_id)
        )
        if found is None:
            return None
        key, owner, epoch = found
        caller = _caller(owner)
        if caller is None:
            return None
        secret = self._keys.unseal(
            SECRET_PURPOSE, key.sealed_secret, associated=associated_data(key.account_id, key.access_key_id)
        )
        return Credential(secret=secret.decode(), caller=caller, caller_epoch=epoch)

    async def by_token(
        self, token_text: str, registry: RegistryId, repository_name: str | None = None
    ) -> Authenticated:
        """Return whose token this is, on a host of `registry`, and what a decision begins with.

        All is read in one statement, since every request to the registry needs it. Raises TokenInvalid (not this
        server's, another region's, or its key or owner is inactive or gone) and TokenExpired.
        """
        claims = self._tokens.open(token_text, region=registry.region)
        found = await self._database.read(
            lambda connection: access_keys.find_active_owner(
                connection, claims.access_key_id, registry, repository_name
            )
        )
        if found is None or claims.session is not None:
            raise TokenInvalid
        owner, scene = found
        if (owner.account_id, owner.principal_id) != (claims.account_id, claims.principal_id):
            raise TokenInvalid
        caller = _caller(owner)
        if caller is None or scene.caller_epoch is None:
            raise TokenInvalid
        return Authenticated(
            caller=caller,
            repository=scene.repository,
            caller_epoch=scene.caller_epoch,
            owner_epoch=scene.owner_epoch,
        )


def _is_alphanumeric(text: str) -> bool:
    return text.isascii() and text.isalnum()


@lru_cache(_CALLERS_KEPT)
def _caller(owner: KeyOwner) -> Caller | None:
    """Return the principal of a key: the root, whose id is the account's, or a user. None where the user is gone."""
    if owner.principal_id == owner.account_id:
        return Root(account_id=owner.account_id, access_key_id=owner.access_key_id)
    if owner.user is None:
        return None
    name, path = owner.user
    return User(
        account_id=owner.account_id,
        access_key_id=owner.access_key_id,
        unique_id=owner.principal_id,
        name=name,
        path=path,
    )
