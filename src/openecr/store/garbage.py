"""What collection would remove now: asked by operators, never on the way of a request."""

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, exists, func, or_, select

from openecr.store.connections import Connection
from openecr.store.statements import Statement
from openecr.store.tables import BIG, BLOBS, DOOMED, IMAGE_BLOBS, IS_DELETED, LINKS, REPOSITORIES, UPLOADS

_B = BLOBS.c
_L = LINKS.c
_I = IMAGE_BLOBS.c
_NOW = bindparam("now", type_=BIG)
_IS_NEEDED = exists().where(_I.repository_id == _L.repository_id, _I.digest == _L.digest)
_IS_DEAD = exists().where(REPOSITORIES.c.id == _L.repository_id, IS_DELETED)
_GOES = or_(_IS_DEAD, and_(_L.grace_until <= _NOW, ~_IS_NEEDED))

COUNT_LINKS = Statement(select(func.count()).select_from(LINKS).where(_GOES))
COUNT_BLOBS = Statement(
    select(_B.region, func.count(), func.coalesce(func.sum(_B.size_bytes), 0))
    .where(~exists().where(_L.blob_id == _B.id, ~_GOES))
    .group_by(_B.region)
    .order_by(_B.region)
)
COUNT_DOOMED = Statement(select(func.count()).select_from(DOOMED).where(DOOMED.c.not_before <= _NOW))
COUNT_DOOMED_LATER = Statement(select(func.count()).select_from(DOOMED).where(DOOMED.c.not_before > _NOW))
COUNT_UPLOADS = Statement(select(func.count()).select_from(UPLOADS).where(UPLOADS.c.expires_at <= _NOW))
COUNT_REPOSITORIES = Statement(select(func.count()).select_from(REPOSITORIES).where(IS_DELETED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """`blobs`: how many, and how many bytes of content, by region. `doomed`: locations whose bytes may go now."""

    repositories: int
    uploads: int
    links: int
    blobs: dict[str, tuple[int, int]]
    doomed: int
    doomed_later: int

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing would go now."""
        return not (self.repositories or self.uploads or self.links or self.blobs or self.doomed)


def count(connection: Connection, *, now: int) -> Garbage:
    """Look at every link and blob."""
    rows = connection.fetch_all(COUNT_BLOBS, now=now)
    return Garbage(
        repositories=_number(connection, COUNT_REPOSITORIES),
        uploads=_number(connection, COUNT_UPLOADS, now=now),
        links=_number(connection, COUNT_LINKS, now=now),
        blobs={row[0]: (int(row[1]), int(row[2])) for row in rows},
        doomed=_number(connection, COUNT_DOOMED, now=now),
        doomed_later=_number(connection, COUNT_DOOMED_LATER, now=now),
    )


def _number(connection: Connection, statement: Statement, **parameters: int) -> int:
    row = connection.fetch_one(statement, **parameters)
    return 0 if row is None else int(row[0])
