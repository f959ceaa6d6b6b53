"""Jobs on both databases: at least once, by one worker at a time, whoever dies."""

from collections.abc import Mapping
from functools import partial

import pytest

from openecr.domain.jobs import ClaimedJob, JobState, JobStatus, Schedule
from openecr.store import jobs
from openecr.store.connections import Connection
from openecr.store.database import Database

SECOND = 1_000_000
LEASE = 60 * SECOND
KINDS = {"a": 2, "b": 1}


async def enqueue(database: Database, kind: str = "a", *, now: int = 0, key: str | None = None) -> bool:
    return await database.write(
        lambda connection: jobs.enqueue(connection, kind, now=now, payload={"of": kind}, unique_key=key)
    )


async def claim(
    database: Database,
    *,
    now: int = 0,
    worker: str = "one",
    free: Mapping[str, int] = KINDS,
    limit: int = 10,
) -> list[ClaimedJob]:
    return await database.write(
        lambda connection: jobs.claim(
            connection, free, now=now, worker=worker, lease_until=now + LEASE, limit=limit
        )
    )


async def complete(database: Database, job: ClaimedJob, *, now: int = 0) -> bool:
    return await database.write(lambda connection: jobs.complete(connection, job, now=now))


async def put_off(database: Database, job: ClaimedJob, *, run_at: int, is_dead: bool = False) -> bool:
    return await database.write(
        lambda connection: jobs.put_off(connection, job, run_at=run_at, error="it broke", is_dead=is_dead)
    )


async def listed(database: Database) -> list[JobStatus]:
    return list(await database.scan(lambda connection: jobs.list_after(connection, after=0, limit=100)))


async def is_due(database: Database, now: int, *kinds: str) -> bool:
    return await database.read(lambda connection: jobs.is_due(connection, kinds or ("a",), now=now))


async def test_a_job_is_claimed_once_and_gone_when_it_is_done(database: Database) -> None:
    assert not await is_due(database, 0)
    assert await enqueue(database)
    assert await is_due(database, 0)

    assert not await is_due(database, 0, "of another release")

    (job,) = await claim(database)
    assert (job.kind, job.payload, job.attempts) == ("a", {"of": "a"}, 1)
    assert await claim(database, worker="two") == []
    assert not await is_due(database, LEASE - 1)
    assert await complete(database, job)
    assert await listed(database) == []
    assert not await complete(database, job)


async def test_a_cause_that_is_undone_leaves_no_job(database: Database) -> None:
    def unit(connection: Connection) -> None:
        jobs.enqueue(connection, "a", now=0)
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        await database.write(unit)

    assert await listed(database) == []


async def test_two_open_jobs_of_a_kind_never_have_one_key(database: Database) -> None:
    assert await enqueue(database, key="x")
    assert not await enqueue(database, key="x")
    assert await enqueue(database, "b", key="x")
    assert await enqueue(database, key="y")
    (first,) = await claim(database, limit=1)
    assert not await enqueue(database, key="x")  # running is open too

    assert await complete(database, first)
    assert await enqueue(database, key="x")


async def test_a_dead_workers_job_is_taken_over_and_its_late_words_count_no_more(database: Database) -> None:
    await enqueue(database)
    (held,) = await claim(database)

    (taken,) = await claim(database, now=LEASE, worker="two")
    assert (taken.id, taken.attempts) == (held.id, 2)
    assert taken.token > held.token
    assert not await complete(database, held)
    assert not await put_off(database, held, run_at=0)
    assert not await database.write(
        lambda connection: jobs.renew(connection, held, lease_until=9 * LEASE, payload={})
    )
    (status,) = await listed(database)
    assert (status.state, status.worker) == (JobState.RUNNING, "two")
    assert await complete(database, taken)


async def test_a_lease_that_is_renewed_is_not_taken_and_keeps_how_far_it_came(database: Database) -> None:
    await enqueue(database)
    (held,) = await claim(database)
    assert await database.write(
        lambda connection: jobs.renew(connection, held, lease_until=2 * LEASE, payload={"after": 7})
    )

    assert await claim(database, now=LEASE, worker="two") == []
    (taken,) = await claim(database, now=2 * LEASE, worker="two")
    assert taken.payload == {"after": 7}


async def test_no_more_of_a_kind_run_than_may(database: Database) -> None:
    for _ in range(3):
        await enqueue(database, "a")
        await enqueue(database, "b")

    first = await claim(database)
    assert sorted(job.kind for job in first) == ["a", "a", "b"]
    assert await claim(database, worker="two") == []
    await complete(database, next(job for job in first if job.kind == "b"))
    assert [job.kind for job in await claim(database, worker="two")] == ["b"]


async def test_kinds_that_a_worker_does_not_know_are_left_alone(database: Database) -> None:
    await enqueue(database, "later")

    assert await claim(database) == []
    assert [status.state for status in await listed(database)] == [JobState.READY]


async def test_what_failed_waits_for_its_time(database: Database) -> None:
    await enqueue(database)
    (job,) = await claim(database)
    assert await put_off(database, job, run_at=5 * SECOND)

    assert await claim(database, now=5 * SECOND - 1) == []
    (again,) = await claim(database, now=5 * SECOND)
    assert again.attempts == 2


async def test_what_is_dead_waits_for_an_operator(database: Database) -> None:
    await enqueue(database, key="x")
    (job,) = await claim(database)
    await put_off(database, job, run_at=0, is_dead=True)

    (status,) = await listed(database)
    assert (status.state, status.last_error, status.worker) == (JobState.DEAD, "it broke", None)
    assert await claim(database, now=9 * LEASE) == []
    assert await enqueue(database, key="x"), "what is dead stands in nobody's way"
    assert await database.write(lambda connection: jobs.cancel(connection, status.id + 1))
    assert await database.write(lambda connection: jobs.retry(connection, status.id, now=9))
    assert [each.id for each in await claim(database, now=9)] == [status.id]
    assert not await database.write(lambda connection: jobs.retry(connection, status.id, now=9))


async def test_a_schedule_begins_again_after_its_end_and_is_made_once(database: Database) -> None:
    schedules = [Schedule(kind="a", every_seconds=10, first_seconds=3)]
    for _ in range(2):
        await database.write(lambda connection: jobs.ensure(connection, schedules, now=0))
    assert await claim(database, now=3 * SECOND - 1) == []
    (job,) = await claim(database, now=3 * SECOND)
    await put_off(database, job, run_at=4 * SECOND)
    (job,) = await claim(database, now=4 * SECOND)

    assert await complete(database, job, now=5 * SECOND)

    (status,) = await listed(database)
    assert (status.state, status.attempts, status.last_error) == (JobState.READY, 0, None)
    assert (status.ended_at, status.run_at) == (5 * SECOND, 15 * SECOND)
    assert not await database.write(lambda connection: jobs.cancel(connection, status.id))
    await database.write(lambda connection: jobs.run_now(connection, ["a"], now=6 * SECOND))
    assert len(await claim(database, now=6 * SECOND)) == 1


async def test_a_schedules_interval_follows_the_settings(database: Database) -> None:
    for seconds in (10, 20):
        schedule = Schedule(kind="a", every_seconds=seconds)
        await database.write(partial(jobs.ensure, schedules=[schedule], now=0))

    assert [status.every_seconds for status in await listed(database)] == [20]


async def test_a_worker_that_stops_gives_its_jobs_back_untried(database: Database) -> None:
    await enqueue(database)
    await enqueue(database)
    (mine,) = await claim(database, limit=1)
    (other,) = await claim(database, worker="two", limit=1)

    assert await database.write(lambda connection: jobs.release(connection, "one")) == 1

    (again,) = await claim(database, worker="two")
    assert (again.id, again.attempts) == (mine.id, 1)
    assert not await complete(database, mine)
    assert await complete(database, other)
