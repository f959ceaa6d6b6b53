"""Jobs: enqueued in the transaction of their cause, claimed under a lease, ended by whoever still holds them."""

import json
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import and_, bindparam, delete, func, or_, select, update

from openecr.domain.jobs import ClaimedJob, JobState, JobStatus, Schedule
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, insert_or_ignore, is_one_of, skipping_locked
from openecr.store.job_tables import JOBS
from openecr.store.statements import Statement
from openecr.store.tables import BIG

PAYLOAD_MAX_BYTES = 64 * 1024
SCHEDULE_KEY = "schedule"
SECOND = 1_000_000

_J = JOBS.c
_COLUMNS = (
    "kind",
    "unique_key",
    "payload",
    "state",
    "attempts",
    "created_at",
    "run_at",
    "every_seconds",
    "token",
)
_NOW = bindparam("now", type_=BIG)
_IS_DUE = or_(
    and_(_J.state == "ready", _J.run_at <= _NOW),
    and_(_J.state == "running", _J.lease_until <= _NOW),  # its worker has died, or stands still
)
_IS_HELD = and_(_J.id == bindparam("job_id"), _J.token == bindparam("held"), _J.state == "running")
_FREE = {"worker": None, "lease_until": None}

ADD = insert_or_ignore(JOBS, conflict=(), columns=_COLUMNS)
SET_INTERVAL = Statement(
    update(JOBS)
    .where(_J.kind == bindparam("the_kind"), _J.unique_key == SCHEDULE_KEY, _J.state != "dead")
    .values(every_seconds=bindparam("new_every_seconds"))
)
IS_DUE = Statement(select(_J.id).where(_IS_DUE, is_one_of(_J.kind, "kinds")).limit(1))
COUNT_RUNNING = Statement(
    select(_J.kind, func.count()).where(_J.state == "running", _J.lease_until > _NOW).group_by(_J.kind)
)
LIST_DUE = skipping_locked(
    select(_J.id, _J.kind, _J.payload, _J.attempts, _J.token, _J.every_seconds)
    .where(_IS_DUE, is_one_of(_J.kind, "kinds"))
    .order_by(_J.run_at, _J.id)
    .limit(bindparam("limit"))
)
TAKE = Statement(
    update(JOBS)
    .where(_J.id == bindparam("job_id"), _J.token == bindparam("held"))
    .values(
        state="running",
        token=_J.token + 1,
        attempts=_J.attempts + 1,
        worker=bindparam("new_worker"),
        lease_until=bindparam("new_lease_until"),
    )
)
RENEW = Statement(
    update(JOBS)
    .where(_IS_HELD)
    .values(lease_until=bindparam("new_lease_until"), payload=bindparam("new_payload"))
)
REMOVE = Statement(delete(JOBS).where(_IS_HELD, _J.every_seconds.is_(None)))
BEGIN_AGAIN = Statement(
    update(JOBS)
    .where(_IS_HELD)
    .values(
        state="ready",
        attempts=0,
        run_at=bindparam("new_run_at"),
        ended_at=bindparam("new_ended_at"),
        last_error=None,
        **_FREE,
    )
)
PUT_OFF = Statement(
    update(JOBS)
    .where(_IS_HELD)
    .values(
        state=bindparam("new_state"),
        run_at=bindparam("new_run_at"),
        last_error=bindparam("new_error"),
        **_FREE,
    )
)
RELEASE = Statement(
    update(JOBS)
    .where(_J.worker == bindparam("the_worker"), _J.state == "running")
    .values(state="ready", attempts=_J.attempts - 1, **_FREE)
)
RELEASE_ALL = Statement(update(JOBS).where(_J.state == "running").values(state="ready", **_FREE))
LIST = Statement(
    select(
        _J.id,
        _J.kind,
        _J.unique_key,
        _J.payload,
        _J.state,
        _J.attempts,
        _J.run_at,
        _J.every_seconds,
        _J.ended_at,
        _J.worker,
        _J.last_error,
    )
    .where(_J.id > bindparam("after", type_=BIG))
    .order_by(_J.id)
    .limit(bindparam("limit"))
)
RETRY = Statement(
    update(JOBS)
    .where(_J.id == bindparam("job_id"), _J.state == "dead")
    .values(state="ready", attempts=0, run_at=bindparam("new_run_at"))
)
CANCEL = Statement(delete(JOBS).where(_J.id == bindparam("job_id"), _J.every_seconds.is_(None)))
RUN_NOW = Statement(
    update(JOBS)
    .where(is_one_of(_J.kind, "kinds"), _J.state == "ready", _J.run_at > bindparam("new_run_at"))
    .values(run_at=bindparam("new_run_at"))
)


def enqueue(
    connection: Connection,
    kind: str,
    *,
    now: int,
    payload: Mapping[str, object] | None = None,
    unique_key: str | None = None,
) -> bool:
    """Add a job; False where an open one of this kind has the same key. Call it in the transaction of the cause."""
    text = _encoded(payload or {})
    added = connection.execute(
        ADD,
        kind=kind,
        unique_key=unique_key,
        payload=text,
        state="ready",
        attempts=0,
        created_at=now,
        run_at=now,
        every_seconds=None,
        token=0,
    )
    return added > 0


def ensure(connection: Connection, schedules: Iterable[Schedule], *, now: int) -> None:
    """Make the jobs that begin again and again, or set how often they do."""
    for schedule in schedules:
        connection.execute(
            ADD,
            kind=schedule.kind,
            unique_key=SCHEDULE_KEY,
            payload="{}",
            state="ready",
            attempts=0,
            created_at=now,
            run_at=now + schedule.first_seconds * SECOND,
            every_seconds=schedule.every_seconds,
            token=0,
        )
        connection.execute(SET_INTERVAL, the_kind=schedule.kind, new_every_seconds=schedule.every_seconds)


def is_due(connection: Connection, kinds: Iterable[str], *, now: int) -> bool:
    """Tell whether there may be something of these kinds to claim: one cheap question, asked often."""
    return connection.fetch_one(IS_DUE, now=now, kinds=as_list(kinds)) is not None


def claim(
    connection: Connection,
    free: Mapping[str, int],
    *,
    now: int,
    worker: str,
    lease_until: int,
    limit: int,
) -> list[ClaimedJob]:
    """Take due jobs, the oldest first; of each kind no more than `free` says may run at one time, anywhere."""
    running = {row[0]: row[1] for row in connection.fetch_all(COUNT_RUNNING, now=now)}
    left = {kind: count - running.get(kind, 0) for kind, count in free.items()}
    kinds = as_list(sorted(kind for kind, count in left.items() if count > 0))
    claimed: list[ClaimedJob] = []
    for row in connection.fetch_all(LIST_DUE, now=now, kinds=kinds, limit=limit):
        job = ClaimedJob(
            id=row[0],
            kind=row[1],
            payload=json.loads(row[2]),
            attempts=row[3] + 1,
            token=row[4] + 1,
            every_seconds=row[5],
        )
        if left[job.kind] > 0:
            left[job.kind] -= 1
            connection.execute(
                TAKE, job_id=job.id, held=job.token - 1, new_worker=worker, new_lease_until=lease_until
            )
            claimed.append(job)
    return claimed


def renew(
    connection: Connection, job: ClaimedJob, *, lease_until: int, payload: Mapping[str, object]
) -> bool:
    """Hold a job for longer, and note how far it has come; False where it is lost."""
    return (
        connection.execute(
            RENEW,
            job_id=job.id,
            held=job.token,
            new_lease_until=lease_until,
            new_payload=_encoded(payload),
        )
        > 0
    )


def complete(connection: Connection, job: ClaimedJob, *, now: int) -> bool:
    """End a job that is done; False where it is lost."""
    if job.every_seconds is None:
        return connection.execute(REMOVE, job_id=job.id, held=job.token) > 0
    return (
        connection.execute(
            BEGIN_AGAIN,
            job_id=job.id,
            held=job.token,
            new_run_at=now + job.every_seconds * SECOND,
            new_ended_at=now,
        )
        > 0
    )


def put_off(connection: Connection, job: ClaimedJob, *, run_at: int, error: str, is_dead: bool) -> bool:
    """End a job that failed, to be tried again, or not; False where it is lost."""
    state = JobState.DEAD if is_dead else JobState.READY
    return (
        connection.execute(
            PUT_OFF,
            job_id=job.id,
            held=job.token,
            new_state=state.value,
            new_run_at=run_at,
            new_error=error,
        )
        > 0
    )


def release(connection: Connection, worker: str) -> int:
    """Give back what a worker holds, as if it had not been tried."""
    return connection.execute(RELEASE, the_worker=worker)


def release_all(connection: Connection) -> int:
    """Give back everything: no other worker can be alive."""
    return connection.execute(RELEASE_ALL)


def list_after(connection: Connection, *, after: int, limit: int) -> Sequence[JobStatus]:
    """Return jobs in the order of their ids."""
    return [_status(row) for row in connection.fetch_all(LIST, after=after, limit=limit)]


def retry(connection: Connection, job_id: int, *, now: int) -> bool:
    """Let a dead job be tried again; False where there is none."""
    return connection.execute(RETRY, job_id=job_id, new_run_at=now) > 0


def cancel(connection: Connection, job_id: int) -> bool:
    """Remove a job that is done once; who runs it loses it. False where there is none."""
    return connection.execute(CANCEL, job_id=job_id) > 0


def run_now(connection: Connection, kinds: Iterable[str], *, now: int) -> int:
    """Let jobs that wait for their time run at once; return how many."""
    return connection.execute(RUN_NOW, kinds=as_list(sorted(kinds)), new_run_at=now)


def _encoded(payload: Mapping[str, object]) -> str:
    text = json.dumps(payload)
    assert len(text) <= PAYLOAD_MAX_BYTES, "payloads name things, they do not hold them"
    return text


def _status(row: Row) -> JobStatus:
    job_id, kind, unique_key, payload, state, attempts, run_at, every_seconds, ended_at, worker, error = row
    return JobStatus(
        id=job_id,
        kind=kind,
        unique_key=unique_key,
        payload=json.loads(payload),
        state=JobState(state),
        attempts=attempts,
        run_at=run_at,
        every_seconds=every_seconds,
        ended_at=ended_at,
        worker=worker,
        last_error=error,
    )
