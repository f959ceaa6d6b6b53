"""Purging a deleted repository, a bounded number of rows at a time."""

from sqlalchemy import bindparam, delete, select

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

FIND_DELETED = Statement(select(REPOSITORIES.c.id).where(IS_DELETED).order_by(REPOSITORIES.c.id).limit(1))
LIST_IMAGES = Statement(
    select(IMAGES.c.id)
    .where(IMAGES.c.repository_id == bindparam("repository_id"))
    .order_by(IMAGES.c.id.desc())
    .limit(bindparam("limit"))
)
REMOVE_PARENTS = Statement(delete(IMAGE_CHILDREN).where(IMAGE_CHILDREN.c.child_id == bindparam("image_id")))
REMOVE_CHILDREN = Statement(delete(IMAGE_CHILDREN).where(IMAGE_CHILDREN.c.image_id == bindparam("image_id")))
REMOVE_BLOBS = Statement(delete(IMAGE_BLOBS).where(IMAGE_BLOBS.c.image_id == bindparam("image_id")))
REMOVE_TAGS = Statement(delete(IMAGE_TAGS).where(IMAGE_TAGS.c.image_id == bindparam("image_id")))
REMOVE_MANIFEST = Statement(delete(MANIFESTS).where(MANIFESTS.c.image_id == bindparam("image_id")))
REMOVE_IMAGE = Statement(delete(IMAGES).where(IMAGES.c.id == bindparam("image_id")))
OF_AN_IMAGE = (REMOVE_PARENTS, REMOVE_CHILDREN, REMOVE_BLOBS, REMOVE_TAGS, REMOVE_MANIFEST, REMOVE_IMAGE)
REMOVE_LINKS = Statement(
    delete(LINKS).where(
        LINKS.c.repository_id == bindparam("repository_id"), is_one_of(LINKS.c.digest, "digests")
    )
)
REMOVE_REPOSITORY = Statement(delete(REPOSITORIES).where(REPOSITORIES.c.id == bindparam("repository_id")))


def purge_some(connection: Connection, *, now: int, late: int, limit: int) -> bool:
    """Purge a piece of the oldest deleted repository, of about `limit` rows; False where there is none.

    `now` and `late` are when bytes may go that nobody uses any more, and that a request may still use.
    """
    row = connection.fetch_one(FIND_DELETED)
    if row is None:
        return False
    repository_id = int(row[0])
    if not (
        _purge_images(connection, repository_id, limit=limit)
        or _purge_uploads(connection, repository_id, now=now, late=late, limit=limit)
        or _purge_links(connection, repository_id, late=late, limit=limit)
    ):
        connection.execute(REMOVE_REPOSITORY, repository_id=repository_id)
    return True


def _purge_images(connection: Connection, repository_id: int, *, limit: int) -> bool:
    """Remove images, the newest first: an index is newer than its children."""
    rows = connection.fetch_all(LIST_IMAGES, repository_id=repository_id, limit=limit)
    removed = 0
    for (image_id,) in rows:
        removed += sum(connection.execute(statement, image_id=image_id) for statement in OF_AN_IMAGE)
        if removed >= limit:
            break
    return bool(rows)


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
