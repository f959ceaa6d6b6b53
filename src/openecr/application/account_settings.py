"""Account settings: read, changed, and asked by the use cases that obey them."""

from openecr.application.audit import audited
from openecr.domain.account_settings import AccountSetting
from openecr.domain.decisions import Grant
from openecr.domain.errors import InvalidParameter, UnknownSetting
from openecr.domain.registries import RegistryId
from openecr.store import account_settings, accounts
from openecr.store.connections import Connection
from openecr.store.database import Database


def value_of(connection: Connection, registry: RegistryId, setting: AccountSetting) -> str:
    """Return a setting's value in a unit of work or a read, its default where it was never put."""
    return account_settings.find(connection, registry, setting.value) or setting.values[0]


class AccountSettings:
    """GetAccountSetting and PutAccountSetting."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def get(self, grant: Grant, name: str) -> tuple[str, str]:
        """Return the name and its value. Raises UnknownSetting."""
        setting = _parse(name)
        value = await self._database.read(lambda connection: value_of(connection, grant.registry, setting))
        return setting.value, value

    async def put(self, grant: Grant, name: str, value: str) -> tuple[str, str]:
        """Store a value and return it with its name. Raises UnknownSetting, InvalidParameter."""
        setting = _parse(name)
        if value not in setting.values:
            options = ", ".join(sorted(setting.values))
            raise InvalidParameter(
                parameter="value", constraint=f"Member must satisfy enum value set: [{options}]"
            )

        def unit(connection: Connection) -> None:
            account_settings.put(connection, grant.registry, setting.value, value)
            if setting is AccountSetting.REGISTRY_POLICY_SCOPE:
                accounts.raise_epoch(connection, grant.registry.account_id)

        await self._database.write(audited(grant, unit))
        return setting.value, value


def _parse(name: str) -> AccountSetting:
    try:
        return AccountSetting(name)
    except ValueError:
        raise UnknownSetting(message=f"The account setting '{name[:64]}' does not exist") from None
