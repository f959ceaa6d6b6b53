"""Blobs that are stored in clear, to be sealed one after the other."""

from sqlalchemy import bindparam, select, update

from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.store.connections import Connection
from openecr.store.statements import Statement
from openecr.store.tables import BIG, BLOBS

_B = BLOBS.c
_IS_CLEAR = (_B.header.is_(None), _B.state == "stored")

FIND_CLEAR = Statement(
    select(_B.id, _B.digest, _B.size_bytes, _B.location)
    .where(_B.id > bindparam("after", type_=BIG), *_IS_CLEAR)
    .order_by(_B.id)
    .limit(1)
)
IS_CLEAR = Statement(
    select(_B.id).where(_B.id == bindparam("blob_id"), _B.location == bindparam("seen"), *_IS_CLEAR)
)
SEAL = Statement(
    update(BLOBS)
    .where(_B.id == bindparam("blob_id"), _B.location == bindparam("seen"), *_IS_CLEAR)
    .values(
        location=bindparam("new_location"),
        header=bindparam("new_header"),
        sealed_key=bindparam("new_sealed_key"),
    )
)


def find_clear(connection: Connection, *, after: int) -> StoredBlob | None:
    """Return the first blob in clear whose id is greater. A partial index leads to it."""
    row = connection.fetch_one(FIND_CLEAR, after=after)
    if row is None:
        return None
    return StoredBlob(blob_id=row[0], digest=Digest.parse(row[1]), size_bytes=row[2], location=row[3])


def is_clear(connection: Connection, blob: StoredBlob) -> bool:
    """Tell whether a blob is stored as it was found."""
    return connection.fetch_one(IS_CLEAR, blob_id=blob.blob_id, seen=blob.location) is not None


def seal(
    connection: Connection, blob: StoredBlob, *, location: str, header: bytes | None, sealed_key: bytes | None
) -> bool:
    """Let a blob be at its new location, sealed; False where it is not stored any more as it was found."""
    changed = connection.execute(
        SEAL,
        blob_id=blob.blob_id,
        seen=blob.location,
        new_location=location,
        new_header=header,
        new_sealed_key=sealed_key,
    )
    return changed > 0
