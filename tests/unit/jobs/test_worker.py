"""A worker over a real database: what it claims it ends, what it loses it leaves, what it holds it gives back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from openecr.adapters.clocks import SystemClock
from openecr.adapters.ids import SystemIds
from openecr.application.jobs import Jobs
from openecr.domain.jobs import ATTEMPTS_MAX, ClaimedJob, JobState, JobStatus, Schedule
from openecr.jobs.worker import Kind, Run, Worker
from openecr.store import jobs as rows
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase
from openecr.testing.clocks import MovableClock

PATIENCE_SECONDS = 20


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    migrate_sqlite(tmp_path / "metadata.sqlite", tmp_path / "activity.sqlite")
    failures: list[BaseException] = []
    found = SqliteDatabase(tmp_path / "metadata.sqlite", on_failure=failures.append)
    yield found
    await found.close()
    assert failures == []


def jobs_of(database: SqliteDatabase, *, lease_seconds: float = 60) -> Jobs:
    return Jobs(database=database, clock=SystemClock(), lease_seconds=lease_seconds)


async def enqueue(database: SqliteDatabase, kind: str, **payload: object) -> None:
    now = SystemClock().now()
    await database.write(lambda connection: rows.enqueue(connection, kind, now=now, payload=payload))


async def statuses(database: SqliteDatabase) -> list[JobStatus]:
    return list(await jobs_of(database).list())


async def until(database: SqliteDatabase, is_so: Callable[[list[JobStatus]], bool]) -> None:
    """Wait until jobs stand so; only a failure takes long."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while not is_so(await statuses(database)):  # noqa: ASYNC110 -- the database tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(worker: Worker, *, is_alone: bool = False) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await worker.run(is_alone=is_alone)

        group.start_soon(run)
        yield
        group.cancel_scope.cancel()


def worker_of(jobs: Jobs, *kinds: Kind, poll_seconds: float = 0.01) -> Worker:
    return Worker(jobs, kinds, ids=SystemIds(), poll_seconds=poll_seconds)


async def test_what_is_enqueued_is_done_once(database: SqliteDatabase) -> None:
    done: list[object] = []

    async def handle(run: Run) -> None:
        done.append(run.payload["number"])

    for number in range(5):
        await enqueue(database, "count", number=number)
    async with working(worker_of(jobs_of(database), Kind(name="count", run=handle, concurrency=2))):
        await until(database, lambda left: not left)

    assert sorted(map(str, done)) == ["0", "1", "2", "3", "4"]


async def test_what_waits_behind_a_job_begins_as_soon_as_that_has_ended(database: SqliteDatabase) -> None:
    done: list[object] = []

    async def handle(run: Run) -> None:
        done.append(run.payload["number"])

    for number in range(5):
        await enqueue(database, "one by one", number=number)
    slow = worker_of(
        jobs_of(database), Kind(name="one by one", run=handle), poll_seconds=PATIENCE_SECONDS * 10
    )
    async with working(slow):
        await until(database, lambda left: not left)

    assert done == [0, 1, 2, 3, 4]


async def test_what_fails_is_tried_again_and_told(database: SqliteDatabase) -> None:
    async def handle(run: Run) -> None:
        del run
        raise ValueError("no such image")

    await enqueue(database, "fail")
    async with working(worker_of(jobs_of(database), Kind(name="fail", run=handle))):
        await until(database, lambda left: left[0].last_error is not None)

    (status,) = await statuses(database)
    assert (status.state, status.attempts) == (JobState.READY, 1)
    assert status.last_error == "ValueError('no such image')"
    assert status.run_at > SystemClock().now() - 1_000_000


class FaultyJobs(Jobs):
    """Jobs of which one call goes wrong in a way that nobody has thought of."""

    wrong = ""
    is_to_go_wrong = True

    async def _pass(self, name: str) -> None:
        if self.is_to_go_wrong and self.wrong == name:
            self.is_to_go_wrong = False
            raise ValueError(name)

    async def ensure(self, schedules: Sequence[Schedule], *, is_alone: bool) -> None:
        await self._pass("ensure")
        await super().ensure(schedules, is_alone=is_alone)

    async def claim(self, free: Mapping[str, int], *, worker: str) -> list[ClaimedJob]:
        await self._pass("claim")
        return await super().claim(free, worker=worker)

    async def hold(self, job: ClaimedJob, payload: Mapping[str, object]) -> bool:
        await self._pass("hold")
        return await super().hold(job, payload)

    async def complete(self, job: ClaimedJob) -> bool:
        await self._pass("complete")
        return await super().complete(job)

    async def fail(self, job: ClaimedJob, error: str, *, jitter: float) -> bool:
        await self._pass("fail")
        return await super().fail(job, error, jitter=jitter)


@pytest.mark.parametrize("wrong", ["ensure", "claim", "hold", "complete", "fail"])
async def test_whatever_goes_wrong_the_worker_goes_on(database: SqliteDatabase, wrong: str) -> None:
    attempts: list[int] = []

    async def handle(run: Run) -> None:
        attempts.append(run.job.attempts)
        await run.save()
        if len(attempts) == 1 and wrong == "fail":
            raise ValueError("a failure that cannot be told")

    jobs = FaultyJobs(database=database, clock=SystemClock(), lease_seconds=0.2)
    jobs.wrong = wrong
    await enqueue(database, "robust")
    async with working(worker_of(jobs, Kind(name="robust", run=handle))):
        await until(database, lambda left: not left)

    assert not jobs.is_to_go_wrong
    assert attempts == ([1] if wrong in {"ensure", "claim"} else [1, 2])


@pytest.mark.parametrize("lease_seconds", [60, 0.1], ids=["at its end", "while it is held"])
async def test_a_payload_that_is_too_large_fails_its_job_alone(
    database: SqliteDatabase, lease_seconds: float
) -> None:
    async def handle(run: Run) -> None:
        run.payload["all"] = "x" * rows.PAYLOAD_MAX_BYTES
        if lease_seconds < 1:
            await asyncio.sleep(PATIENCE_SECONDS)

    async def other(run: Run) -> None:
        del run

    await enqueue(database, "large")
    kinds = Kind(name="large", run=handle), Kind(name="other", run=other)
    async with working(worker_of(jobs_of(database, lease_seconds=lease_seconds), *kinds)):
        await until(database, lambda left: left[0].last_error is not None)
        await enqueue(database, "other")
        await until(database, lambda left: [status.kind for status in left] == ["large"])

    (status,) = await statuses(database)
    assert "PayloadTooLarge" in str(status.last_error)


class SlowJobs(Jobs):
    """Jobs whose first renewal is long on its way, and goes on when nobody waits for it any more."""

    def __init__(self, database: SqliteDatabase) -> None:
        super().__init__(database=database, clock=SystemClock(), lease_seconds=0.3)
        self.arrives = asyncio.Event()
        self.first: asyncio.Task[bool] | None = None

    async def hold(self, job: ClaimedJob, payload: Mapping[str, object]) -> bool:
        if self.first is not None:
            return await super().hold(job, payload)
        self.first = asyncio.create_task(self._hold_late(job, dict(payload)))
        return await asyncio.shield(self.first)

    async def _hold_late(self, job: ClaimedJob, payload: Mapping[str, object]) -> bool:
        await self.arrives.wait()
        return await super().hold(job, payload)

    async def complete(self, job: ClaimedJob) -> bool:
        assert self.first is not None
        await self.first
        return await super().complete(job)


async def test_the_last_payload_stays_whatever_is_on_its_way(database: SqliteDatabase) -> None:
    jobs = SlowJobs(database)

    async def handle(run: Run) -> None:
        run.payload["after"] = 1
        while jobs.first is None:  # noqa: ASYNC110 -- the worker tells nobody
            await asyncio.sleep(0.01)
        run.payload["after"] = 2
        asyncio.get_running_loop().call_later(0.05, jobs.arrives.set)

    kind = Kind(name="again", run=handle, every_seconds=3600)
    async with working(worker_of(jobs, kind)):
        await until(database, lambda left: left != [] and left[0].ended_at is not None)

    assert (await statuses(database))[0].payload == {"after": 2}


@pytest.mark.parametrize("every_seconds", [None, 3600, 60, 1])
async def test_what_failed_rests_twice_as_long_each_time_up_to_a_bound(
    database: SqliteDatabase, every_seconds: int | None
) -> None:
    clock = MovableClock(0)
    jobs = Jobs(database=database, clock=clock)
    bound = 3600 if every_seconds is None else min(3600, 4 * every_seconds)
    for attempt in range(1, ATTEMPTS_MAX + 5):
        for jitter in (0.0, 255 / 256):
            kind = f"{attempt} {jitter}"
            await database.write(partial(rows.enqueue, kind=kind, now=clock.now()))
            (claimed,) = await jobs.claim({kind: 1}, worker="one")
            job = replace(claimed, attempts=attempt, every_seconds=every_seconds)
            assert await jobs.fail(job, "it broke", jitter=jitter)
            status = next(each for each in await jobs.list() if each.kind == kind)
            rest = status.run_at / 1_000_000
            assert rest == pytest.approx(min(2**attempt, bound) * (0.5 + jitter / 2), abs=0.001)
            is_dead = every_seconds is None and attempt >= ATTEMPTS_MAX
            assert status.state is (JobState.DEAD if is_dead else JobState.READY)


async def test_a_worker_that_is_stopped_gives_back_what_it_holds(database: SqliteDatabase) -> None:
    begun = asyncio.Event()

    async def handle(run: Run) -> None:
        run.payload["after"] = 7
        assert await run.save()
        begun.set()
        await asyncio.sleep(PATIENCE_SECONDS)

    await enqueue(database, "long")
    async with working(worker_of(jobs_of(database), Kind(name="long", run=handle))):
        with anyio.fail_after(PATIENCE_SECONDS):
            await begun.wait()

    (status,) = await statuses(database)
    assert (status.state, status.attempts, status.payload) == (JobState.READY, 0, {"after": 7})


class LateClaims(Jobs):
    """Jobs whose claim is long on its way, and goes on when nobody waits for it any more."""

    def __init__(self, database: SqliteDatabase) -> None:
        super().__init__(database=database, clock=SystemClock())
        self.is_on_its_way, self.arrives = asyncio.Event(), asyncio.Event()
        self.claiming: asyncio.Task[list[ClaimedJob]] | None = None

    async def claim(self, free: Mapping[str, int], *, worker: str) -> list[ClaimedJob]:
        self.claiming = asyncio.create_task(self._claim_late(free, worker))
        self.is_on_its_way.set()
        return await asyncio.shield(self.claiming)

    async def _claim_late(self, free: Mapping[str, int], worker: str) -> list[ClaimedJob]:
        await self.arrives.wait()
        return await super().claim(free, worker=worker)


async def test_a_worker_that_is_stopped_gives_back_what_its_last_claim_takes(
    database: SqliteDatabase,
) -> None:
    jobs, begun = LateClaims(database), list[Run]()

    async def handle(run: Run) -> None:
        begun.append(run)

    await enqueue(database, "late")
    async with working(worker_of(jobs, Kind(name="late", run=handle))):
        await jobs.is_on_its_way.wait()
        asyncio.get_running_loop().call_later(0.1, jobs.arrives.set)
    assert jobs.claiming is not None
    assert [job.kind for job in await jobs.claiming] == ["late"]

    (status,) = await statuses(database)
    assert (status.state, status.attempts, begun) == (JobState.READY, 0, [])


async def never(run: Run) -> None:
    """Nothing here comes so far."""
    raise NotImplementedError(run)


async def test_a_worker_that_is_stopped_does_not_wait_for_ever_for_its_last_claim(
    database: SqliteDatabase,
) -> None:
    jobs = LateClaims(database)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with working(worker_of(jobs, Kind(name="late", run=never))):
            await jobs.is_on_its_way.wait()
    assert jobs.claiming is not None
    assert not jobs.claiming.done()
    jobs.claiming.cancel()


async def test_a_worker_whose_lease_was_taken_stops_its_job(database: SqliteDatabase) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def handle(run: Run) -> None:
        del run
        begun.set()
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        finally:
            ended.set()

    await enqueue(database, "long")
    slow = jobs_of(database, lease_seconds=0.3)
    async with working(worker_of(slow, Kind(name="long", run=handle))):
        with anyio.fail_after(PATIENCE_SECONDS):
            await begun.wait()
            await database.write(partial(rows.release_all, now=0))
            (taken,) = await jobs_of(database).claim({"long": 1}, worker="other")
            await ended.wait()

    (status,) = await statuses(database)
    assert (status.worker, status.attempts) == ("other", 2)
    assert await jobs_of(database).complete(taken)


async def test_a_schedule_goes_on_by_itself_and_keeps_its_payload(database: SqliteDatabase) -> None:
    counted: list[int] = []

    async def handle(run: Run) -> None:
        number = int(str(run.payload.get("number", 0)))
        counted.append(number)
        run.payload["number"] = number + 1

    kind = Kind(name="again", run=handle, every_seconds=0)
    async with working(worker_of(jobs_of(database), kind)):
        await until(database, lambda left: left != [] and len(counted) >= 3)

    assert counted[:3] == [0, 1, 2]


async def test_a_worker_that_is_alone_takes_over_at_once(database: SqliteDatabase) -> None:
    await enqueue(database, "left")
    assert await jobs_of(database).claim({"left": 1}, worker="killed")

    async def handle(run: Run) -> None:
        assert run.job.attempts == 2

    async with working(worker_of(jobs_of(database), Kind(name="left", run=handle)), is_alone=True):
        await until(database, lambda left: not left)
