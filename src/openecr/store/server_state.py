"""What the first start decided, and what every start looks at."""

from sqlalchemy import bindparam, select

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

MOVED_TO = "moved_to"
"""Where a database was moved, that is not to be used any more."""

COMPATIBILITY = "oldest_compatible_"
"""What the names of rows begin with that migrations of a PostgreSQL write."""

_S = SERVER_STATE.c
FIND = Statement(select(_S.value).where(_S.name == bindparam("the_name")))
PUT = insert_or_replace(SERVER_STATE, conflict=("name",), columns=("name", "value"), replace=("value",))

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
