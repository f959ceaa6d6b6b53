"""Events of the audit trail that were stored with their effect, until they are taken to the trail."""

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, select

from openecr.store import server_state
from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_ignore, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import AUDIT_PENDING

_P = AUDIT_PENDING.c
ADD = insert_or_ignore(AUDIT_PENDING, conflict=("id",), columns=("id", "event"))
LIST = Statement(select(_P.id, _P.event).order_by(_P.id).limit(bindparam("limit")))
MOVER = "audit_mover"
"""The name of the row that says which process moves events, and until when."""

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


def take(connection: Connection, process: str, *, now: int, until: int) -> bool:
    """Make a process the one that moves events until an instant; False where another one is, later than `now`.

    None is for longer than this one would be: whatever says so is a wrong clock's.
    """
    holder, moves_until = _mover(connection)
    if holder != process and now < moves_until <= 2 * until - now:
        return False
    server_state.put(connection, MOVER, f"{process} {until}")
    return True


def release(connection: Connection, process: str) -> None:
    """Let any other process be the one."""
    if _mover(connection)[0] == process:
        server_state.put(connection, MOVER, f"{process} 0")


def _mover(connection: Connection) -> tuple[str, int]:
    holder, _, until = (server_state.find(connection, MOVER) or "nobody 0").partition(" ")
    return holder, int(until)
