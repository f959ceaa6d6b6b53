"""Account settings of a registry."""

from sqlalchemy import bindparam, select

from openecr.domain.registries import RegistryId
from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_replace
from openecr.store.statements import Statement
from openecr.store.tables import ACCOUNT_SETTINGS

_S = ACCOUNT_SETTINGS.c
FIND = Statement(
    select(_S.value).where(_S.registry_id == bindparam("registry_id"), _S.name == bindparam("name"))
)
PUT = insert_or_replace(
    ACCOUNT_SETTINGS,
    conflict=("registry_id", "name"),
    columns=("registry_id", "name", "value"),
    replace=("value",),
)


def find(connection: Connection, registry: RegistryId, name: str) -> str | None:
    """Return a setting's value, or None where it was never put."""
    row = connection.fetch_one(FIND, registry_id=str(registry), name=name)
    return None if row is None else str(row[0])


def put(connection: Connection, registry: RegistryId, name: str, value: str) -> None:
    """Store a setting's value."""
    connection.execute(PUT, registry_id=str(registry), name=name, value=value)
