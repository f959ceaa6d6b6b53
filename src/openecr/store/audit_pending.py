"""Events of the audit trail that were stored with their effect, until they are taken to the trail."""

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_ignore, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import AUDIT_PENDING

_P = AUDIT_PENDING.c
ADD = insert_or_ignore(AUDIT_PENDING, conflict=("id",), columns=("id", "event"))
LIST = Statement(select(_P.id, _P.event).order_by(_P.id).limit(bindparam("limit")))
REMOVE = Statement(delete(AUDIT_PENDING).where(is_one_of(_P.id, "ids")))


def add(connection: Connection, event_id: str, event: str) -> None:
    """Store an event, once: a call of several units has one."""
    connection.execute(ADD, id=event_id, event=event)


def list_oldest(connection: Connection, *, limit: int) -> list[tuple[str, str]]:
    """Return keys and events, the oldest first."""
    return [(str(key), str(event)) for key, event in connection.fetch_all(LIST, limit=limit)]


def remove(connection: Connection, ids: Iterable[str]) -> None:
    """Forget events that the trail has."""
    connection.execute(REMOVE, ids=as_list(ids))
