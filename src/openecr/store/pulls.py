"""Pull times, in a database of their own on SQLite."""

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, select

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_replace
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_PULLS

BATCH_ROWS = 500
PUT = insert_or_replace(
    IMAGE_PULLS, conflict=("image_id",), columns=("image_id", "pulled_at"), replace=("pulled_at",)
)
FIND = Statement(select(IMAGE_PULLS.c.pulled_at).where(IMAGE_PULLS.c.image_id == bindparam("image_id")))


def put(connection: Connection, pulls: Sequence[tuple[int, int]]) -> None:
    """Store when images were pulled."""
    for image_id, pulled_at in pulls:
        connection.execute(PUT, image_id=image_id, pulled_at=pulled_at)


def find(connection: Connection, image_ids: Iterable[int]) -> dict[int, int]:
    """Return the pull times that are known."""
    rows = {image_id: connection.fetch_one(FIND, image_id=image_id) for image_id in image_ids}
    return {image_id: int(row[0]) for image_id, row in rows.items() if row is not None}
