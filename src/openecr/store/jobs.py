"""Jobs: enqueued in the transaction of their cause, claimed under a lease, ended by whoever still holds them.

While a job runs, its `run_at` stays as its holder found it. Whoever asks for one more run changes it, and the holder's
end lets the job run again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Text, and_, bindparam, case, delete, func, literal_column, select, text, update

from openecr.domain.jobs import (
    LONGEST_PAUSE_SECONDS,
    TAKEN_OVER_AT_ONCE,
    ClaimedJob,
    JobState,
    JobStatus,
    Schedule,
    is_given_up,
    pause_seconds,
)
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, insert_or_ignore, is_one_of, skipping_locked
from openecr.store.job_tables import JOBS
from openecr.store.statements import Statement
from openecr.store.tables import BIG

PAYLOAD_MAX_BYTES = 64 * 1024
SCHEDULE_KEY = "schedule"
OPERATOR_KEY = "operator"
"""Of what an operator asks for."""

SECOND = 1_000_000
DIED = "its worker died"
HELD_MAX = 1000
"""So many jobs that run are looked through at most."""

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
# As constants of the text: a plan for any parameter could not use the indexes of a state.
_READY = _J.state == literal_column("'ready'")
RUNNING = _J.state == literal_column("'running'")
OPEN = text("state IN ('ready', 'running') AND unique_key IS NOT NULL")
_IS_HELD = and_(_J.id == bindparam("job_id"), _J.token == bindparam("held"), RUNNING)
_IS_AS_CLAIMED = _J.run_at == bindparam("held_run_at", type_=BIG)
_EMPTY = literal_column("'{}'", Text())
_READY_AGAIN = literal_column("'ready'", Text())
_FREE = {"worker": None, "lease_until": None}
_NEW_RUN_AT = bindparam("new_run_at", type_=BIG)
_ENDED_AT = bindparam("new_ended_at", type_=BIG)
_ANOTHER_RUN_AT = case((_J.run_at < _NEW_RUN_AT, _NEW_RUN_AT), else_=_J.run_at + 1)
_DUE_COLUMNS = (_J.id, _J.kind, _J.payload, _J.attempts, _J.token, _J.run_at, _J.every_seconds)

ADD = insert_or_ignore(JOBS, conflict=(), columns=_COLUMNS)
SET_INTERVAL = Statement(
    update(JOBS)
    .where(_J.kind == bindparam("the_kind"), _J.unique_key == SCHEDULE_KEY, _J.state != "dead")
    .values(every_seconds=bindparam("new_every_seconds"))
)
BRING_FORWARD = Statement(
    update(JOBS)
    .where(_J.kind == bindparam("the_kind"), _J.unique_key == SCHEDULE_KEY, _READY, _J.run_at > _NEW_RUN_AT)
    .values(run_at=_NEW_RUN_AT)
)
BRING_LEASES_BACK = Statement(
    update(JOBS)
    .where(RUNNING, _J.lease_until > bindparam("new_lease_until", type_=BIG))
    .values(lease_until=bindparam("new_lease_until", type_=BIG))
)
BRING_ONCE_FORWARD = Statement(
    update(JOBS).where(_READY, _J.every_seconds.is_(None), _J.run_at > _NEW_RUN_AT).values(run_at=_NEW_RUN_AT)
)
IS_READY = Statement(select(_J.id).where(_READY, _J.run_at <= _NOW, is_one_of(_J.kind, "kinds")).limit(1))
IS_LAPSED = Statement(
    select(_J.id).where(RUNNING, _J.lease_until <= _NOW, is_one_of(_J.kind, "kinds")).limit(1)
)
COUNT_RUNNING = Statement(
    select(_J.kind, func.count()).where(RUNNING, _J.lease_until > _NOW).group_by(_J.kind)
)
LIST_READY = skipping_locked(
    select(*_DUE_COLUMNS)
    .where(_J.kind == bindparam("the_kind"), _READY, _J.run_at <= _NOW)
    .order_by(_J.run_at, _J.id)
    .limit(bindparam("limit"))
)
LIST_LAPSED = skipping_locked(  # their workers have died, or stand still
    select(*_DUE_COLUMNS)
    .where(RUNNING, _J.lease_until <= _NOW, is_one_of(_J.kind, "kinds"))
    .order_by(_J.lease_until, _J.id)
    .limit(bindparam("limit"))
)
LIST_RUNNING = Statement(select(*_DUE_COLUMNS).where(RUNNING).order_by(_J.lease_until, _J.id).limit(HELD_MAX))
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
    .values(
        lease_until=bindparam("new_lease_until"),
        # Where it is to be done once more, the payload is the next run's already.
        payload=case((_IS_AS_CLAIMED, bindparam("new_payload", type_=Text())), else_=_J.payload),
    )
)
REMOVE = Statement(delete(JOBS).where(_IS_HELD, _IS_AS_CLAIMED, _J.every_seconds.is_(None)))
BEGIN_AGAIN = Statement(
    update(JOBS)
    .where(_IS_HELD, _IS_AS_CLAIMED)
    .values(
        state="ready",
        attempts=0,
        run_at=_ENDED_AT + _J.every_seconds * literal_column(str(SECOND)),
        ended_at=_ENDED_AT,
        last_error=None,
        **_FREE,
    )
)
RUN_AGAIN = Statement(
    update(JOBS)
    .where(_IS_HELD)
    .values(state="ready", attempts=0, run_at=_NEW_RUN_AT, last_error=None, **_FREE)
)
PUT_OFF = Statement(
    update(JOBS)
    .where(_IS_HELD)
    .values(
        # Who asked for one more run has attempts of its own, also where this was the last one, and no rest for it.
        state=case((_IS_AS_CLAIMED, bindparam("new_state", type_=Text())), else_=_READY_AGAIN),
        run_at=case((_IS_AS_CLAIMED, _NEW_RUN_AT), else_=_J.run_at),
        last_error=bindparam("new_error"),
        **_FREE,
    )
)
RELEASE = Statement(
    update(JOBS)
    .where(_J.worker == bindparam("the_worker"), RUNNING)
    .values(state="ready", attempts=_J.attempts - 1, **_FREE)
)
GIVE_BACK = Statement(update(JOBS).where(_IS_HELD).values(state="ready", **_FREE))
STATUS = select(
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
    _J.lease_until,
    _J.last_error,
)
LIST = Statement(
    STATUS.where(_J.id > bindparam("after", type_=BIG)).order_by(_J.id).limit(bindparam("limit"))
)
LIST_OF_STATE = Statement(
    STATUS.where(_J.state == bindparam("the_state"), _J.id > bindparam("after", type_=BIG))
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
    .where(is_one_of(_J.kind, "kinds"), _READY)
    .values(
        run_at=case((_J.run_at > _NEW_RUN_AT, _NEW_RUN_AT), else_=_J.run_at),
        attempts=0,
        last_error=None,
        # How far an interrupted schedule came is no part of the run that is asked for.
        payload=case((_J.every_seconds.is_(None), _J.payload), else_=_EMPTY),
    )
)
SCHEDULE_AGAIN = Statement(
    update(JOBS)
    .where(is_one_of(_J.kind, "kinds"), RUNNING, _J.every_seconds.is_not(None))
    .values(run_at=_ANOTHER_RUN_AT, payload=_EMPTY, last_error=None)
)
ENQUEUE_AGAIN = Statement(
    update(JOBS)
    .where(_J.kind == bindparam("the_kind"), _J.unique_key == bindparam("the_key"), RUNNING)
    # The attempt that is on its way counts as the first at the new cause: its worker may still die of it.
    .values(run_at=_ANOTHER_RUN_AT, attempts=1, payload=bindparam("new_payload"), last_error=None)
)


def enqueue(
    connection: Connection,
    kind: str,
    *,
    now: int,
    payload: Mapping[str, object] | None = None,
    unique_key: str | None = None,
) -> bool:
    """Add a job; False where an open one of this kind has the same key. Call it in the transaction of the cause.

    The open one does it too: where it waits, when it runs; where it runs, by one more run with this payload.
    """
    text_of_payload = _encoded(payload or {})
    added = connection.execute(
        ADD,
        kind=kind,
        unique_key=unique_key,
        payload=text_of_payload,
        state="ready",
        attempts=0,
        created_at=now,
        run_at=now,
        every_seconds=None,
        token=0,
    )
    if added == 0:
        connection.execute(
            ENQUEUE_AGAIN, the_kind=kind, the_key=unique_key, new_run_at=now, new_payload=text_of_payload
        )
    return added > 0


def ensure(connection: Connection, schedules: Iterable[Schedule], *, now: int) -> None:
    """Make the jobs that begin again and again, or set how often they do.

    None waits for longer than its interval: neither for one that was longer, nor for what a wrong clock has said.
    """
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
        longest = max(schedule.every_seconds, schedule.first_seconds)
        connection.execute(BRING_FORWARD, the_kind=schedule.kind, new_run_at=now + longest * SECOND)


def bring_back(connection: Connection, *, now: int, lease_until: int) -> None:
    """End what a clock far ahead has left: leases after `lease_until`, and rests that no failure makes so long.

    Whoever is alive and holds a job renews its lease before.
    """
    connection.execute(BRING_LEASES_BACK, new_lease_until=lease_until)
    connection.execute(BRING_ONCE_FORWARD, new_run_at=now + LONGEST_PAUSE_SECONDS * SECOND)


def is_due(connection: Connection, kinds: Iterable[str], *, now: int) -> bool:
    """Tell whether there may be something to claim of some kinds: cheap, and asked often."""
    asked = as_list(sorted(kinds))
    return any(
        connection.fetch_one(statement, now=now, kinds=asked) is not None
        for statement in (IS_READY, IS_LAPSED)
    )


def claim(
    connection: Connection,
    free: Mapping[str, int],
    *,
    now: int,
    worker: str,
    lease_until: int,
    limit: int,
) -> list[ClaimedJob]:
    """Take due jobs; of each kind the oldest, and no more than `free` says may run at one time, anywhere.

    Kinds take turns, so that none waits behind another's backlog. What a dead worker held comes first, unless it rests
    because it may be what kills them.
    """
    running = {row[0]: row[1] for row in connection.fetch_all(COUNT_RUNNING, now=now)}
    room = {kind: free[kind] - running.get(kind, 0) for kind in sorted(free)}
    waiting = {kind: list[Row]() for kind, count in room.items() if count > 0}
    for row in connection.fetch_all(LIST_LAPSED, now=now, kinds=as_list(waiting), limit=limit):
        if not _rest(connection, row, now=now):
            waiting[row[1]].append(row)
    for kind, rows in waiting.items():
        if len(rows) < room[kind]:
            most = min(room[kind] - len(rows), limit)
            rows.extend(connection.fetch_all(LIST_READY, now=now, the_kind=kind, limit=most))
    turns = [
        (turn, row[5], row) for kind, rows in waiting.items() for turn, row in enumerate(rows[: room[kind]])
    ]
    turns.sort(key=lambda each: each[:2])
    return [_take(connection, row, worker=worker, lease_until=lease_until) for _, _, row in turns[:limit]]


def _take(connection: Connection, row: Row, *, worker: str, lease_until: int) -> ClaimedJob:
    job_id, kind, payload, attempts, token, run_at, every_seconds = row
    connection.execute(TAKE, job_id=job_id, held=token, new_worker=worker, new_lease_until=lease_until)
    return ClaimedJob(
        id=job_id,
        kind=kind,
        payload=json.loads(payload),
        attempts=attempts + 1,
        token=token + 1,
        run_at=run_at,
        every_seconds=every_seconds,
    )


def _rest(connection: Connection, row: Row, *, now: int) -> bool:
    """Put off what has ended with its worker's death too often; False where it may be taken over at once."""
    job_id, _, _, attempts, token, held_run_at, every_seconds = row
    if attempts <= TAKEN_OVER_AT_ONCE:
        return False
    state = JobState.DEAD if is_given_up(attempts, every_seconds) else JobState.READY
    run_at = now + round(pause_seconds(attempts, every_seconds) * SECOND)
    connection.execute(
        PUT_OFF,
        job_id=job_id,
        held=token,
        held_run_at=held_run_at,
        new_state=state.value,
        new_run_at=run_at,
        new_error=DIED,
    )
    return True


def renew(
    connection: Connection, job: ClaimedJob, *, lease_until: int, payload: Mapping[str, object]
) -> bool:
    """Hold a job for longer, and note how far it has come; False where it is lost."""
    return (
        connection.execute(
            RENEW,
            job_id=job.id,
            held=job.token,
            held_run_at=job.run_at,
            new_lease_until=lease_until,
            new_payload=_encoded(payload),
        )
        > 0
    )


def complete(connection: Connection, job: ClaimedJob, *, now: int) -> bool:
    """End a job that is done, unless one more run was asked for; False where it is lost."""
    return _end(connection, job, now=now) or (
        connection.execute(RUN_AGAIN, job_id=job.id, held=job.token, new_run_at=now) > 0
    )


def _end(connection: Connection, job: ClaimedJob, *, now: int) -> bool:
    held = {"job_id": job.id, "held": job.token, "held_run_at": job.run_at}
    if job.every_seconds is None:
        return connection.execute(REMOVE, **held) > 0
    return connection.execute(BEGIN_AGAIN, **held, new_ended_at=now) > 0


def put_off(connection: Connection, job: ClaimedJob, *, run_at: int, error: str, is_dead: bool) -> bool:
    """End a job that failed, to be tried again, or not; False where it is lost.

    Where one more run was asked for meanwhile, it is tried again in any case.
    """
    state = JobState.DEAD if is_dead else JobState.READY
    return (
        connection.execute(
            PUT_OFF,
            job_id=job.id,
            held=job.token,
            held_run_at=job.run_at,
            new_state=state.value,
            new_run_at=run_at,
            new_error=error,
        )
        > 0
    )


def release(connection: Connection, worker: str) -> int:
    """Give back what a worker holds, as if it had not been tried."""
    return connection.execute(RELEASE, the_worker=worker)


def release_all(connection: Connection, *, now: int) -> None:
    """Give back everything: no other worker can be alive. What may have killed its worker rests for a while."""
    for row in connection.fetch_all(LIST_RUNNING):
        if not _rest(connection, row, now=now):
            connection.execute(GIVE_BACK, job_id=row[0], held=row[4])


def list_after(
    connection: Connection, *, after: int, limit: int, state: JobState | None = None
) -> Sequence[JobStatus]:
    """Return jobs in the order of their ids."""
    if state is None:
        return [status_of(row) for row in connection.fetch_all(LIST, after=after, limit=limit)]
    rows = connection.fetch_all(LIST_OF_STATE, the_state=state.value, after=after, limit=limit)
    return [status_of(row) for row in rows]


def retry(connection: Connection, job_id: int, *, now: int) -> bool:
    """Let a dead job be tried again; False where there is none. Raises ConstraintViolated where an open one does it."""
    return connection.execute(RETRY, job_id=job_id, new_run_at=now) > 0


def cancel(connection: Connection, job_id: int) -> bool:
    """Remove a job that is done once; who runs it loses it. False where there is none."""
    return connection.execute(CANCEL, job_id=job_id) > 0


def run_now(connection: Connection, kinds: Iterable[str], *, now: int) -> None:
    """Let what waits run at once, as if it had not failed, and what begins again and again and runs, once more.

    What begins again and again begins at its beginning, wherever its last run was interrupted.
    """
    asked = as_list(sorted(kinds))
    connection.execute(RUN_NOW, kinds=asked, new_run_at=now)
    connection.execute(SCHEDULE_AGAIN, kinds=asked, new_run_at=now)


class PayloadTooLarge(ValueError):
    """A payload names things, it does not hold them."""

    def __init__(self) -> None:
        super().__init__(f"a job's payload is larger than {PAYLOAD_MAX_BYTES} bytes")


def _encoded(payload: Mapping[str, object]) -> str:
    encoded = json.dumps(payload)
    if len(encoded) > PAYLOAD_MAX_BYTES:
        raise PayloadTooLarge
    return encoded


def status_of(row: Row) -> JobStatus:
    """Return what a row of STATUS says."""
    job_id, kind, unique_key, payload, state, attempts, run_at, every_seconds, ended_at, *held = row
    worker, lease_until, error = held
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
        lease_until=lease_until,
        last_error=error,
    )
