"""How jobs stand that somebody waits for."""

from collections.abc import Iterable, Sequence

from sqlalchemy import or_, select

from openecr.domain.jobs import JobStatus
from openecr.store.connections import Connection
from openecr.store.dialects import as_list, is_one_of
from openecr.store.job_tables import JOBS
from openecr.store.jobs import (
    HELD_MAX,
    OPEN,
    OPERATOR_KEY,
    RUNNING,
    SCHEDULE_KEY,
    STATUS,
    status_of,
)
from openecr.store.statements import Statement

_J = JOBS.c
LIST_WATCHED = Statement(
    STATUS.where(
        is_one_of(_J.kind, "kinds"),
        or_(_J.unique_key == SCHEDULE_KEY, _J.unique_key == OPERATOR_KEY),
        OPEN,
    )
)
LIST_RUNNING_OF_KINDS = Statement(
    select(_J.id, _J.token, _J.lease_until)
    .where(RUNNING, is_one_of(_J.kind, "kinds"))
    .order_by(_J.lease_until, _J.id)
    .limit(HELD_MAX)
)
LIST_SCHEDULED_KINDS = Statement(
    select(_J.kind).where(_J.unique_key == SCHEDULE_KEY, _J.every_seconds.is_not(None)).order_by(_J.kind)
)


def list_watched(connection: Connection, kinds: Iterable[str]) -> Sequence[JobStatus]:
    """Return the schedules of some kinds, and what an operator has asked for that is not done."""
    return [status_of(row) for row in connection.fetch_all(LIST_WATCHED, kinds=as_list(sorted(kinds)))]


def list_holds(connection: Connection, kinds: Iterable[str]) -> Sequence[tuple[int, int, int]]:
    """Return what runs of some kinds: id, token and the lease's end, which changes while somebody works on it."""
    rows = connection.fetch_all(LIST_RUNNING_OF_KINDS, kinds=as_list(sorted(kinds)))
    return [(row[0], row[1], row[2]) for row in rows]


def list_scheduled_kinds(connection: Connection) -> Sequence[str]:
    """Return the kinds that begin again and again, in their order."""
    return [str(row[0]) for row in connection.fetch_all(LIST_SCHEDULED_KINDS)]
