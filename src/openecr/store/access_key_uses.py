"""When and for what access keys were last used, in the database of what is noted beside.

No foreign key leads to the keys from there: the use of a key is removed with the key, and again by and by where another
process wrote it afterwards.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, select

from openecr.domain.accounts import KeyUse
from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_replace, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import ACCESS_KEY_USES

BATCH_ROWS = 500
_U = ACCESS_KEY_USES.c
_IS_THIS = _U.access_key_id == bindparam("the_id")
PUT = insert_or_replace(
    ACCESS_KEY_USES,
    conflict=("access_key_id",),
    columns=("access_key_id", "used_at", "service", "region"),
    replace=("used_at", "service", "region"),
    where_later="used_at",
)
FIND = Statement(select(_U.used_at, _U.service, _U.region).where(_IS_THIS))
REMOVE = Statement(delete(ACCESS_KEY_USES).where(_IS_THIS))
LIST_AFTER = Statement(
    select(_U.access_key_id)
    .where(_U.access_key_id > bindparam("after"))
    .order_by(_U.access_key_id)
    .limit(bindparam("limit"))
)
REMOVE_ALL = Statement(delete(ACCESS_KEY_USES).where(is_one_of(_U.access_key_id, "key_ids")))


def put(connection: Connection, uses: Mapping[str, KeyUse]) -> None:
    """Store the last uses of keys; a later use that another process has stored stays."""
    for access_key_id, use in uses.items():
        connection.execute(
            PUT, access_key_id=access_key_id, used_at=use.used_at, service=use.service, region=use.region
        )


def find(connection: Connection, access_key_id: str) -> KeyUse | None:
    """Return the last use of a key, or None where it never was used."""
    row = connection.fetch_one(FIND, the_id=access_key_id)
    return None if row is None else KeyUse(used_at=int(row[0]), service=str(row[1]), region=str(row[2]))


def remove(connection: Connection, access_key_id: str) -> None:
    """Forget the use of a key."""
    connection.execute(REMOVE, the_id=access_key_id)


def list_after(connection: Connection, *, after: str, limit: int) -> list[str]:
    """Return keys whose use is stored, by id."""
    return [str(row[0]) for row in connection.fetch_all(LIST_AFTER, after=after, limit=limit)]


def remove_all(connection: Connection, access_key_ids: Iterable[str]) -> None:
    """Forget the uses of keys."""
    connection.execute(REMOVE_ALL, key_ids=as_list(access_key_ids))
