"""Pull times, in a database of their own on SQLite.

No foreign key leads to the images from there: rows of images that are gone are removed by and by.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_replace, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_PULLS

BATCH_ROWS = 500
PUT = insert_or_replace(
    IMAGE_PULLS,
    conflict=("image_id",),
    columns=("image_id", "pulled_at"),
    replace=("pulled_at",),
    where_later="pulled_at",
)
FIND = Statement(
    select(IMAGE_PULLS.c.image_id, IMAGE_PULLS.c.pulled_at).where(
        is_one_of(IMAGE_PULLS.c.image_id, "image_ids")
    )
)
LIST_AFTER = Statement(
    select(IMAGE_PULLS.c.image_id)
    .where(IMAGE_PULLS.c.image_id > bindparam("after"))
    .order_by(IMAGE_PULLS.c.image_id)
    .limit(bindparam("limit"))
)
REMOVE = Statement(delete(IMAGE_PULLS).where(is_one_of(IMAGE_PULLS.c.image_id, "image_ids")))


def put(connection: Connection, pulls: Sequence[tuple[int, int]]) -> None:
    """Store when images were pulled; a later pull that another process has stored stays."""
    for image_id, pulled_at in pulls:
        connection.execute(PUT, image_id=image_id, pulled_at=pulled_at)


def find(connection: Connection, image_ids: Iterable[int]) -> dict[int, int]:
    """Return the pull times that are known."""
    rows = connection.fetch_all(FIND, image_ids=as_list(image_ids))
    return {image_id: int(pulled_at) for image_id, pulled_at in rows}


def list_after(connection: Connection, *, after: int, limit: int) -> list[int]:
    """Return images whose pull time is stored, by id."""
    return [int(row[0]) for row in connection.fetch_all(LIST_AFTER, after=after, limit=limit)]


def remove(connection: Connection, image_ids: Iterable[int]) -> None:
    """Forget when images were pulled."""
    connection.execute(REMOVE, image_ids=as_list(image_ids))
