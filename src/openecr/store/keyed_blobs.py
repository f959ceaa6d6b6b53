"""Blobs of repositories with a key of KMS: who holds their share keys, and where the next upload of one goes."""

from dataclasses import dataclass

from sqlalchemy import bindparam, select

from openecr.domain.digests import Digest
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import Repository
from openecr.store import repositories
from openecr.store.connections import Connection
from openecr.store.statements import Statement
from openecr.store.tables import BIG, BLOBS, IS_LIVE, LINKS, REPOSITORIES

_B = BLOBS.c
_L = LINKS.c
_R = REPOSITORIES.c

FIND_OWN = Statement(
    select(_L.blob_id, _B.key_id, _L.sealed_key)
    .join_from(LINKS, BLOBS, _L.blob_id == _B.id)
    .where(_L.repository_id == bindparam("repository_id"), _L.digest == bindparam("digest"))
)
FIND_SHARED = Statement(
    select(_B.id).where(
        _B.region == bindparam("region"),
        _B.key_id == bindparam("key_id"),
        _B.digest == bindparam("digest"),
    )
)
LIST_HOLDERS = Statement(
    select(_L.sealed_key, _R.registry_id, *repositories.COLUMNS)
    .join_from(LINKS, REPOSITORIES, _L.repository_id == _R.id)
    .where(
        _L.blob_id == bindparam("blob_id"),
        _L.repository_id > bindparam("after", type_=BIG),
        _L.sealed_key.is_not(None),
        IS_LIVE,
    )
    .order_by(_L.repository_id)
    .limit(bindparam("limit"))
)


class PlaceChanged(Exception):
    """Between a look and the unit of work that relied on it, somebody else has pushed, mounted or removed the blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLink:
    """The link through which a repository holds a digest already, its bytes may they be lost or not."""

    blob_id: int
    key_id: str
    sealed_key: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What is there of a digest: the repository's own link, and the content that is shared under `key_id`."""

    key_id: str
    own: OwnLink | None
    shared_blob_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A live repository that holds a blob, and the share key under that repository's."""

    repository: Repository
    sealed_key: bytes


def find_place(connection: Connection, repository_id: int, region: str, key_id: str, digest: Digest) -> Place:
    """Look where an upload goes."""
    own = connection.fetch_one(FIND_OWN, repository_id=repository_id, digest=str(digest))
    shared = connection.fetch_one(FIND_SHARED, region=region, key_id=key_id, digest=str(digest))
    return Place(
        key_id=key_id,
        own=None if own is None else OwnLink(blob_id=own[0], key_id=own[1], sealed_key=own[2]),
        shared_blob_id=None if shared is None else shared[0],
    )


def check(connection: Connection, place: Place, repository_id: int, region: str, digest: Digest) -> None:
    """Check inside the unit that relies on it that a place is as it was. Raises PlaceChanged."""
    if find_place(connection, repository_id, region, place.key_id, digest) != place:
        raise PlaceChanged


def list_holders(connection: Connection, blob_id: int, *, after: int, limit: int) -> list[Holder]:
    """Return repositories through which a blob's share key may be opened, by id, from the first after `after`."""
    return [
        Holder(repository=repositories.from_row(RegistryId.parse(row[1]), row[2:]), sealed_key=bytes(row[0]))
        for row in connection.fetch_all(LIST_HOLDERS, blob_id=blob_id, after=after, limit=limit)
    ]
