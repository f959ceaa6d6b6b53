"""Uploads and their parts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, case, delete, func, insert, select, update

from openecr.domain.blobs import Upload
from openecr.store.connections import Connection, Row
from openecr.store.dialects import insert_or_ignore_from
from openecr.store.statements import Statement
from openecr.store.tables import BIG, DOOMED, UPLOAD_PARTS, UPLOADS

_U = UPLOADS.c
_P = UPLOAD_PARTS.c

FIND = Statement(
    select(
        _U.id,
        _U.repository_id,
        _U.owner,
        _U.received_bytes,
        _U.epoch,
        _U.started_at,
        _U.expires_at,
        _U.sealed_key,
    ).where(_U.id == bindparam("upload_id"))
)
"""By the id alone: with a condition on the repository, PostgreSQL may read all of its sessions, and under SERIALIZABLE
each push then stands in the way of all others."""

ADD = Statement(
    insert(UPLOADS),
    columns=(
        "id",
        "repository_id",
        "owner",
        "received_bytes",
        "epoch",
        "started_at",
        "expires_at",
        "sealed_key",
    ),
)
COUNT = Statement(
    select(func.count()).select_from(UPLOADS).where(_U.repository_id == bindparam("repository_id"))
)
TAKE = Statement(
    update(UPLOADS)
    .where(
        _U.id == bindparam("upload_id"),
        _U.epoch == bindparam("old_epoch"),
        _U.received_bytes == bindparam("old_received_bytes"),
    )
    .values(epoch=_U.epoch + 1, expires_at=bindparam("new_expires_at"))
)
ADVANCE = Statement(
    update(UPLOADS)
    .where(_U.id == bindparam("upload_id"), _U.epoch == bindparam("held_epoch"))
    .values(received_bytes=bindparam("new_received_bytes"), expires_at=bindparam("new_expires_at"))
)
RENEW = Statement(
    update(UPLOADS)
    .where(_U.id == bindparam("upload_id"), _U.epoch == bindparam("held_epoch"))
    .values(expires_at=bindparam("new_expires_at"))
)
REMOVE = Statement(delete(UPLOADS).where(_U.id == bindparam("upload_id")))
LIST_EXPIRED = Statement(
    select(_U.id).where(_U.expires_at <= bindparam("now")).order_by(_U.expires_at).limit(bindparam("limit"))
)
LIST_OF_REPOSITORY = Statement(
    select(_U.id).where(_U.repository_id == bindparam("repository_id")).limit(bindparam("limit"))
)
IS_EXPIRED = Statement(
    select(_U.id).where(_U.id == bindparam("upload_id"), _U.expires_at <= bindparam("now"))
)

ADD_PART = Statement(insert(UPLOAD_PARTS), columns=("location", "upload_id", "epoch", "first_byte"))
RECORD_PART = Statement(
    update(UPLOAD_PARTS)
    .where(_P.upload_id == bindparam("part_of"), _P.location == bindparam("part"))
    .values(size_bytes=bindparam("new_size_bytes"))
)
LIST_PARTS = Statement(
    select(_P.location, _P.first_byte, _P.size_bytes)
    .where(_P.upload_id == bindparam("upload_id"))
    .order_by(_P.first_byte, _P.epoch)
)
DOOM_PARTS = insert_or_ignore_from(
    DOOMED,
    select(
        _P.location,
        case(
            (_P.size_bytes.is_(None), bindparam("unfinished_not_before", type_=BIG)),
            else_=bindparam("not_before", type_=BIG),
        ),
    ).where(_P.upload_id == bindparam("upload_id"), _P.location != bindparam("kept")),
    conflict=("location",),
    columns=("location", "not_before"),
)
REMOVE_PART = Statement(
    delete(UPLOAD_PARTS).where(_P.upload_id == bindparam("part_of"), _P.location == bindparam("part"))
)
REMOVE_PARTS = Statement(delete(UPLOAD_PARTS).where(_P.upload_id == bindparam("upload_id")))
COUNT_WHOLE_PARTS = Statement(
    select(func.count(_P.size_bytes), func.count()).where(_P.upload_id == bindparam("upload_id"))
)
COUNT_PARTS = Statement(
    select(func.count()).select_from(UPLOAD_PARTS).where(_P.upload_id == bindparam("upload_id"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of an upload; `size_bytes` None: not whole."""

    location: str
    first_byte: int
    size_bytes: int | None


def _from_row(row: Row) -> Upload:
    identifier, repository_id, owner, received_bytes, epoch, started_at, expires_at, sealed_key = row
    return Upload(
        id=identifier,
        repository_id=repository_id,
        owner=owner,
        received_bytes=received_bytes,
        epoch=epoch,
        started_at=started_at,
        expires_at=expires_at,
        sealed_key=sealed_key,
    )


def find(connection: Connection, repository_id: int, upload_id: str, owner: str) -> Upload | None:
    """Return an open upload of a repository and a principal."""
    row = connection.fetch_one(FIND, upload_id=upload_id)
    if row is None:
        return None
    found = _from_row(row)
    is_theirs = found.repository_id == repository_id and found.owner in {owner, ""}
    return found if is_theirs else None


def add(connection: Connection, upload: Upload) -> None:
    """Insert a session."""
    connection.execute(
        ADD,
        id=upload.id,
        repository_id=upload.repository_id,
        owner=upload.owner,
        received_bytes=upload.received_bytes,
        epoch=upload.epoch,
        started_at=upload.started_at,
        expires_at=upload.expires_at,
        sealed_key=upload.sealed_key,
    )


def count(connection: Connection, repository_id: int) -> int:
    """Return how many uploads a repository has open."""
    row = connection.fetch_one(COUNT, repository_id=repository_id)
    return 0 if row is None else int(row[0])


def take(connection: Connection, upload: Upload, *, location: str, expires_at: int) -> Upload:
    """Take the session for one request: raise its epoch, and name the part before a byte of it is written."""
    taken = replace(upload, epoch=upload.epoch + 1, expires_at=expires_at)
    changed = connection.execute(
        TAKE,
        upload_id=upload.id,
        old_epoch=upload.epoch,
        old_received_bytes=upload.received_bytes,
        new_expires_at=expires_at,
    )
    assert changed == 1, "the session was found in this very transaction"
    connection.execute(
        ADD_PART,
        location=location,
        upload_id=upload.id,
        epoch=taken.epoch,
        first_byte=upload.received_bytes,
    )
    return taken


def record(connection: Connection, upload: Upload, *, location: str, size_bytes: int) -> bool:
    """Record a durable part that has led to `upload`, unless another request has taken the session since."""
    advanced = connection.execute(
        ADVANCE,
        upload_id=upload.id,
        held_epoch=upload.epoch,
        new_received_bytes=upload.received_bytes,
        new_expires_at=upload.expires_at,
    )
    if advanced == 0:
        return False
    connection.execute(RECORD_PART, part_of=upload.id, part=location, new_size_bytes=size_bytes)
    return True


def renew(connection: Connection, upload: Upload, *, expires_at: int) -> bool:
    """Put off the expiry of a session that is streaming, unless another request has taken it since."""
    renewed = connection.execute(
        RENEW, upload_id=upload.id, held_epoch=upload.epoch, new_expires_at=expires_at
    )
    return renewed > 0


def list_parts(connection: Connection, upload_id: str) -> list[Part]:
    """Return every part, whole or not, by its first byte."""
    rows = connection.fetch_all(LIST_PARTS, upload_id=upload_id)
    return [Part(location=row[0], first_byte=row[1], size_bytes=row[2]) for row in rows]


def count_parts(connection: Connection, upload_id: str) -> int:
    """Return how many parts were begun."""
    row = connection.fetch_one(COUNT_PARTS, upload_id=upload_id)
    return 0 if row is None else int(row[0])


def has_parts(connection: Connection, upload_id: str, limit: int) -> bool:
    """Tell whether as many parts have arrived, or twice as many were begun."""
    row = connection.fetch_one(COUNT_WHOLE_PARTS, upload_id=upload_id)
    return row is not None and (row[0] >= limit or row[1] >= 2 * limit)


def whole_parts(parts: Sequence[Part], received_bytes: int) -> list[Part] | None:
    """Return the whole parts that make up the received bytes without a gap, or None."""
    chosen: list[Part] = []
    position = 0
    for part in parts:
        if part.size_bytes is None or part.first_byte != position or part.size_bytes == 0:
            continue
        chosen.append(part)
        position += part.size_bytes
    return chosen if position == received_bytes else None


def forget_part(connection: Connection, upload_id: str, location: str) -> None:
    """Remove the row of a part that cannot be recorded any more; the caller dooms its location."""
    connection.execute(REMOVE_PART, part_of=upload_id, part=location)


def remove(
    connection: Connection,
    upload_id: str,
    *,
    kept: str = "",
    not_before: int,
    unfinished_not_before: int,
) -> None:
    """Remove a session with its parts, and doom every location of theirs but the one that is kept.

    Parts that are not whole have their own instant: somebody may still be writing them.
    """
    connection.execute(
        DOOM_PARTS,
        upload_id=upload_id,
        kept=kept,
        not_before=not_before,
        unfinished_not_before=unfinished_not_before,
    )
    connection.execute(REMOVE_PARTS, upload_id=upload_id)
    connection.execute(REMOVE, upload_id=upload_id)


def remove_some(
    connection: Connection,
    upload_ids: Iterable[str],
    *,
    limit: int,
    not_before: int,
    unfinished_not_before: int,
) -> int:
    """Remove sessions, at least one, until about `limit` parts went with them; return how many sessions."""
    removed = parts = 0
    for upload_id in upload_ids:
        parts += 1 + count_parts(connection, upload_id)
        if removed and parts > limit:
            break
        remove(connection, upload_id, not_before=not_before, unfinished_not_before=unfinished_not_before)
        removed += 1
    return removed


def list_expired(connection: Connection, *, now: int, limit: int) -> list[str]:
    """Return sessions that nobody has used in time."""
    return [row[0] for row in connection.fetch_all(LIST_EXPIRED, now=now, limit=limit)]


def is_expired(connection: Connection, upload_id: str, *, now: int) -> bool:
    """Check inside the unit that removes it that a session has still expired."""
    return connection.fetch_one(IS_EXPIRED, upload_id=upload_id, now=now) is not None


def list_of_repository(connection: Connection, repository_id: int, *, limit: int) -> list[str]:
    """Return some of a repository's sessions."""
    rows = connection.fetch_all(LIST_OF_REPOSITORY, repository_id=repository_id, limit=limit)
    return [row[0] for row in rows]
