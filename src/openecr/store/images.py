"""Images, their manifests, tags and references."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, insert, select

from openecr.domain.digests import Digest
from openecr.domain.images import Image, StoredManifest
from openecr.store.connections import Connection, Row
from openecr.store.dialects import insert_or_replace
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_BLOBS, IMAGE_CHILDREN, IMAGE_TAGS, IMAGES, MANIFESTS

_I = IMAGES.c
_T = IMAGE_TAGS.c
_M = MANIFESTS.c
_C = IMAGE_CHILDREN.c

_IMAGE = (
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
_MANIFEST = (_I.id, _I.digest, _I.media_type, _M.content)
_IN_REPOSITORY = _I.repository_id == bindparam("repository_id")

MANIFEST_BY_TAG = Statement(
    select(*_MANIFEST)
    .join_from(IMAGE_TAGS, IMAGES, _T.image_id == _I.id)
    .join(MANIFESTS, _M.image_id == _I.id)
    .where(_T.repository_id == bindparam("repository_id"), _T.tag == bindparam("tag"))
)
MANIFEST_BY_DIGEST = Statement(
    select(*_MANIFEST)
    .join_from(IMAGES, MANIFESTS, _M.image_id == _I.id)
    .where(_IN_REPOSITORY, _I.digest == bindparam("digest"))
)
FIND = Statement(select(*_IMAGE).where(_IN_REPOSITORY, _I.digest == bindparam("digest")))
FIND_BY_TAG = Statement(
    select(*_IMAGE)
    .join_from(IMAGE_TAGS, IMAGES, _T.image_id == _I.id)
    .where(_T.repository_id == bindparam("repository_id"), _T.tag == bindparam("tag"))
)
TAGS_OF = Statement(select(_T.tag).where(_T.image_id == bindparam("image_id")).order_by(_T.tag))
COUNT_TAGS = Statement(
    select(func.count()).select_from(IMAGE_TAGS).where(_T.image_id == bindparam("image_id"))
)
NTH_IMAGE = Statement(select(_I.id).where(_IN_REPOSITORY).limit(1).offset(bindparam("skip")))
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
REMOVE_TAG = Statement(
    delete(IMAGE_TAGS).where(_T.repository_id == bindparam("repository_id"), _T.tag == bindparam("tag"))
)
REMOVE = Statement(delete(IMAGES).where(_I.id == bindparam("image_id")))
PARENTS_OF = Statement(
    select(_I.digest)
    .join_from(IMAGE_CHILDREN, IMAGES, _C.image_id == _I.id)
    .where(_C.child_id == bindparam("child_id"))
    .order_by(_I.digest)
    .limit(bindparam("limit"))
)
_HAS_TAG = exists().where(_T.image_id == _I.id)
_AFTER = _I.digest > bindparam("after")


def _list(*conditions: ColumnElement[bool]) -> Statement:
    return Statement(
        select(*_IMAGE)
        .where(_IN_REPOSITORY, _AFTER, *conditions)
        .order_by(_I.digest)
        .limit(bindparam("limit"))
    )


LIST_ANY = _list()
LIST_TAGGED = _list(_HAS_TAG)
LIST_UNTAGGED = _list(~_HAS_TAG)
LIST_TAGS = Statement(
    select(_T.tag)
    .where(_T.repository_id == bindparam("repository_id"), _T.tag > bindparam("after"))
    .order_by(_T.tag)
    .limit(bindparam("limit"))
)
LIST_REFERRERS = Statement(
    select(_I.digest, _I.media_type, _I.artifact_type, _I.manifest_size_bytes, _M.content)
    .join_from(IMAGES, MANIFESTS, _M.image_id == _I.id)
    .where(_IN_REPOSITORY, _I.subject_digest == bindparam("subject_digest"), _AFTER)
    .order_by(_I.digest)
    .limit(bindparam("limit"))
)


def _from_row(row: Row, tags: tuple[str, ...] = ()) -> Image:
    (
        identifier,
        repository_id,
        digest,
        media_type,
        artifact_type,
        subject,
        size_bytes,
        manifest_size,
        pushed_at,
    ) = row
    return Image(
        id=identifier,
        repository_id=repository_id,
        digest=Digest.parse(digest),
        media_type=media_type,
        artifact_type=artifact_type,
        subject=None if subject is None else Digest.parse(subject),
        size_bytes=size_bytes,
        manifest_size_bytes=manifest_size,
        pushed_at=pushed_at,
        tags=tags,
    )


def _with_tags(connection: Connection, row: Row | None) -> Image | None:
    return None if row is None else _from_row(row, list_tags_of(connection, row[0]))


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


def list_tags_of(connection: Connection, image_id: int) -> tuple[str, ...]:
    """Return an image's tags in byte order."""
    return tuple(row[0] for row in connection.fetch_all(TAGS_OF, image_id=image_id))


def count_tags(connection: Connection, image_id: int) -> int:
    """Return how many tags an image has."""
    row = connection.fetch_one(COUNT_TAGS, image_id=image_id)
    return 0 if row is None else int(row[0])


def has_at_least(connection: Connection, repository_id: int, count: int) -> bool:
    """Tell whether a repository has so many images; costs a step per image."""
    return connection.fetch_one(NTH_IMAGE, repository_id=repository_id, skip=count - 1) is not None


def add(
    connection: Connection, image: Image, content: bytes, *, blobs: dict[str, str], children: Sequence[int]
) -> Image:
    """Insert an image with its manifest and everything it refers to; `blobs` are media types by digest."""
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
    for child_id in dict.fromkeys(children):
        connection.execute(ADD_CHILD, image_id=image_id, child_id=child_id)
    found = find(connection, image.repository_id, str(image.digest))
    assert found is not None
    return found


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


def list_parents(connection: Connection, image_id: int, *, limit: int = 100) -> list[str]:
    """Return digests of indexes of the repository that name this manifest."""
    return [row[0] for row in connection.fetch_all(PARENTS_OF, child_id=image_id, limit=limit)]


def list_after(
    connection: Connection, statement: Statement, repository_id: int, *, after: str, limit: int
) -> list[Image]:
    """Return images by digest, with their tags; `statement` is one of the LIST constants."""
    rows = connection.fetch_all(statement, repository_id=repository_id, after=after, limit=limit)
    return [_from_row(row, list_tags_of(connection, row[0])) for row in rows]


def list_tags(connection: Connection, repository_id: int, *, after: str, limit: int) -> list[str]:
    """Return tags in byte order."""
    rows = connection.fetch_all(LIST_TAGS, repository_id=repository_id, after=after, limit=limit)
    return [row[0] for row in rows]


def list_referrers(
    connection: Connection, repository_id: int, subject: Digest, *, after: str, limit: int
) -> list[tuple[Digest, str, str | None, int, bytes]]:
    """Return (digest, media type, artifact type, size, content) of manifests whose subject is this one."""
    rows = connection.fetch_all(
        LIST_REFERRERS, repository_id=repository_id, subject_digest=str(subject), after=after, limit=limit
    )
    return [(Digest.parse(row[0]), row[1], row[2], row[3], bytes(row[4])) for row in rows]
