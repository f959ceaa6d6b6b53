"""Images, their manifests, tags and references: one at a time. Pages of them are in `image_lists`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import bindparam, delete, func, insert, select

from openecr.domain.digests import Digest
from openecr.domain.images import Image, StoredManifest
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, insert_or_replace, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_BLOBS, IMAGE_CHILDREN, IMAGE_TAGS, IMAGES, MANIFESTS

_I = IMAGES.c
_T = IMAGE_TAGS.c
_M = MANIFESTS.c
_C = IMAGE_CHILDREN.c

COLUMNS = (
    _I.id,
    _I.repository_id,
    _I.digest,
    _I.media_type,
    _I.artifact_type,
    _I.subject_digest,
    _I.size_bytes,
    _I.manifest_size_bytes,
    _I.pushed_at,
)
"""What `from_row` reads."""

_MANIFEST = (_I.id, _I.digest, _I.media_type, _M.content)
_IN_REPOSITORY = _I.repository_id == bindparam("repository_id")
_IS_NAMED = (_T.repository_id == bindparam("repository_id"), _T.tag == bindparam("tag"))

MANIFEST_BY_TAG = Statement(
    select(*_MANIFEST)
    .join_from(IMAGE_TAGS, IMAGES, _T.image_id == _I.id)
    .join(MANIFESTS, _M.image_id == _I.id)
    .where(*_IS_NAMED),
    is_shared=True,
)
MANIFEST_BY_DIGEST = Statement(
    select(*_MANIFEST)
    .join_from(IMAGES, MANIFESTS, _M.image_id == _I.id)
    .where(_IN_REPOSITORY, _I.digest == bindparam("digest")),
    is_shared=True,
)
FIND = Statement(select(*COLUMNS).where(_IN_REPOSITORY, _I.digest == bindparam("digest")))
FIND_BY_TAG = Statement(
    select(*COLUMNS).join_from(IMAGE_TAGS, IMAGES, _T.image_id == _I.id).where(*_IS_NAMED)
)
FIND_TAG = Statement(select(_T.image_id).where(*_IS_NAMED))
FIND_CHILDREN = Statement(
    select(_I.digest, _I.id, _I.size_bytes).where(_IN_REPOSITORY, is_one_of(_I.digest, "digests"))
)
LIST_KNOWN = Statement(select(_I.id).where(is_one_of(_I.id, "image_ids")))
TAGS_OF = Statement(select(_T.tag).where(_T.image_id == bindparam("image_id")).order_by(_T.tag))
COUNT = Statement(select(func.count()).select_from(IMAGES).where(_IN_REPOSITORY))
ADD = Statement(
    insert(IMAGES).returning(_I.id),
    columns=(
        "repository_id",
        "digest",
        "media_type",
        "artifact_type",
        "subject_digest",
        "size_bytes",
        "manifest_size_bytes",
        "pushed_at",
    ),
)
ADD_MANIFEST = Statement(insert(MANIFESTS), columns=("image_id", "content"))
ADD_BLOB = Statement(insert(IMAGE_BLOBS), columns=("image_id", "digest", "repository_id", "media_type"))
ADD_CHILD = Statement(insert(IMAGE_CHILDREN), columns=("image_id", "child_id"))
PUT_TAG = insert_or_replace(
    IMAGE_TAGS,
    conflict=("repository_id", "tag"),
    columns=("repository_id", "tag", "image_id", "tagged_at"),
    replace=("image_id", "tagged_at"),
)
REMOVE_TAG = Statement(delete(IMAGE_TAGS).where(*_IS_NAMED))
REMOVE = Statement(delete(IMAGES).where(_I.id == bindparam("image_id")))
_BLOBS_OF = select(func.count()).where(IMAGE_BLOBS.c.image_id == _I.id).scalar_subquery()
_CHILDREN_OF = select(func.count()).where(_C.image_id == _I.id).scalar_subquery()
COUNT_REFERENCES = Statement(select(_BLOBS_OF + _CHILDREN_OF).where(_I.id == bindparam("image_id")))
PARENTS_OF = Statement(
    select(_I.digest)
    .join_from(IMAGE_CHILDREN, IMAGES, _C.image_id == _I.id)
    .where(_C.child_id == bindparam("child_id"))
    .order_by(_I.digest)
    .limit(bindparam("limit"))
)


def from_row(row: Row, tags: tuple[str, ...] = ()) -> Image:
    """Make an image of a row of COLUMNS."""
    identifier, repository_id, digest, media_type, artifact_type, subject, size, manifest_size, pushed_at = (
        row
    )
    return Image(
        id=identifier,
        repository_id=repository_id,
        digest=Digest.parse(digest),
        media_type=media_type,
        artifact_type=artifact_type,
        subject=None if subject is None else Digest.parse(subject),
        size_bytes=size,
        manifest_size_bytes=manifest_size,
        pushed_at=pushed_at,
        tags=tags,
    )


def _with_tags(connection: Connection, row: Row | None) -> Image | None:
    if row is None:
        return None
    return from_row(row, tuple(tag for (tag,) in connection.fetch_all(TAGS_OF, image_id=row[0])))


def find_manifest(
    connection: Connection, repository_id: int, reference: Digest | str
) -> StoredManifest | None:
    """Return the manifest that a digest or tag names: the hottest read of a registry."""
    if isinstance(reference, str):
        row = connection.fetch_one(MANIFEST_BY_TAG, repository_id=repository_id, tag=reference)
    else:
        row = connection.fetch_one(MANIFEST_BY_DIGEST, repository_id=repository_id, digest=str(reference))
    if row is None:
        return None
    image_id, digest, media_type, content = row
    return StoredManifest(
        image_id=image_id, digest=Digest.parse(digest), media_type=media_type, content=bytes(content)
    )


def find(connection: Connection, repository_id: int, digest: str) -> Image | None:
    """Return the image with a digest, and its tags."""
    return _with_tags(connection, connection.fetch_one(FIND, repository_id=repository_id, digest=digest))


def find_by_tag(connection: Connection, repository_id: int, tag: str) -> Image | None:
    """Return the image under a tag, and all its tags."""
    return _with_tags(connection, connection.fetch_one(FIND_BY_TAG, repository_id=repository_id, tag=tag))


def has_tag(connection: Connection, repository_id: int, tag: str) -> bool:
    """Tell whether a tag names an image."""
    return connection.fetch_one(FIND_TAG, repository_id=repository_id, tag=tag) is not None


def find_children(
    connection: Connection, repository_id: int, digests: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """Return id and size of those images that are there, by digest."""
    rows = connection.fetch_all(FIND_CHILDREN, repository_id=repository_id, digests=as_list(digests))
    return {digest: (image_id, size_bytes) for digest, image_id, size_bytes in rows}


def list_known(connection: Connection, image_ids: Iterable[int]) -> set[int]:
    """Return those ids that an image has, of whatever repository."""
    return {int(row[0]) for row in connection.fetch_all(LIST_KNOWN, image_ids=as_list(image_ids))}


def count(connection: Connection, repository_id: int) -> int:
    """Return how many images a repository has; costs a step per image."""
    row = connection.fetch_one(COUNT, repository_id=repository_id)
    return 0 if row is None else int(row[0])


def add(
    connection: Connection,
    image: Image,
    content: bytes,
    *,
    blobs: Mapping[str, str],
    children: Sequence[int],
) -> Image:
    """Insert an image with its manifest and everything it refers to, and return it with its id.

    `blobs` are media types by digest, of which each must have its link. Raises ConstraintViolated otherwise.
    """
    row = connection.fetch_one(
        ADD,
        repository_id=image.repository_id,
        digest=str(image.digest),
        media_type=image.media_type,
        artifact_type=image.artifact_type,
        subject_digest=None if image.subject is None else str(image.subject),
        size_bytes=image.size_bytes,
        manifest_size_bytes=image.manifest_size_bytes,
        pushed_at=image.pushed_at,
    )
    assert row is not None
    image_id = int(row[0])
    connection.execute(ADD_MANIFEST, image_id=image_id, content=content)
    for digest, media_type in blobs.items():
        connection.execute(
            ADD_BLOB,
            image_id=image_id,
            digest=digest,
            repository_id=image.repository_id,
            media_type=media_type,
        )
    for child_id in children:
        connection.execute(ADD_CHILD, image_id=image_id, child_id=child_id)
    return replace(image, id=image_id)


def put_tag(connection: Connection, image: Image, tag: str, *, tagged_at: int) -> None:
    """Let a tag name an image, whatever it named before."""
    connection.execute(
        PUT_TAG, repository_id=image.repository_id, tag=tag, image_id=image.id, tagged_at=tagged_at
    )


def remove_tag(connection: Connection, repository_id: int, tag: str) -> bool:
    """Remove a tag; its image stays."""
    return connection.execute(REMOVE_TAG, repository_id=repository_id, tag=tag) > 0


def remove(connection: Connection, image_id: int) -> None:
    """Remove an image with its manifest, tags and references. Raises ConstraintViolated while an index names it."""
    connection.execute(REMOVE, image_id=image_id)


def count_rows(connection: Connection, image_id: int) -> int:
    """Return how many rows go with an image beside its tags: itself, its manifest and its references."""
    row = connection.fetch_one(COUNT_REFERENCES, image_id=image_id)
    assert row is not None
    return 2 + int(row[0])


def list_parents(connection: Connection, image_id: int, *, limit: int = 100) -> list[str]:
    """Return digests of indexes of the repository that name this manifest."""
    return [row[0] for row in connection.fetch_all(PARENTS_OF, child_id=image_id, limit=limit)]
