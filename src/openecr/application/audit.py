"""The audit trail's writing side in use cases: the record of a call that changes something commits with the change."""

from typing import TypeVar

import msgspec

from openecr.domain.audit import event_of
from openecr.domain.decisions import Grant
from openecr.store import audit_pending
from openecr.store.connections import Connection
from openecr.store.database import Work

T = TypeVar("T")


def audited(grant: Grant, work: Work[T]) -> Work[T]:
    """Return a unit of work that stores the request's audit record too: both are there, or none."""

    def unit(connection: Connection) -> T:
        begin(grant)
        result = work(connection)
        note(connection, grant)
        return result

    return unit


def begin(grant: Grant) -> None:
    """Take back, at the beginning of a unit, what an earlier run of it noted: that was undone."""
    if grant.record is not None:
        grant.record.is_stored = False


def note(connection: Connection, grant: Grant) -> None:
    """Store the request's audit record in a unit that finds out by itself whether it has changed anything."""
    record = grant.record
    if record is None:
        return
    event = event_of(record)
    audit_pending.add(connection, event.id, msgspec.json.encode(event).decode())
    record.is_stored = (
        True  # where the unit is undone the request fails, or the unit runs again and says it anew
    )
