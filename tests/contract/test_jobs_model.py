"""Any number of workers, clocks that go on and leases that end: the jobs agree with a model of a dozen lines."""

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from openecr.domain.jobs import (
    TAKEN_OVER_AT_ONCE,
    ClaimedJob,
    JobState,
    Schedule,
    is_given_up,
    pause_seconds,
)
from openecr.store import jobs
from openecr.store.connections import ConstraintViolated
from openecr.store.database import Database
from openecr.store.job_tables import JOBS
from openecr.store.statements import Statement

WORKERS = ("one", "two", "three")
FREE = {"a": 2, "b": 1}
LEASE = 10
EMPTY = Statement(delete(JOBS))

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.sampled_from(sorted(FREE)), st.sampled_from([None, "x", "y"])),
        st.tuples(st.just("claim"), st.sampled_from(WORKERS), st.integers(1, 3)),
        st.tuples(st.sampled_from(["complete", "fail", "bury", "renew"]), st.integers(0, 20), st.just(None)),
        st.tuples(st.just("wait"), st.integers(1, LEASE), st.just(None)),
        st.tuples(st.just("release"), st.sampled_from(WORKERS), st.just(None)),
        st.tuples(st.sampled_from(["retry", "cancel"]), st.just(None), st.integers(0, 20)),
        st.tuples(st.just("run now"), st.sampled_from(sorted(FREE)), st.just(None)),
        st.tuples(st.just("ensure"), st.sampled_from(sorted(FREE)), st.integers(0, 2)),
        st.tuples(st.just("bring back"), st.just(None), st.integers(0, LEASE)),
        st.tuples(st.just("release all"), st.just(None), st.just(None)),
    ),
    max_size=40,
)


@dataclass(kw_only=True)
class Row:
    """One job: `until` is when its holder's lease ends."""

    kind: str
    key: str | None
    run_at: int
    state: JobState = JobState.READY
    token: int = 0
    until: int = 0
    worker: str = ""
    attempts: int = 0
    every_seconds: int | None = None
    is_asked_for: bool = False
    """One more run was asked for while it ran."""

    def rests(self, now: int) -> bool:
        """Put off what has ended with its worker's death too often."""
        if self.attempts <= TAKEN_OVER_AT_ONCE:
            return False
        self.state = JobState.DEAD if is_given_up(self.attempts, self.every_seconds) else JobState.READY
        self.run_at = now + round(pause_seconds(self.attempts, self.every_seconds) * jobs.SECOND)
        return True

    def ask_again(self, now: int) -> None:
        """Ask for one more run of what runs: another instant tells it, at the soonest one that is not the old."""
        if self.state is JobState.RUNNING:
            self.is_asked_for, self.run_at = True, max(now, self.run_at + 1)

    def begin_again(self, run_at: int) -> None:
        """Let it wait as if it had not failed."""
        self.state, self.attempts, self.run_at, self.is_asked_for = JobState.READY, 0, run_at, False


@dataclass
class Model:
    """What must be true of every job."""

    now: int = 0
    rows: dict[int, Row] = field(default_factory=dict)

    def running(self, kind: str) -> int:
        return sum(
            row.kind == kind and row.state is JobState.RUNNING and row.until > self.now
            for row in self.rows.values()
        )

    def lapsed(self, kinds: Collection[str], limit: int) -> list[int]:
        """What dead workers held: those that a claim looks at."""
        found = [
            (row.until, number)
            for number, row in self.rows.items()
            if row.state is JobState.RUNNING and row.until <= self.now and row.kind in kinds
        ]
        return [number for _, number in sorted(found)[:limit]]

    def ready(self) -> list[int]:
        return [
            number
            for number, row in self.rows.items()
            if row.state is JobState.READY and row.run_at <= self.now
        ]

    def open_of(self, kind: str, key: str) -> Row | None:
        return next(
            (
                row
                for row in self.rows.values()
                if (row.kind, row.key) == (kind, key) and row.state is not JobState.DEAD
            ),
            None,
        )

    def holds(self, job: ClaimedJob) -> bool:
        row = self.rows.get(job.id)
        return row is not None and row.state is JobState.RUNNING and row.token == job.token


async def play(database: Database, steps: list[tuple[str, object, object]]) -> None:
    model, claimed = Model(), list[ClaimedJob]()
    await _empty(database)
    for step, first, second in steps:
        await _step(database, model, claimed, step, first, second)
        await _compare(database, model)


async def _empty(database: Database) -> None:
    await database.write(lambda connection: connection.execute(EMPTY))


async def _step(
    database: Database, model: Model, claimed: list[ClaimedJob], step: str, first: object, second: object
) -> None:
    match step, first, second:
        case "enqueue", str() as kind, key:
            assert key is None or isinstance(key, str)
            added = await database.write(
                lambda connection: jobs.enqueue(connection, kind, now=model.now, unique_key=key)
            )
            like = None if key is None else model.open_of(kind, key)
            assert added == (like is None)
            if like is None:
                model.rows[await _newest(database)] = Row(kind=kind, key=key, run_at=model.now)
            else:
                like.ask_again(model.now)
                like.attempts = 1 if like.state is JobState.RUNNING else like.attempts
        case "claim", str() as worker, int() as limit:
            await _claim(database, model, claimed, worker, limit)
        case "wait", int() as count, _:
            model.now += count
        case "release", str() as worker, _:
            await database.write(lambda connection: jobs.release(connection, worker))
            for row in model.rows.values():
                if row.state is JobState.RUNNING and row.worker == worker:
                    row.state, row.attempts = JobState.READY, row.attempts - 1
        case (("retry" | "cancel" | "run now" | "ensure" | "release all" | "bring back"), _, _):
            await _operate(database, model, step, first, second)
        case _, int() as number, _ if claimed:
            await _end(database, model, step, claimed[number % len(claimed)])
        case _:
            pass  # nothing was claimed yet


async def _newest(database: Database) -> int:
    found = await database.scan(partial(jobs.list_after, after=0, limit=1000))
    return found[-1].id


async def _operate(database: Database, model: Model, step: str, first: object, second: object) -> None:
    match step, first, second:
        case "run now", str() as kind, _:
            await _run_now(database, model, kind)
        case "ensure", str() as kind, int() as seconds:
            await _ensure(database, model, Schedule(kind=kind, every_seconds=seconds))
        case "bring back", _, int() as seconds:
            await database.write(partial(jobs.bring_back, now=model.now, lease_until=model.now + seconds))
            for row in model.rows.values():
                row.until = min(row.until, model.now + seconds)
        case "release all", _, _:
            await database.write(partial(jobs.release_all, now=model.now))
            for row in model.rows.values():
                if row.state is JobState.RUNNING and not row.rests(model.now):
                    row.state = JobState.READY
        case _, _, int() as number if model.rows:
            await _operate_on(database, model, step, sorted(model.rows)[number % len(model.rows)])
        case _:
            pass  # there is no job


async def _run_now(database: Database, model: Model, kind: str) -> None:
    await database.write(partial(jobs.run_now, kinds=[kind], now=model.now))
    for row in model.rows.values():
        if row.kind == kind and row.state is JobState.READY:
            row.begin_again(min(row.run_at, model.now))
        elif row.kind == kind and row.state is JobState.RUNNING and row.every_seconds is not None:
            row.ask_again(model.now)


async def _ensure(database: Database, model: Model, schedule: Schedule) -> None:
    await database.write(partial(jobs.ensure, schedules=[schedule], now=model.now))
    found = model.open_of(schedule.kind, jobs.SCHEDULE_KEY)
    if found is None:
        model.rows[await _newest(database)] = Row(
            kind=schedule.kind,
            key=jobs.SCHEDULE_KEY,
            run_at=model.now,
            every_seconds=schedule.every_seconds,
        )
        return
    found.every_seconds = schedule.every_seconds
    if found.state is JobState.READY:
        found.run_at = min(found.run_at, model.now + schedule.every_seconds * jobs.SECOND)


async def _operate_on(database: Database, model: Model, step: str, number: int) -> None:
    row = model.rows[number]
    if step == "cancel":
        is_gone = await database.write(partial(jobs.cancel, job_id=number))
        assert is_gone == (row.every_seconds is None)
        if is_gone:
            del model.rows[number]
        return
    is_dead = row.state is JobState.DEAD
    is_refused = is_dead and row.key is not None and model.open_of(row.kind, row.key) is not None
    with pytest.raises(ConstraintViolated) if is_refused else nullcontext():
        is_ready = await database.write(partial(jobs.retry, job_id=number, now=model.now))
        assert is_ready == is_dead
        if is_ready:
            row.begin_again(model.now)


async def _claim(
    database: Database, model: Model, claimed: list[ClaimedJob], worker: str, limit: int
) -> None:
    room = {kind: count - model.running(kind) for kind, count in FREE.items()}
    found = await database.write(
        lambda connection: jobs.claim(
            connection, FREE, now=model.now, worker=worker, lease_until=model.now + LEASE, limit=limit
        )
    )
    has_room = [kind for kind, count in room.items() if count > 0]
    lapsed = [number for number in model.lapsed(has_room, limit) if not model.rows[number].rests(model.now)]
    due = [*lapsed, *model.ready()]
    taken = {kind: sum(job.kind == kind for job in found) for kind in FREE}
    possible = {kind: sum(model.rows[number].kind == kind for number in due) for kind in FREE}
    assert len(found) <= limit
    assert all(taken[kind] <= max(room[kind], 0) for kind in FREE)
    # What is due and may run is claimed, unless the limit was used up by what is due and may not.
    if any(min(possible[kind], room[kind]) > 0 for kind in FREE):
        assert found
    for job in found:
        assert job.id in due
        row = model.rows[job.id]
        assert (job.token, job.attempts) == (row.token + 1, row.attempts + 1)
        row.attempts, row.is_asked_for = job.attempts, False
        row.state, row.token, row.until, row.worker = (
            JobState.RUNNING,
            job.token,
            model.now + LEASE,
            worker,
        )
    claimed += found


async def _end(database: Database, model: Model, step: str, job: ClaimedJob) -> None:
    holds, now = model.holds(job), model.now
    if step == "complete":
        assert await database.write(lambda connection: jobs.complete(connection, job, now=now)) == holds
        row = model.rows.get(job.id)
        if holds and row is not None and row.is_asked_for:
            row.begin_again(now)
        elif holds and row is not None and row.every_seconds is not None:
            row.begin_again(now + row.every_seconds * jobs.SECOND)
        elif holds:
            del model.rows[job.id]
    elif step == "renew":
        renewed = await database.write(
            lambda connection: jobs.renew(connection, job, lease_until=now + 2 * LEASE, payload={})
        )
        assert renewed == holds
        if holds:
            model.rows[job.id].until = now + 2 * LEASE
    else:
        is_dead = step == "bury" and job.every_seconds is None
        put_off = await database.write(
            lambda connection: jobs.put_off(connection, job, run_at=now + 3, error="x", is_dead=is_dead)
        )
        assert put_off == holds
        if holds:
            row = model.rows[job.id]
            is_dead = is_dead and not row.is_asked_for
            row.state, row.run_at, row.is_asked_for = (
                JobState.DEAD if is_dead else JobState.READY,
                now + 3,
                False,
            )


async def _compare(database: Database, model: Model) -> None:
    found = await database.scan(lambda connection: jobs.list_after(connection, after=0, limit=1000))
    assert {status.id: (status.state, status.attempts, status.every_seconds) for status in found} == {
        number: (row.state, row.attempts, row.every_seconds) for number, row in model.rows.items()
    }
    for status in found:
        if status.state is JobState.READY:
            assert status.run_at == pytest.approx(model.rows[status.id].run_at, abs=40), "marks add to it"


async def test_jobs_agree_with_a_model(database: Database) -> None:
    found: list[list[tuple[str, object, object]]] = []

    @given(STEPS)
    def collect(steps: list[tuple[str, object, object]]) -> None:
        found.append(steps)

    await anyio.to_thread.run_sync(collect)
    for steps in found:
        await play(database, steps)
