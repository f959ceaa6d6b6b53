"""Sessions that are too large for the authorization tokens that carry them. They are sealed before they come here."""

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_replace
from openecr.store.iam_tables import LARGE_SESSIONS
from openecr.store.statements import Statement

_L = LARGE_SESSIONS.c
KEEP = insert_or_replace(
    LARGE_SESSIONS,
    conflict=("id",),
    columns=("id", "account_id", "sealed", "expires_at"),
    replace=("sealed", "expires_at"),
)
FIND = Statement(select(_L.sealed).where(_L.id == bindparam("the_id")))
FIND_EXPIRY = Statement(select(_L.expires_at).where(_L.id == bindparam("the_id")))
FIND_EXPIRED = Statement(select(_L.id).where(_L.expires_at <= bindparam("now")).limit(1))
REMOVE_EXPIRED = Statement(
    delete(LARGE_SESSIONS).where(
        _L.id.in_(
            select(_L.id)
            .where(_L.expires_at <= bindparam("now"))
            .order_by(_L.expires_at)
            .limit(bindparam("count"))
        )
    )
)


def keep(connection: Connection, session_id: str, *, account_id: str, sealed: bytes, expires_at: int) -> None:
    """Keep a session until an instant; one that is there already lives longer."""
    connection.execute(KEEP, id=session_id, account_id=account_id, sealed=sealed, expires_at=expires_at)


def find(connection: Connection, session_id: str) -> bytes | None:
    """Return a sealed session, or None."""
    row = connection.fetch_one(FIND, the_id=session_id)
    return None if row is None else bytes(row[0])


def find_expiry(connection: Connection, session_id: str) -> int | None:
    """Return until when a session is kept, or None."""
    row = connection.fetch_one(FIND_EXPIRY, the_id=session_id)
    return None if row is None else int(row[0])


def has_expired(connection: Connection, *, now: int) -> bool:
    """Tell whether there is anything to remove: nearly always there is not, and writing to find out costs a sync."""
    return connection.fetch_one(FIND_EXPIRED, now=now) is not None


def remove_expired(connection: Connection, *, now: int, limit: int) -> int:
    """Remove sessions that no token can name any more, up to so many; return how many."""
    return connection.execute(REMOVE_EXPIRED, now=now, count=limit)
