"""Accounts and their root access keys: what the operator's command line does. No network door leads here."""

import base64

from openecr.domain.accounts import Account, RootKey, SealedKey
from openecr.domain.errors import AccountUnusable
from openecr.domain.iam import ACCESS_KEY_PREFIX, ACCESS_KEY_RANDOM_BYTES, access_key_id
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.registries import is_account_id
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.ports.keys import KeyRing
from openecr.store import access_keys, accounts, server_state
from openecr.store.connections import Connection
from openecr.store.database import Database

FIRST_ACCOUNT_ID = "000000000000"
"""The default account of a server that was never told another."""

SECRET_PURPOSE = "access-key-secret"  # noqa: S105 -- the name of a purpose, not a secret
_SECRET_BYTES = 30  # forty characters of base64, as AWS makes them


def associated_data(account_id: str, access_key_id: str) -> bytes:
    """Return what a sealed secret is bound to: table, account and id."""
    return f"access_keys/{account_id}/{access_key_id}".encode()


class Accounts:
    """Makes, lists and re-keys accounts."""

    def __init__(self, *, database: Database, keys: KeyRing, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock
        self._ids = ids

    async def ensure(self, account_id: str | None = None) -> RootKey:
        """Return a working root key of the default account, which is made where it is missing.

        `account_id` becomes the default account; None means the recorded one, or the first one of all servers.
        Raises AccountUnusable for an id that is not twelve digits.
        """
        if account_id is None:
            account_id = await self.find_default() or FIRST_ACCOUNT_ID
        prepared, fresh = self._prepare(_checked(account_id))
        created_at = self._clock.now()

        def ensure(connection: Connection) -> SealedKey:
            server_state.put(connection, server_state.DEFAULT_ACCOUNT, account_id)
            accounts.add(connection, account_id, created_at=created_at)
            found = access_keys.find_newest_active(connection, account_id, account_id)
            if found is not None:
                return found
            access_keys.add(connection, prepared, created_at=created_at)
            accounts.raise_epoch(connection, account_id)
            return prepared

        kept = await self._database.write(ensure)
        return fresh if kept is prepared else self._reveal(kept)

    async def find_default(self) -> str | None:
        """Return the recorded default account, or None before the first start."""
        return await self._database.read(
            lambda connection: server_state.find(connection, server_state.DEFAULT_ACCOUNT)
        )

    async def create(self, account_id: str) -> RootKey:
        """Make an account and its root key. Raises AccountUnusable."""
        prepared, fresh = self._prepare(_checked(account_id))
        created_at = self._clock.now()

        def create(connection: Connection) -> None:
            if not accounts.add(connection, account_id, created_at=created_at):
                raise AccountUnusable(message=f"the account {account_id} exists already")
            access_keys.add(connection, prepared, created_at=created_at)

        await self._database.write(create)
        return fresh

    async def rotate_key(self, account_id: str) -> RootKey:
        """Make a new root key; the account's other root keys stop working at once. Raises AccountUnusable."""
        prepared, fresh = self._prepare(_checked(account_id))
        created_at = self._clock.now()

        def rotate(connection: Connection) -> None:
            _require(connection, account_id)
            access_keys.retire(connection, account_id, account_id)
            access_keys.add(connection, prepared, created_at=created_at)
            accounts.raise_epoch(connection, account_id)

        await self._database.write(rotate)
        return fresh

    async def root_key(self, account_id: str) -> RootKey:
        """Return the newest root key of an account that works. Raises AccountUnusable."""

        def find(connection: Connection) -> SealedKey | None:
            _require(connection, account_id)
            return access_keys.find_newest_active(connection, account_id, account_id)

        found = await self._database.read(find)
        if found is None:
            raise AccountUnusable(message=f"the account {account_id} has no active root key: rotate it")
        return self._reveal(found)

    async def list(self, page: PageRequest) -> Page[Account]:
        """Return a page of accounts by id, with the root keys that work."""

        def read(connection: Connection) -> tuple[list[tuple[str, int]], list[tuple[str, str]]]:
            found = accounts.list_after(connection, page.after or "", count=page.limit + 1)
            return found, access_keys.list_active_roots(connection, [account_id for account_id, _ in found])

        found, keys = await self._database.scan(read)
        items = [
            Account(
                account_id=account_id,
                created_at=created_at,
                access_key_ids=tuple(key for owner, key in keys if owner == account_id),
            )
            for account_id, created_at in found
        ]
        return cut_page(items, page.limit, lambda account: account.account_id)

    def _prepare(self, account_id: str) -> tuple[SealedKey, RootKey]:
        """Draw and seal a key before the unit of work, which may run twice."""
        key_id = access_key_id(ACCESS_KEY_PREFIX, account_id, self._ids.token(ACCESS_KEY_RANDOM_BYTES))
        secret = base64.b64encode(self._ids.token(_SECRET_BYTES)).decode()
        sealed = self._keys.seal(
            SECRET_PURPOSE, secret.encode(), associated=associated_data(account_id, key_id)
        )
        return (
            SealedKey(
                access_key_id=key_id,
                account_id=account_id,
                principal_id=account_id,
                sealed_secret=sealed,
            ),
            RootKey(account_id=account_id, access_key_id=key_id, secret=secret, is_new=True),
        )

    def _reveal(self, key: SealedKey) -> RootKey:
        secret = self._keys.unseal(
            SECRET_PURPOSE,
            key.sealed_secret,
            associated=associated_data(key.account_id, key.access_key_id),
        )
        return RootKey(account_id=key.account_id, access_key_id=key.access_key_id, secret=secret.decode())


def _checked(account_id: str) -> str:
    if not is_account_id(account_id):
        raise AccountUnusable(message=f"an account id has twelve digits, not {account_id[:32]!r}")
    return account_id


def _require(connection: Connection, account_id: str) -> None:
    if not accounts.exists(connection, account_id):
        raise AccountUnusable(message=f"there is no account {account_id[:32]}")
