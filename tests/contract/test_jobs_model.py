"""Any number of workers, clocks that go on and leases that end: the jobs agree with a model of a dozen lines."""

from dataclasses import dataclass, field
from functools import partial

import anyio
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.jobs import ClaimedJob, JobState
from openecr.store import jobs
from openecr.store.database import Database

WORKERS = ("one", "two", "three")
FREE = {"a": 2, "b": 1}
LEASE = 10

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enqueue"), st.sampled_from(sorted(FREE)), st.sampled_from([None, "x", "y"])),
        st.tuples(st.just("claim"), st.sampled_from(WORKERS), st.integers(1, 3)),
        st.tuples(st.sampled_from(["complete", "fail", "bury", "renew"]), st.integers(0, 20), st.just(None)),
        st.tuples(st.just("wait"), st.integers(1, LEASE), st.just(None)),
        st.tuples(st.just("release"), st.sampled_from(WORKERS), st.just(None)),
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

    def due(self) -> list[int]:
        return [
            number
            for number, row in self.rows.items()
            if (row.state is JobState.READY and row.run_at <= self.now)
            or (row.state is JobState.RUNNING and row.until <= self.now)
        ]

    def holds(self, job: ClaimedJob) -> bool:
        row = self.rows.get(job.id)
        return row is not None and row.state is JobState.RUNNING and row.token == job.token

    def has_open(self, kind: str, key: str) -> bool:
        return any(
            (row.kind, row.key) == (kind, key) and row.state is not JobState.DEAD
            for row in self.rows.values()
        )


async def play(database: Database, steps: list[tuple[str, object, object]]) -> None:
    model, claimed = Model(), list[ClaimedJob]()
    await _empty(database)
    for step, first, second in steps:
        await _step(database, model, claimed, step, first, second)
        await _compare(database, model)


async def _empty(database: Database) -> None:
    for status in await database.scan(lambda connection: jobs.list_after(connection, after=0, limit=1000)):
        await database.write(partial(jobs.cancel, job_id=status.id))


async def _step(
    database: Database, model: Model, claimed: list[ClaimedJob], step: str, first: object, second: object
) -> None:
    match step, first, second:
        case "enqueue", str() as kind, key:
            assert key is None or isinstance(key, str)
            added = await database.write(
                lambda connection: jobs.enqueue(connection, kind, now=model.now, unique_key=key)
            )
            assert added == (key is None or not model.has_open(kind, key))
            if added:
                found = await database.scan(
                    lambda connection: jobs.list_after(connection, after=0, limit=1000)
                )
                model.rows[found[-1].id] = Row(kind=kind, key=key, run_at=model.now)
        case "claim", str() as worker, int() as limit:
            await _claim(database, model, claimed, worker, limit)
        case "wait", int() as count, _:
            model.now += count
        case "release", str() as worker, _:
            await database.write(lambda connection: jobs.release(connection, worker))
            for row in model.rows.values():
                if row.state is JobState.RUNNING and row.worker == worker:
                    row.state = JobState.READY
        case _, int() as number, _ if claimed:
            await _end(database, model, step, claimed[number % len(claimed)])
        case _:
            pass  # nothing was claimed yet


async def _claim(
    database: Database, model: Model, claimed: list[ClaimedJob], worker: str, limit: int
) -> None:
    due = model.due()
    room = {kind: count - model.running(kind) for kind, count in FREE.items()}
    found = await database.write(
        lambda connection: jobs.claim(
            connection, FREE, now=model.now, worker=worker, lease_until=model.now + LEASE, limit=limit
        )
    )
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
        assert job.token == row.token + 1
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
        if holds:
            del model.rows[job.id]
    elif step == "renew":
        renewed = await database.write(
            lambda connection: jobs.renew(connection, job, lease_until=now + 2 * LEASE, payload={})
        )
        assert renewed == holds
        if holds:
            model.rows[job.id].until = now + 2 * LEASE
    else:
        is_dead = step == "bury"
        put_off = await database.write(
            lambda connection: jobs.put_off(connection, job, run_at=now + 3, error="x", is_dead=is_dead)
        )
        assert put_off == holds
        if holds:
            model.rows[job.id].state = JobState.DEAD if is_dead else JobState.READY
            model.rows[job.id].run_at = now + 3


async def _compare(database: Database, model: Model) -> None:
    found = await database.scan(lambda connection: jobs.list_after(connection, after=0, limit=1000))
    assert {status.id: status.state for status in found} == {
        number: row.state for number, row in model.rows.items()
    }


async def test_jobs_agree_with_a_model(database: Database) -> None:
    found: list[list[tuple[str, object, object]]] = []

    @given(STEPS)
    def collect(steps: list[tuple[str, object, object]]) -> None:
        found.append(steps)

    await anyio.to_thread.run_sync(collect)
    for steps in found:
        await play(database, steps)
