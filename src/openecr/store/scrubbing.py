"""Blobs one after the other, to be compared with the bytes that are stored for them."""

from sqlalchemy import bindparam, select, update

from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import BIG, BLOBS, DOOMED, UPLOAD_PARTS

_B = BLOBS.c

LIST_STORED = Statement(
    select(_B.id, _B.digest, _B.size_bytes, _B.location, _B.header, _B.sealed_key, _B.key_id)
    .where(_B.id > bindparam("after", type_=BIG), _B.state == "stored")
    .order_by(_B.id)
    .limit(bindparam("limit"))
)
LIST_ALL = Statement(
    select(_B.id, _B.digest, _B.size_bytes, _B.location, _B.header, _B.sealed_key, _B.key_id, _B.state)
    .where(_B.id > bindparam("after", type_=BIG))
    .order_by(_B.id)
    .limit(bindparam("limit"))
)
MARK_LOST = Statement(
    update(BLOBS)
    .where(_B.id == bindparam("blob_id"), _B.location == bindparam("seen"), _B.state == "stored")
    .values(state="lost")
)
MARK_STORED = Statement(
    update(BLOBS)
    .where(_B.id == bindparam("blob_id"), _B.location == bindparam("seen"), _B.state == "lost")
    .values(state="stored")
)
LIST_KNOWN = [
    Statement(select(column).where(is_one_of(column, "locations")))
    for column in (_B.location, UPLOAD_PARTS.c.location, DOOMED.c.location)
]


def list_stored(connection: Connection, *, after: int, limit: int) -> list[StoredBlob]:
    """Return blobs that are not lost, in the order of their ids."""
    return [_blob(row) for row in connection.fetch_all(LIST_STORED, after=after, limit=limit)]


def list_all(connection: Connection, *, after: int, limit: int) -> list[tuple[StoredBlob, bool]]:
    """Return blobs in the order of their ids, each with whether it is lost."""
    rows = connection.fetch_all(LIST_ALL, after=after, limit=limit)
    return [(_blob(row), row[7] == "lost") for row in rows]


def mark_lost(connection: Connection, blob: StoredBlob) -> bool:
    """Let nobody find a blob until its digest is uploaded again; False where it has other bytes by now."""
    return connection.execute(MARK_LOST, blob_id=blob.blob_id, seen=blob.location) > 0


def mark_stored(connection: Connection, blob: StoredBlob) -> bool:
    """Let a lost blob be found again; False where it has other bytes by now."""
    return connection.execute(MARK_STORED, blob_id=blob.blob_id, seen=blob.location) > 0


def known_locations(connection: Connection, locations: list[str]) -> set[str]:
    """Return which of these any row names: a blob's, an upload's, or a doomed one."""
    wanted = as_list(locations)
    return {row[0] for each in LIST_KNOWN for row in connection.fetch_all(each, locations=wanted)}


def _blob(row: Row) -> StoredBlob:
    return StoredBlob(
        blob_id=row[0],
        digest=Digest.parse(row[1]),
        size_bytes=row[2],
        location=row[3],
        header=row[4],
        sealed_key=row[5],
        key_id=row[6],
    )
