"""What the first start decided, and what every start looks at."""

from sqlalchemy import bindparam, delete, select, update

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_ignore, insert_or_replace
from openecr.store.statements import Statement
from openecr.store.tables import SERVER_STATE

DEFAULT_ACCOUNT = "default_account"
KEY_RING_PROOF = "key_ring_proof"
BLOB_STORE = "blob_store"
"""The id of the store that holds the blobs, which the store is marked with."""

BLOB_STORE_MARKED = "blob_store_marked"
"""Whether the store has its mark: from then on it must have it."""

BLOB_STORE_MOVING = "blob_store_moving"
"""Whether the store that blobs are being moved to has its mark: while they move it must have it."""

MOVED_TO = "moved_to"
"""Where a database was moved, that is not to be used any more."""

MOVING_TO = "moving_to"
"""The move that was begun, and where to. It is copied with all others: where it is found, the move has arrived."""

MASTER_KEY = "master_key_"
"""What the names of rows begin with that hold master keys as an external KMS encrypted them; a number follows."""

MASTER_KEY_PROOF = "key_ring_proof_"
"""What the names of rows begin with that each start proves its master keys with, one by one; a number follows."""

REWRAP_UNDER = "rewrap_under"
"""The number of the master key under which an operator has asked to seal everything anew, until that is done."""

COMPATIBILITY = "oldest_compatible_"
"""What the names of rows begin with that migrations of a PostgreSQL write."""

_S = SERVER_STATE.c
FIND = Statement(select(_S.value).where(_S.name == bindparam("the_name")))
LIST = Statement(
    select(_S.name, _S.value)
    .where(_S.name >= bindparam("first"), _S.name < bindparam("end"))
    .order_by(_S.name)
    .limit(bindparam("count"))
)
LAST = Statement(
    select(_S.name)
    .where(_S.name >= bindparam("first"), _S.name < bindparam("end"))
    .order_by(_S.name.desc())
    .limit(1)
)
REPLACE = Statement(
    update(SERVER_STATE)
    .where(_S.name == bindparam("the_name"), _S.value == bindparam("seen"))
    .values(value=bindparam("new_value"))
)
PUT = insert_or_replace(SERVER_STATE, conflict=("name",), columns=("name", "value"), replace=("value",))

REMOVE = Statement(delete(SERVER_STATE).where(_S.name == bindparam("the_name")))
PUT_FIRST = insert_or_ignore(SERVER_STATE, conflict=("name",), columns=("name", "value"))


def find(connection: Connection, name: str) -> str | None:
    """Return a recorded value, or None."""
    row = connection.fetch_one(FIND, the_name=name)
    return None if row is None else str(row[0])


def put(connection: Connection, name: str, value: str) -> None:
    """Record a value."""
    connection.execute(PUT, name=name, value=value)


def put_first(connection: Connection, name: str, value: str) -> None:
    """Record a value unless there is one."""
    connection.execute(PUT_FIRST, name=name, value=value)


def remove(connection: Connection, name: str) -> None:
    """Forget a value, if there is one."""
    connection.execute(REMOVE, the_name=name)


def replace(connection: Connection, name: str, value: str, *, seen: str) -> bool:
    """Record another value where the one that was seen still stands; tell whether it did."""
    return connection.execute(REPLACE, the_name=name, new_value=value, seen=seen) > 0


def list_named(connection: Connection, prefix: str, *, limit: int) -> list[tuple[str, str]]:
    """Return names that begin with a prefix, in order, and their values."""
    rows = connection.fetch_all(LIST, first=prefix, end=f"{prefix}\x7f", count=limit)
    return [(str(row[0]), str(row[1])) for row in rows]


def find_last(connection: Connection, prefix: str) -> str | None:
    """Return the last name that begins with a prefix, or None."""
    row = connection.fetch_one(LAST, first=prefix, end=f"{prefix}\x7f")
    return None if row is None else str(row[0])
