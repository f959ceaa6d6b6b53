"""Aliases: other names of keys, in one account and region."""

from openecr.application.audit import audited
from openecr.application.key_names import NamedKey, locate_key, require_key
from openecr.application.kms.states import check_stays
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.kms import RESERVED_ALIAS_PREFIX, KmsAlias, KmsKey, alias_arn, is_alias
from openecr.domain.kms_errors import (
    AliasAlreadyExists,
    InvalidAliasName,
    KmsLimitExceeded,
    KmsNotFound,
    KmsValidationFailed,
)
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.registries import RegistryId
from openecr.ports.clock import Clock
from openecr.store import accounts, kms_aliases
from openecr.store.connections import Connection
from openecr.store.database import Database


class Aliases:
    """The use cases of aliases. Policies may ask for them, so each change raises the account's epoch."""

    def __init__(self, *, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits

    async def create(self, grant: Grant, on_key: Grant, name: str) -> None:
        """Give a key another name.

        Raises InvalidAliasName, KmsValidationFailed, AliasAlreadyExists, KmsNotFound, KmsInvalidState,
        KmsLimitExceeded.
        """
        _check_name(name)
        registry, now = grant.registry, self._clock.now()

        def unit(connection: Connection) -> None:
            key = self._target(connection, on_key, registry)
            if kms_aliases.find(connection, registry, name) is not None:
                raise AliasAlreadyExists(alias_arn(registry, name))
            alias = KmsAlias(registry=registry, name=name, key_id=key.key_id, created_at=now, updated_at=now)
            self._check_quota(connection, key)
            kms_aliases.add(connection, alias)
            accounts.raise_epoch(connection, registry.account_id)

        await self._database.write(audited(grant, unit))

    async def point(self, grant: Grant, on_key: Grant, name: str) -> None:
        """Let an alias name another key. Raises as `create`, and KmsNotFound where there is no such alias."""
        _check_name(name)
        registry, now = grant.registry, self._clock.now()

        def unit(connection: Connection) -> None:
            alias = _require(connection, registry, name)
            key = self._target(connection, on_key, registry)
            if key.key_id != alias.key_id:
                self._check_quota(connection, key)
            kms_aliases.point(connection, alias, key_id=key.key_id, updated_at=now)
            accounts.raise_epoch(connection, registry.account_id)

        await self._database.write(audited(grant, unit))

    async def delete(self, grant: Grant, name: str) -> None:
        """Remove an alias; its key stays. Raises KmsNotFound, KmsValidationFailed, InvalidAliasName."""
        _check_name(name)
        registry = grant.registry

        def unit(connection: Connection) -> None:
            kms_aliases.remove(connection, _require(connection, registry, name))
            accounts.raise_epoch(connection, registry.account_id)

        await self._database.write(audited(grant, unit))

    async def list(self, grant: Grant, page: PageRequest, *, key: NamedKey | None) -> Page[KmsAlias]:
        """Return a page of the account's aliases by name, those of one key if it is given. Raises KmsNotFound."""
        registry, after, limit = grant.registry, page.after or "", page.limit + 1

        def scan(connection: Connection) -> list[KmsAlias]:
            if key is None:
                return kms_aliases.list_after(connection, registry, after=after, limit=limit)
            located = locate_key(connection, key.registry, key.name)
            if located is None or key.registry != registry:
                raise KmsNotFound(message=f"Key '{key.arn}' does not exist")
            return kms_aliases.list_of_key(connection, located.unique_id, after=after, limit=limit)

        return cut_page(await self._database.scan(scan), page.limit, lambda alias: alias.name)

    def _target(self, connection: Connection, on_key: Grant, registry: RegistryId) -> KmsKey:
        """Return the key that is to have the alias. Raises KmsNotFound, KmsInvalidState."""
        key = require_key(connection, on_key)
        if key.registry != registry:
            raise KmsNotFound(message=f"Key '{key.arn}' does not exist")
        check_stays(key)
        return key

    def _check_quota(self, connection: Connection, key: KmsKey) -> None:
        if kms_aliases.count_of_key(connection, key.key_id) >= self._limits.kms_aliases_per_key:
            raise KmsLimitExceeded(message="The key has as many aliases as it may have")


def _check_name(name: str) -> None:
    if not name.startswith("alias/"):
        raise KmsValidationFailed(
            message='Alias must start with the prefix "alias/". Please see '
            "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
        )
    if not is_alias(name):
        raise InvalidAliasName(message=f"{name} contains invalid characters for an alias")
    if name.startswith(RESERVED_ALIAS_PREFIX):
        raise InvalidAliasName(message=f"Aliases that begin with {RESERVED_ALIAS_PREFIX} are reserved")


def _require(connection: Connection, registry: RegistryId, name: str) -> KmsAlias:
    alias = kms_aliases.find(connection, registry, name)
    if alias is None:
        raise KmsNotFound(message=f"Alias {alias_arn(registry, name)} is not found.")
    return alias
