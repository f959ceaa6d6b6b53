"""A worker over a real database: what it claims it ends, what it loses it leaves, what it holds it gives back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from openecr.adapters.clocks import SystemClock
from openecr.adapters.ids import SystemIds
from openecr.application.jobs import ATTEMPTS_MAX, Jobs
from openecr.domain.jobs import JobState, JobStatus
from openecr.jobs.worker import Kind, Run, Worker
from openecr.store import jobs as rows
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase

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


async def test_what_kills_every_worker_is_buried_untried(database: SqliteDatabase) -> None:
    tried: list[Run] = []

    async def handle(run: Run) -> None:
        tried.append(run)

    await enqueue(database, "poison")
    jobs = jobs_of(database, lease_seconds=0)
    for _ in range(ATTEMPTS_MAX):
        assert await jobs.claim({"poison": 1}, worker="killed")
    async with working(worker_of(jobs_of(database), Kind(name="poison", run=handle))):
        await until(database, lambda left: left[0].state is JobState.DEAD)

    assert tried == []


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
            await database.write(rows.release_all)
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
