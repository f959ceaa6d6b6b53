"""Blobs, and the links through which repositories hold them."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import BindParameter, bindparam, delete, exists, insert, select, tuple_, update

from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.domain.registries import RegistryId
from openecr.store import doomed
from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_ignore, is_one_of, one_by_one
from openecr.store.statements import Statement
from openecr.store.tables import BIG, BLOBS, IMAGE_BLOBS, IS_LIVE, LINKS, REPOSITORIES, TEXT

_B = BLOBS.c
_L = LINKS.c
_I = IMAGE_BLOBS.c
_R = REPOSITORIES.c

_MEDIA_TYPE = (
    select(_I.media_type)
    .where(_I.repository_id == _L.repository_id, _I.digest == _L.digest)
    .limit(1)
    .scalar_subquery()
)

FIND_HELD = Statement(
    select(
        _B.id,
        _B.header,
        _B.sealed_key,
        _B.key_id,
        _L.sealed_key,
        _B.size_bytes,
        _B.location,
        _MEDIA_TYPE,
        _L.grace_until,
    )
    .join_from(LINKS, BLOBS, _L.blob_id == _B.id)
    .where(
        _L.repository_id == bindparam("repository_id"), _L.digest == bindparam("digest"), _B.state == "stored"
    ),
    is_shared=True,
)
FIND_CONTENT = Statement(
    select(_B.id, _B.location, _B.state, _B.header, _B.sealed_key, _B.size_bytes).where(
        _B.region == bindparam("region"),
        _B.key_id == bindparam("key_id"),
        _B.digest == bindparam("digest"),
    )
)
ADD = Statement(
    insert(BLOBS).returning(_B.id),
    columns=("region", "key_id", "digest", "size_bytes", "location", "header", "sealed_key", "created_at"),
)
HEAL = Statement(
    update(BLOBS)
    .where(_B.id == bindparam("blob_id"))
    .values(
        state="stored",
        location=bindparam("new_location"),
        header=bindparam("new_header"),
        sealed_key=bindparam("new_sealed_key"),
        size_bytes=bindparam("new_size_bytes"),
    )
)
ADD_LINK = insert_or_ignore(
    LINKS,
    conflict=("repository_id", "digest"),
    columns=("repository_id", "digest", "blob_id", "grace_until", "sealed_key"),
)
RENEW_LINK = Statement(
    update(LINKS)
    .where(_L.repository_id == bindparam("repository"), _L.digest == bindparam("link_digest"))
    .values(grace_until=bindparam("new_grace_until"))
)
IS_REFERENCED = Statement(
    select(_I.digest)
    .where(_I.repository_id == bindparam("repository_id"), _I.digest == bindparam("digest"))
    .limit(1)
)
_IS_NEEDED = exists().where(_I.repository_id == _L.repository_id, _I.digest == _L.digest)
REMOVE_LINK = Statement(
    delete(LINKS).where(
        _L.repository_id == bindparam("repository_id"), _L.digest == bindparam("digest"), ~_IS_NEEDED
    )
)
LIST_HELD = one_by_one(
    select(_L.digest)
    .join_from(LINKS, BLOBS, _L.blob_id == _B.id)
    .where(_L.repository_id == bindparam("repository_id"), _B.state == "stored"),
    _L.digest,
    "digests",
)
LIST_HOLDERS = Statement(
    select(_R.name)
    .distinct()
    .join_from(LINKS, REPOSITORIES, _L.repository_id == _R.id)
    .join(BLOBS, _L.blob_id == _B.id)
    .where(
        _B.region == bindparam("region"),
        _B.key_id == bindparam("key_id"),
        _B.digest == bindparam("digest"),
        _B.state == "stored",
        _R.registry_id == bindparam("registry_id"),
        IS_LIVE,
    )
    .limit(bindparam("limit"))
)
_PLACE = tuple_(_L.grace_until, _L.repository_id, _L.digest)


def _place(prefix: str) -> tuple[BindParameter[int], BindParameter[int], BindParameter[str]]:
    return (
        bindparam(f"{prefix}_grace_until", type_=BIG),
        bindparam(f"{prefix}_repository_id", type_=BIG),
        bindparam(f"{prefix}_digest", type_=TEXT),
    )


_PASSED = (_L.grace_until <= bindparam("now"), tuple_(*_place("after")) < _PLACE)
FIND_END_OF_WINDOW = Statement(
    select(_L.grace_until, _L.repository_id, _L.digest)
    .where(*_PASSED)
    .order_by(_L.grace_until, _L.repository_id, _L.digest)
    .limit(1)
    .offset(bindparam("window"))
)
LIST_UNNEEDED_LINKS = Statement(
    select(_L.grace_until, _L.repository_id, _L.digest, _L.blob_id)
    .where(*_PASSED, tuple_(*_place("last")) >= _PLACE, ~_IS_NEEDED)
    .order_by(_L.grace_until, _L.repository_id, _L.digest)
    .limit(bindparam("limit"))
)
REMOVE_UNNEEDED_LINKS = Statement(
    delete(LINKS)
    .where(
        _L.repository_id == bindparam("repository_id"),
        is_one_of(_L.digest, "digests"),
        _L.grace_until <= bindparam("now"),
        ~_IS_NEEDED,
    )
    .returning(_L.blob_id)
)
_IS_LINKED = exists().where(_L.blob_id == _B.id)
CLAIM = Statement(delete(BLOBS).where(is_one_of(_B.id, "blob_ids"), ~_IS_LINKED).returning(_B.location))
LINKS_OF_REPOSITORY = Statement(
    select(_L.digest, _L.blob_id)
    .where(_L.repository_id == bindparam("repository_id"))
    .limit(bindparam("limit"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is stored under a digest: `location` now, and before it `lost_location` where that had proved bad."""

    blob_id: int
    location: str
    header: bytes | None
    sealed_key: bytes | None
    lost_location: str | None = None


class ContentUnchecked(Exception):
    """A unit of work is about to keep content of which nobody has looked whether its bytes are there: `blob`."""

    def __init__(self, blob: StoredBlob) -> None:
        super().__init__(blob.location)
        self.blob = blob


@dataclass(frozen=True, slots=True, order=True)
class LinkPlace:
    """Where a link stands in the order of collection."""

    grace_until: int
    repository_id: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWindow:
    """Links of one stretch that no image needs, with their blobs; `end` None: it was the last stretch."""

    unneeded: list[tuple[LinkPlace, int]]
    end: LinkPlace | None


FIRST_PLACE = LinkPlace(-1, 0, "")
_LAST_PLACE = LinkPlace(2**63 - 1, 0, "")


def find_held(connection: Connection, repository_id: int, digest: Digest) -> tuple[StoredBlob, int] | None:
    """Return a blob that a repository holds, and when its link's grace ends."""
    row = connection.fetch_one(FIND_HELD, repository_id=repository_id, digest=str(digest))
    if row is None:
        return None
    blob_id, header, sealed_key, key_id, link_key, size_bytes, location, media_type, grace_until = row
    blob = StoredBlob(
        blob_id=blob_id,
        digest=digest,
        size_bytes=size_bytes,
        location=location,
        header=header,
        sealed_key=sealed_key,
        key_id=key_id,
        link_key=link_key,
        media_type=media_type,
    )
    return blob, grace_until


def keep(
    connection: Connection,
    region: str,
    digest: Digest,
    *,
    key_id: str = "",
    size_bytes: int,
    location: str,
    header: bytes | None,
    sealed_key: bytes | None,
    checked: Collection[str],
    now: int,
) -> Content:
    """Return the content with this digest, shared under `key_id`, making its row, or healing a lost one.

    Where content is stored already, it stays as it is and what is given is not kept. Raises ContentUnchecked unless
    its location is among those that were `checked`.
    """
    row = connection.fetch_one(FIND_CONTENT, region=region, key_id=key_id, digest=str(digest))
    if row is None:
        added = connection.fetch_one(
            ADD,
            region=region,
            key_id=key_id,
            digest=str(digest),
            size_bytes=size_bytes,
            location=location,
            header=header,
            sealed_key=sealed_key,
            created_at=now,
        )
        assert added is not None
        return Content(blob_id=added[0], location=location, header=header, sealed_key=sealed_key)
    blob_id, stored_location, state, stored_header, stored_key, stored_bytes = row
    if state == "lost":
        connection.execute(
            HEAL,
            blob_id=blob_id,
            new_location=location,
            new_header=header,
            new_sealed_key=sealed_key,
            new_size_bytes=size_bytes,
        )
        return Content(
            blob_id=blob_id,
            location=location,
            header=header,
            sealed_key=sealed_key,
            lost_location=stored_location,
        )
    if stored_location not in checked:
        raise ContentUnchecked(
            StoredBlob(
                blob_id=blob_id,
                digest=digest,
                size_bytes=stored_bytes,
                location=stored_location,
                header=stored_header,
                sealed_key=stored_key,
                key_id=key_id,
            )
        )
    return Content(blob_id=blob_id, location=stored_location, header=stored_header, sealed_key=stored_key)


def link(
    connection: Connection,
    repository_id: int,
    digest: Digest,
    blob_id: int,
    *,
    grace_until: int,
    sealed_key: bytes | None = None,
) -> bool:
    """Let a repository hold a blob; False where it does already, and its grace is renewed."""
    added = connection.execute(
        ADD_LINK,
        repository_id=repository_id,
        digest=str(digest),
        blob_id=blob_id,
        grace_until=grace_until,
        sealed_key=sealed_key,
    )
    if added == 0:
        renew_link(connection, repository_id, digest, grace_until=grace_until)
    return added > 0


def renew_link(connection: Connection, repository_id: int, digest: Digest, *, grace_until: int) -> bool:
    """Put off the end of a link's grace; False where there is no link any more."""
    renewed = connection.execute(
        RENEW_LINK, repository=repository_id, link_digest=str(digest), new_grace_until=grace_until
    )
    return renewed > 0


def is_referenced(connection: Connection, repository_id: int, digest: Digest) -> bool:
    """Tell whether an image of the repository names the blob."""
    return connection.fetch_one(IS_REFERENCED, repository_id=repository_id, digest=str(digest)) is not None


def remove_link(connection: Connection, repository_id: int, digest: Digest) -> bool:
    """Remove a link that no image needs."""
    return connection.execute(REMOVE_LINK, repository_id=repository_id, digest=str(digest)) > 0


def list_held(connection: Connection, repository_id: int, digests: Iterable[str]) -> set[str]:
    """Return those digests that the repository holds, and whose bytes are there."""
    rows = connection.fetch_all(LIST_HELD, repository_id=repository_id, digests=as_list(digests))
    return {row[0] for row in rows}


def list_holders(
    connection: Connection, registry: RegistryId, digest: Digest, *, key_id: str, limit: int
) -> list[str]:
    """Return names of live repositories of a registry that hold a blob under a key."""
    rows = connection.fetch_all(
        LIST_HOLDERS,
        registry_id=str(registry),
        region=registry.region,
        key_id=key_id,
        digest=str(digest),
        limit=limit,
    )
    return [row[0] for row in rows]


def list_unneeded_links(
    connection: Connection, *, now: int, after: LinkPlace, window: int, limit: int
) -> LinkWindow:
    """Return some links that no image needs and whose grace has passed, having looked at `window` links at most."""
    bounds = {
        "now": now,
        "after_grace_until": after.grace_until,
        "after_repository_id": after.repository_id,
        "after_digest": after.digest,
    }
    row = connection.fetch_one(FIND_END_OF_WINDOW, **bounds, window=window - 1)
    end = None if row is None else LinkPlace(*row)
    last = end or _LAST_PLACE
    rows = connection.fetch_all(
        LIST_UNNEEDED_LINKS,
        **bounds,
        last_grace_until=last.grace_until,
        last_repository_id=last.repository_id,
        last_digest=last.digest,
        limit=limit,
    )
    unneeded = [(LinkPlace(*row[:3]), int(row[3])) for row in rows]
    return LinkWindow(unneeded=unneeded, end=unneeded[-1][0] if len(unneeded) == limit else end)


def remove_unneeded_links(connection: Connection, places: Iterable[LinkPlace], *, now: int) -> list[int]:
    """Remove those links that are, in this very transaction, still unneeded and out of grace; return their blobs."""
    digests: defaultdict[int, list[str]] = defaultdict(list)
    for place in places:
        digests[place.repository_id].append(place.digest)
    return [
        int(row[0])
        for repository_id, some in digests.items()
        for row in connection.fetch_all(
            REMOVE_UNNEEDED_LINKS, repository_id=repository_id, digests=as_list(some), now=now
        )
    ]


def claim(connection: Connection, blob_ids: Iterable[int], *, not_before: int) -> None:
    """Delete the rows of those blobs that no link leads to any more, and doom their bytes.

    Belongs in every transaction that removes links: a blob follows its last link, and never stays behind.
    """
    claimed = connection.fetch_all(CLAIM, blob_ids=as_list(sorted(set(blob_ids))))
    doomed.add(connection, (row[0] for row in claimed), not_before=not_before)


def links_of_repository(connection: Connection, repository_id: int, *, limit: int) -> list[tuple[str, int]]:
    """Return (digest, blob) of some of a repository's links."""
    rows = connection.fetch_all(LINKS_OF_REPOSITORY, repository_id=repository_id, limit=limit)
    return [(row[0], row[1]) for row in rows]
