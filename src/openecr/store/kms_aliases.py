"""Aliases of keys."""

from sqlalchemy import bindparam, delete, func, insert, select, update

from openecr.domain.kms import KmsAlias
from openecr.domain.registries import RegistryId
from openecr.store.connections import Connection, Row
from openecr.store.kms_tables import KMS_ALIASES
from openecr.store.statements import Statement

_A = KMS_ALIASES.c
_COLUMNS = (_A.registry_id, _A.name, _A.key_id, _A.created_at, _A.updated_at)
_IS_THIS = (_A.registry_id == bindparam("registry"), _A.name == bindparam("the_name"))

ADD = Statement(insert(KMS_ALIASES), columns=("registry_id", "name", "key_id", "created_at", "updated_at"))
FIND = Statement(select(*_COLUMNS).where(*_IS_THIS), is_shared=True)
LIST = Statement(
    select(*_COLUMNS)
    .where(_A.registry_id == bindparam("registry"), _A.name > bindparam("after"))
    .order_by(_A.name)
    .limit(bindparam("count"))
)
LIST_OF_KEY = Statement(
    select(*_COLUMNS)
    .where(_A.key_id == bindparam("the_key"), _A.name > bindparam("after"))
    .order_by(_A.name)
    .limit(bindparam("count"))
)
COUNT_OF_KEY = Statement(
    select(func.count()).select_from(KMS_ALIASES).where(_A.key_id == bindparam("the_key"))
)
POINT = Statement(
    update(KMS_ALIASES)
    .where(*_IS_THIS)
    .values(key_id=bindparam("new_key"), updated_at=bindparam("new_updated_at"))
)
REMOVE = Statement(delete(KMS_ALIASES).where(*_IS_THIS))
REMOVE_OF_KEY = Statement(delete(KMS_ALIASES).where(_A.key_id == bindparam("the_key")))


def add(connection: Connection, alias: KmsAlias) -> None:
    """Add an alias. Raises ConstraintViolated where the name is taken."""
    connection.execute(
        ADD,
        registry_id=str(alias.registry),
        name=alias.name,
        key_id=alias.key_id,
        created_at=alias.created_at,
        updated_at=alias.updated_at,
    )


def find(connection: Connection, registry: RegistryId, name: str) -> KmsAlias | None:
    """Return an alias, or None."""
    row = connection.fetch_one(FIND, registry=str(registry), the_name=name)
    return None if row is None else _alias(row)


def list_after(connection: Connection, registry: RegistryId, *, after: str, limit: int) -> list[KmsAlias]:
    """Return an account's aliases by name, those that sort after `after`."""
    rows = connection.fetch_all(LIST, registry=str(registry), after=after, count=limit)
    return [_alias(row) for row in rows]


def list_of_key(connection: Connection, key_id: str, *, after: str = "", limit: int) -> list[KmsAlias]:
    """Return a key's aliases by name, those that sort after `after`."""
    rows = connection.fetch_all(LIST_OF_KEY, the_key=key_id, after=after, count=limit)
    return [_alias(row) for row in rows]


def count_of_key(connection: Connection, key_id: str) -> int:
    """Return how many aliases a key has."""
    row = connection.fetch_one(COUNT_OF_KEY, the_key=key_id)
    return 0 if row is None else int(row[0])


def point(connection: Connection, alias: KmsAlias, *, key_id: str, updated_at: int) -> None:
    """Let an alias name another key."""
    connection.execute(
        POINT,
        registry=str(alias.registry),
        the_name=alias.name,
        new_key=key_id,
        new_updated_at=updated_at,
    )


def remove(connection: Connection, alias: KmsAlias) -> None:
    """Remove an alias."""
    connection.execute(REMOVE, registry=str(alias.registry), the_name=alias.name)


def remove_of_key(connection: Connection, key_id: str) -> None:
    """Remove a key's aliases."""
    connection.execute(REMOVE_OF_KEY, the_key=key_id)


def _alias(row: Row) -> KmsAlias:
    registry_id, name, key_id, created_at, updated_at = row
    return KmsAlias(
        registry=RegistryId.parse(registry_id),
        name=name,
        key_id=key_id,
        created_at=created_at,
        updated_at=updated_at,
    )
