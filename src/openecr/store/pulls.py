"""Pull times, in a database of their own on SQLite."""

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_replace, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_PULLS

BATCH_ROWS = 500
PUT = insert_or_replace(
    IMAGE_PULLS, conflict=("image_id",), columns=("image_id", "pulled_at"), replace=("pulled_at",)
)
FIND = Statement(
    select(IMAGE_PULLS.c.image_id, IMAGE_PULLS.c.pulled_at).where(
        is_one_of(IMAGE_PULLS.c.image_id, "image_ids")
    )
)


def put(connection: Connection, pulls: Sequence[tuple[int, int]]) -> None:
    """Store when images were pulled."""
    for image_id, pulled_at in pulls:
        connection.execute(PUT, image_id=image_id, pulled_at=pulled_at)


def find(connection: Connection, image_ids: Iterable[int]) -> dict[int, int]:
    """Return the pull times that are known."""
    rows = connection.fetch_all(FIND, image_ids=as_list(image_ids))
    return {image_id: int(pulled_at) for image_id, pulled_at in rows}
