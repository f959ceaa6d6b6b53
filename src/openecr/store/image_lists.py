"""Pages of images, of their identifiers, tags and referrers. Each page is a bounded number of statements."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select

from openecr.domain.digests import Digest
from openecr.domain.images import Image, ImageId, Referrer, TagStatus
from openecr.store.connections import Connection
from openecr.store.dialects import as_list, is_one_of
from openecr.store.images import COLUMNS, from_row
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_TAGS, IMAGES, MANIFESTS

_I = IMAGES.c
_T = IMAGE_TAGS.c
_M = MANIFESTS.c
_IN_REPOSITORY = _I.repository_id == bindparam("repository_id")
_AFTER = _I.digest > bindparam("after")
_HAS_TAG = exists().where(_T.image_id == _I.id)


def _images(*conditions: ColumnElement[bool]) -> Statement:
    return Statement(
        select(*COLUMNS)
        .where(_IN_REPOSITORY, _AFTER, *conditions)
        .order_by(_I.digest)
        .limit(bindparam("limit"))
    )


LIST_ANY = _images()
LIST_TAGGED = _images(_HAS_TAG)
LIST_UNTAGGED = _images(~_HAS_TAG)
TAGS_OF_MANY = Statement(
    select(_T.image_id, _T.tag).where(is_one_of(_T.image_id, "image_ids")).order_by(_T.image_id, _T.tag)
)

_tag_or_empty = func.coalesce(_T.tag, "")
_AFTER_ENTRY = and_(
    _I.digest >= bindparam("after_digest"),
    or_(_I.digest > bindparam("after_digest"), _tag_or_empty > bindparam("after_tag")),
)


def _identifiers(*conditions: ColumnElement[bool]) -> Statement:
    return Statement(
        select(_I.digest, _T.tag)
        .join_from(IMAGES, IMAGE_TAGS, _T.image_id == _I.id, isouter=True)
        .where(_IN_REPOSITORY, _AFTER_ENTRY, *conditions)
        .order_by(_I.digest, _tag_or_empty)
        .limit(bindparam("limit"))
    )


LIST_ANY_IDS = _identifiers()
LIST_TAGGED_IDS = _identifiers(_T.tag.is_not(None))
LIST_UNTAGGED_IDS = _identifiers(_T.tag.is_(None))

LIST_TAGS = Statement(
    select(_T.tag)
    .where(_T.repository_id == bindparam("repository_id"), _T.tag > bindparam("after"))
    .order_by(_T.tag)
    .limit(bindparam("limit"))
)


def _referrers(*conditions: ColumnElement[bool]) -> Statement:
    return Statement(
        select(_I.id, _I.digest, _I.media_type, _I.artifact_type, _I.manifest_size_bytes)
        .where(_IN_REPOSITORY, _I.subject_digest == bindparam("subject_digest"), _AFTER, *conditions)
        .order_by(_I.digest)
        .limit(bindparam("limit"))
    )


LIST_REFERRERS = _referrers()
LIST_REFERRERS_OF_TYPES = _referrers(is_one_of(_I.artifact_type, "artifact_types"))
CONTENT = Statement(select(_M.content).where(_M.image_id == bindparam("image_id")))

_LISTS = {TagStatus.ANY: LIST_ANY, TagStatus.TAGGED: LIST_TAGGED, TagStatus.UNTAGGED: LIST_UNTAGGED}
_ID_LISTS = {
    TagStatus.ANY: LIST_ANY_IDS,
    TagStatus.TAGGED: LIST_TAGGED_IDS,
    TagStatus.UNTAGGED: LIST_UNTAGGED_IDS,
}


def list_images(
    connection: Connection, repository_id: int, tag_status: TagStatus, *, after: str, limit: int
) -> list[Image]:
    """Return images by digest, with all their tags."""
    rows = connection.fetch_all(_LISTS[tag_status], repository_id=repository_id, after=after, limit=limit)
    tags: defaultdict[int, list[str]] = defaultdict(list)
    for image_id, tag in connection.fetch_all(TAGS_OF_MANY, image_ids=as_list([row[0] for row in rows])):
        tags[image_id].append(tag)
    return [from_row(row, tuple(tags[row[0]])) for row in rows]


def list_ids(
    connection: Connection, repository_id: int, tag_status: TagStatus, *, after: ImageId, limit: int
) -> list[ImageId]:
    """Return one identifier for each tag, and one for each image without any, by digest and tag."""
    rows = connection.fetch_all(
        _ID_LISTS[tag_status],
        repository_id=repository_id,
        after_digest=after.digest or "",
        after_tag=after.tag or "",
        limit=limit,
    )
    return [ImageId(digest=digest, tag=tag) for digest, tag in rows]


def list_tags(connection: Connection, repository_id: int, *, after: str, limit: int) -> list[str]:
    """Return tags in byte order."""
    rows = connection.fetch_all(LIST_TAGS, repository_id=repository_id, after=after, limit=limit)
    return [tag for (tag,) in rows]


def list_referrers(
    connection: Connection,
    repository_id: int,
    subject: Digest,
    artifact_types: Sequence[str],
    *,
    after: str,
    limit: int,
) -> list[tuple[int, Referrer]]:
    """Return (image, referrer without its annotations) by digest; no types mean all of them."""
    parameters = {
        "repository_id": repository_id,
        "subject_digest": str(subject),
        "after": after,
        "limit": limit,
    }
    if artifact_types:
        rows = connection.fetch_all(
            LIST_REFERRERS_OF_TYPES, artifact_types=as_list(artifact_types), **parameters
        )
    else:
        rows = connection.fetch_all(LIST_REFERRERS, **parameters)
    return [
        (
            image_id,
            Referrer(
                digest=Digest.parse(digest),
                media_type=media_type,
                artifact_type=artifact_type,
                size_bytes=size_bytes,
                annotations={},
            ),
        )
        for image_id, digest, media_type, artifact_type, size_bytes in rows
    ]


def content_of(connection: Connection, image_id: int) -> bytes:
    """Return the bytes of a manifest that is known to be there."""
    row = connection.fetch_one(CONTENT, image_id=image_id)
    assert row is not None
    return bytes(row[0])
