"""What an operator asks for, and what is enqueued again while it runs, on both databases."""

from functools import partial

import pytest

from openecr.application.jobs import Jobs
from openecr.domain.jobs import (
    ATTEMPTS_MAX,
    ClaimedJob,
    JobState,
    Schedule,
    is_given_up,
)
from openecr.store import jobs
from openecr.store.database import Database
from openecr.testing.clocks import MovableClock
from tests.contract.queues import LEASE, SECOND, claim, complete, enqueue, listed, put_off


async def test_what_is_enqueued_while_it_runs_is_done_once_more_by_its_newest_payload(
    database: Database,
) -> None:
    await enqueue(database, key="x")
    (running,) = await claim(database)
    for number in (1, 2):
        assert not await database.write(
            partial(jobs.enqueue, kind="a", now=0, payload={"number": number}, unique_key="x")
        )
    assert await database.write(
        lambda connection: jobs.renew(connection, running, lease_until=LEASE, payload={"after": 7})
    )
    assert await claim(database) == [], "not beside the one that runs"

    assert await complete(database, running, now=3)

    (again,) = await claim(database, now=3)
    assert (again.id, again.payload, again.attempts) == (running.id, {"number": 2}, 1)
    assert await complete(database, again)
    assert await listed(database) == []


async def test_a_schedule_that_is_asked_for_while_it_runs_runs_again(database: Database) -> None:
    await database.write(partial(jobs.ensure, schedules=[Schedule(kind="a", every_seconds=10)], now=0))
    (running,) = await claim(database)
    await database.write(lambda connection: jobs.run_now(connection, ["a"], now=0))
    assert await database.write(
        lambda connection: jobs.renew(connection, running, lease_until=LEASE, payload={"after": 7})
    )

    assert await complete(database, running, now=SECOND)

    (status,) = await listed(database)
    assert (status.ended_at, status.payload) == (None, {}), "the run that was asked for has not begun"
    (again,) = await claim(database, now=SECOND)
    assert await complete(database, again, now=2 * SECOND)
    (status,) = await listed(database)
    assert (status.ended_at, status.run_at) == (2 * SECOND, 12 * SECOND)


async def interrupted(database: Database) -> ClaimedJob:
    """A schedule that runs, and has come so far."""
    await database.write(partial(jobs.ensure, schedules=[Schedule(kind="a", every_seconds=10)], now=0))
    (running,) = await claim(database)
    assert await database.write(
        lambda connection: jobs.renew(connection, running, lease_until=LEASE, payload={"after": 7})
    )
    return running


async def test_an_interrupted_schedule_that_is_asked_for_begins_at_its_beginning(database: Database) -> None:
    running = await interrupted(database)
    await put_off(database, running, run_at=SECOND)
    assert [status.payload for status in await listed(database)] == [{"after": 7}]

    await database.write(lambda connection: jobs.run_now(connection, ["a"], now=0))

    assert [job.payload for job in await claim(database)] == [{}]


async def test_what_is_done_once_and_asked_for_goes_on_where_it_was(database: Database) -> None:
    await enqueue(database, key="x")
    (job,) = await claim(database)
    await put_off(database, job, run_at=5 * LEASE)

    await database.write(lambda connection: jobs.run_now(connection, ["a"], now=1))

    assert [job.payload for job in await claim(database, now=1)] == [{"of": "a"}]


@pytest.mark.parametrize("end", ["its worker dies", "its worker stops", "it fails"])
async def test_a_schedule_that_is_asked_for_while_it_runs_and_does_not_end_begins_at_its_beginning(
    database: Database, end: str
) -> None:
    running = await interrupted(database)
    await database.write(lambda connection: jobs.run_now(connection, ["a"], now=0))
    assert await database.write(
        lambda connection: jobs.renew(connection, running, lease_until=LEASE, payload={"after": 9})
    )

    if end == "its worker stops":
        await database.write(lambda connection: jobs.release(connection, "one"))
    elif end == "it fails":
        await put_off(database, running, run_at=LEASE)

    (again,) = await claim(database, now=LEASE, worker="two")
    assert again.payload == {}
    assert await complete(database, again, now=2 * LEASE)
    assert [status.ended_at for status in await listed(database)] == [2 * LEASE]


async def test_what_is_asked_for_runs_as_if_it_had_not_failed(database: Database) -> None:
    await enqueue(database, key="x")
    (job,) = await claim(database)
    await put_off(database, job, run_at=5 * LEASE)

    await database.write(lambda connection: jobs.run_now(connection, ["a"], now=1))

    (status,) = await listed(database)
    assert (status.last_error, status.attempts) == (None, 0)
    assert len(await claim(database, now=1)) == 1


async def test_who_asks_for_what_runs_after_a_failure_is_not_told_of_that(database: Database) -> None:
    await enqueue(database, key="x")
    (job,) = await claim(database)
    assert await put_off(database, job, run_at=0)
    await claim(database)
    assert [status.last_error for status in await listed(database)] == ["it broke"]

    assert not await enqueue(database, key="x")

    assert [status.last_error for status in await listed(database)] == [None]


def is_last(job: ClaimedJob) -> bool:
    return is_given_up(job.attempts, job.every_seconds)


@pytest.mark.parametrize("end", ["it fails", "its worker dies", "its worker stops"])
async def test_what_is_enqueued_during_the_last_attempt_is_not_buried_with_it(
    database: Database, end: str
) -> None:
    await enqueue(database, key="x")
    (job,) = await claim(database)
    while not is_last(job):
        await put_off(database, job, run_at=0)
        (job,) = await claim(database)
    assert not await database.write(
        partial(jobs.enqueue, kind="a", now=0, payload={"number": 2}, unique_key="x")
    )

    if end == "it fails":
        assert await put_off(database, job, run_at=9 * LEASE, is_dead=True)
    elif end == "its worker stops":
        await database.write(lambda connection: jobs.release(connection, "one"))

    (again,) = await claim(database, now=LEASE)
    assert again.payload == {"number": 2}
    assert again.attempts == (1 if end == "its worker stops" else 2)
    tried = 1
    while not is_last(again):
        await put_off(database, again, run_at=0)
        (again,) = await claim(database, now=LEASE)
        tried += 1
    assert tried >= ATTEMPTS_MAX - 1
    await put_off(database, again, run_at=0, is_dead=True)
    assert [status.state for status in await listed(database)] == [JobState.DEAD]


async def test_work_on_any_job_of_a_kind_is_seen(database: Database) -> None:
    watched = Jobs(database=database, clock=MovableClock(0))
    await enqueue(database, key="x")
    await enqueue(database, "b", key="x")
    seen = [(await watched.watch(["a"])).holds]

    (job,) = await claim(database, free={"a": 1})
    seen.append((await watched.watch(["a"])).holds)
    assert await database.write(
        lambda connection: jobs.renew(connection, job, lease_until=2 * LEASE, payload={})
    )
    seen.append((await watched.watch(["a"])).holds)
    (taken,) = await claim(database, now=2 * LEASE, free={"a": 1})
    seen.append((await watched.watch(["a"])).holds)
    await claim(database, now=2 * LEASE, free={"b": 1})

    job_id = taken.id
    assert seen == [[], [(job_id, 1, LEASE)], [(job_id, 1, 2 * LEASE)], [(job_id, 2, 3 * LEASE)]]
    assert (await watched.watch(["a"])).holds == seen[-1], "that is another kind"
