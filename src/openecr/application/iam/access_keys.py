"""Access keys of users, and of the root, that clients make and end themselves."""

import base64
from dataclasses import dataclass, field

from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.accounts import SECRET_PURPOSE, associated_data
from openecr.application.audit import audited
from openecr.application.iam import entities
from openecr.application.limits import Limits
from openecr.domain.accounts import AccessKey, KeyStatus, KeyUse, SealedKey
from openecr.domain.decisions import Grant
from openecr.domain.iam import ACCESS_KEY_PREFIX, ACCESS_KEY_RANDOM_BYTES, access_key_id
from openecr.domain.iam_errors import NoSuchEntity
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.ports.keys import KeyRing
from openecr.store import access_keys, accounts, iam_entities
from openecr.store.connections import Connection
from openecr.store.database import Database

_SECRET_BYTES = 30  # forty characters of base64, as AWS makes them


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedKey:
    """An access key and the name of its user; None: it is the root's."""

    key: AccessKey
    user_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made, with its secret, which is never told again."""

    owned: OwnedKey
    secret: str = field(repr=False)


class AccessKeys:
    """The use cases of access keys. A grant that names no user is about the root, who is the caller."""

    def __init__(
        self,
        *,
        database: Database,
        keys: KeyRing,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        uses: AccessKeyUses,
    ) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._uses = uses

    async def create(self, grant: Grant) -> NewKey:
        """Make a key that works. Raises NoSuchEntity, IamLimitExceeded."""
        account_id, created_at = grant.registry.account_id, self._clock.now()
        key_id = access_key_id(ACCESS_KEY_PREFIX, account_id, self._ids.token(ACCESS_KEY_RANDOM_BYTES))
        secret = base64.b64encode(self._ids.token(_SECRET_BYTES)).decode()
        sealed = self._keys.seal(
            SECRET_PURPOSE, secret.encode(), associated=associated_data(account_id, key_id)
        )

        def unit(connection: Connection) -> OwnedKey:
            principal_id, user_name = _owner(connection, grant)
            entities.check_quota(
                len(access_keys.list_of(connection, account_id, principal_id)),
                self._limits.access_keys_per_user,
                "AccessKeysPerUser",
            )
            kept = SealedKey(
                access_key_id=key_id, account_id=account_id, principal_id=principal_id, sealed_secret=sealed
            )
            access_keys.add(connection, kept, created_at=created_at)
            accounts.raise_epoch(connection, account_id)
            key = AccessKey(
                access_key_id=key_id,
                account_id=account_id,
                principal_id=principal_id,
                status=KeyStatus.ACTIVE,
                created_at=created_at,
            )
            return OwnedKey(key=key, user_name=user_name)

        owned = await self._database.write(audited(grant, unit))
        return NewKey(owned=owned, secret=secret)

    async def list(self, grant: Grant, page: PageRequest) -> tuple[str | None, Page[AccessKey]]:
        """Return the user's name and a page of its keys by id. Raises NoSuchEntity."""

        def work(connection: Connection) -> tuple[str | None, list[AccessKey]]:
            principal_id, user_name = _owner(connection, grant)
            return user_name, access_keys.list_of(connection, grant.registry.account_id, principal_id)

        user_name, keys = await self._database.read(work)
        after = page.after or ""
        ordered = sorted(keys, key=lambda key: key.access_key_id)
        later = [key for key in ordered if key.access_key_id > after]
        return user_name, cut_page(later, page.limit, lambda key: key.access_key_id)

    async def set_status(self, grant: Grant, key_id: str, status: KeyStatus) -> None:
        """Make a key work or not, from the next request on. Raises NoSuchEntity."""

        def unit(connection: Connection) -> None:
            key = _require_key(connection, grant, key_id)
            access_keys.set_status(connection, key.access_key_id, status)
            accounts.raise_epoch(connection, key.account_id)

        await self._database.write(audited(grant, unit))

    async def delete(self, grant: Grant, key_id: str) -> None:
        """End a key for ever. Raises NoSuchEntity."""

        def unit(connection: Connection) -> None:
            key = _require_key(connection, grant, key_id)
            access_keys.remove(connection, key.access_key_id)
            accounts.raise_epoch(connection, key.account_id)

        await self._database.write(audited(grant, unit))
        await self._uses.forget(key_id)

    async def last_used(self, grant: Grant, key_id: str) -> tuple[str | None, KeyUse | None]:
        """Return the name of a key's user, and when it was last used, if ever. Raises NoSuchEntity."""

        def work(connection: Connection) -> str | None:
            key = access_keys.find(connection, key_id)
            if key is None or key.account_id != grant.registry.account_id:
                raise _missing(key_id)
            if grant.located != entities.locate(connection, key.account_id, grant.requirement.entity):
                raise _missing(key_id)
            owner = iam_entities.find_by_id(connection, key.principal_id)
            return None if owner is None else owner.name

        return await self._database.read(work), await self._uses.find(key_id)


def _owner(connection: Connection, grant: Grant) -> tuple[str, str | None]:
    """Return the principal's id, and the name of a user. Raises NoSuchEntity."""
    if grant.requirement.entity is None:
        return grant.registry.account_id, None
    user = entities.require_user(connection, grant)
    return user.unique_id, user.name


def _require_key(connection: Connection, grant: Grant, key_id: str) -> AccessKey:
    """Return a key of the very principal that the grant is about: another's is as good as missing."""
    principal_id, _ = _owner(connection, grant)
    key = access_keys.find(connection, key_id)
    if key is None or (key.account_id, key.principal_id) != (grant.registry.account_id, principal_id):
        raise _missing(key_id)
    return key


def _missing(key_id: str) -> NoSuchEntity:
    return NoSuchEntity(message=f"The Access Key with id {key_id} cannot be found.")
