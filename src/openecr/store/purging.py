"""Purging a deleted repository, a bounded number of rows at a time."""

from collections.abc import Sequence

from sqlalchemy import Column, ColumnElement, bindparam, delete, func, select

from openecr.store import blobs, uploads
from openecr.store.connections import Connection
from openecr.store.dialects import as_list, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import (
    IMAGE_BLOBS,
    IMAGE_CHILDREN,
    IMAGE_TAGS,
    IMAGES,
    IS_DELETED,
    LINKS,
    MANIFESTS,
    REPOSITORIES,
)

_ROWS_OF_AN_IMAGE = 2
"""Itself and its manifest."""

FIND_DELETED = Statement(select(REPOSITORIES.c.id).where(IS_DELETED).order_by(REPOSITORIES.c.id).limit(1))


def _rows_of(column: Column[int]) -> ColumnElement[int]:
    """Return how many rows of another table an image has."""
    return select(func.count()).select_from(column.table).where(column == IMAGES.c.id).scalar_subquery()


# By id, in which order they lie in the tables. All of a repository's are looked at to find the first ones: outside of
# a unit of work, and many at a time.
LIST_DEAD_IMAGES = Statement(
    select(IMAGES.c.id)
    .where(IMAGES.c.repository_id == bindparam("repository_id"))
    .order_by(IMAGES.c.id)
    .limit(bindparam("limit"))
)
FIND_IMAGE = Statement(
    select(IMAGES.c.id).where(IMAGES.c.repository_id == bindparam("repository_id")).limit(1)
)
COUNT_ROWS = Statement(
    select(
        IMAGES.c.id,
        _rows_of(IMAGE_CHILDREN.c.child_id),
        _rows_of(IMAGE_TAGS.c.image_id)
        + _rows_of(IMAGE_BLOBS.c.image_id)
        + _rows_of(IMAGE_CHILDREN.c.image_id),
    )
    .where(is_one_of(IMAGES.c.id, "image_ids"))
    .order_by(IMAGES.c.id)
)
LIST_PARENTS = Statement(
    select(IMAGE_CHILDREN.c.image_id)
    .where(IMAGE_CHILDREN.c.child_id == bindparam("child_id"))
    .limit(bindparam("limit"))
)
REMOVE_PARENTS = Statement(
    delete(IMAGE_CHILDREN).where(
        IMAGE_CHILDREN.c.child_id == bindparam("child_id"), is_one_of(IMAGE_CHILDREN.c.image_id, "parent_ids")
    )
)


def _of_images(column: Column[int]) -> Statement:
    return Statement(delete(column.table).where(is_one_of(column, "image_ids")))


OF_IMAGES = tuple(
    map(
        _of_images,
        (
            IMAGE_CHILDREN.c.child_id,
            IMAGE_CHILDREN.c.image_id,
            IMAGE_BLOBS.c.image_id,
            IMAGE_TAGS.c.image_id,
            MANIFESTS.c.image_id,
            IMAGES.c.id,
        ),
    )
)
REMOVE_LINKS = Statement(
    delete(LINKS).where(
        LINKS.c.repository_id == bindparam("repository_id"), is_one_of(LINKS.c.digest, "digests")
    )
)
REMOVE_REPOSITORY = Statement(delete(REPOSITORIES).where(REPOSITORIES.c.id == bindparam("repository_id")))


def list_dead_images(connection: Connection, *, limit: int) -> list[int]:
    """Return images of the oldest deleted repository: nobody can reach them, or bring them back."""
    row = connection.fetch_one(FIND_DELETED)
    if row is None:
        return []
    found = connection.fetch_all(LIST_DEAD_IMAGES, repository_id=int(row[0]), limit=limit)
    return [int(image_id) for (image_id,) in found]


def purge_images(connection: Connection, image_ids: Sequence[int], *, limit: int) -> int:
    """Remove dead images with all that hangs on them, about `limit` rows; return how many of them are done with."""
    pieces = image_ids[: limit // _ROWS_OF_AN_IMAGE + 1]
    chosen: list[int] = []
    rows = 0
    for image_id, parents, more in connection.fetch_all(COUNT_ROWS, image_ids=as_list(pieces)):
        rows += _ROWS_OF_AN_IMAGE + parents + more
        if chosen and rows > limit:
            break
        if parents > limit:  # of one child there may be as many as the repository has images
            _release(connection, image_id, limit=limit)
            return pieces.index(image_id)
        chosen.append(image_id)
    for statement in OF_IMAGES if chosen else ():
        connection.execute(statement, image_ids=as_list(chosen))
    return pieces.index(chosen[-1]) + 1 if chosen else len(pieces)


def purge_rest(connection: Connection, *, now: int, late: int, limit: int) -> bool:
    """Purge a piece of the oldest deleted repository, once its images are gone; False where there is none.

    `now` and `late` are when bytes may go that nobody uses any more, and that a request may still use.
    """
    row = connection.fetch_one(FIND_DELETED)
    if row is None:
        return False
    repository_id = int(row[0])
    has_images = connection.fetch_one(FIND_IMAGE, repository_id=repository_id) is not None
    if not (
        has_images  # it was deleted since somebody looked for them
        or _purge_uploads(connection, repository_id, now=now, late=late, limit=limit)
        or _purge_links(connection, repository_id, late=late, limit=limit)
    ):
        connection.execute(REMOVE_REPOSITORY, repository_id=repository_id)
    return True


def _release(connection: Connection, child_id: int, *, limit: int) -> None:
    """Let some of the indexes that name a manifest forget it."""
    parents = [row[0] for row in connection.fetch_all(LIST_PARENTS, child_id=child_id, limit=limit)]
    connection.execute(REMOVE_PARENTS, child_id=child_id, parent_ids=as_list(parents))


def _purge_uploads(connection: Connection, repository_id: int, *, now: int, late: int, limit: int) -> bool:
    found = uploads.list_of_repository(connection, repository_id, limit=limit)
    removed = uploads.remove_some(connection, found, limit=limit, not_before=now, unfinished_not_before=late)
    return removed > 0


def _purge_links(connection: Connection, repository_id: int, *, late: int, limit: int) -> bool:
    found = blobs.links_of_repository(connection, repository_id, limit=limit)
    if found:
        digests = as_list(digest for digest, _ in found)
        connection.execute(REMOVE_LINKS, repository_id=repository_id, digests=digests)
        blobs.claim(connection, (blob_id for _, blob_id in found), not_before=late)
    return bool(found)
