"""Jobs on both databases: at least once, by one worker at a time, whoever dies."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy.util import await_only

from openecr.application.jobs import Jobs
from openecr.domain.errors import OperatorError
from openecr.domain.jobs import (
    LONGEST_PAUSE_SECONDS,
    JobState,
    Schedule,
)
from openecr.store import jobs, watched_jobs
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.statements import Statement
from openecr.testing.clocks import MovableClock
from tests.contract.queues import KINDS, LEASE, SECOND, claim, complete, enqueue, is_due, listed, put_off


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


async def test_a_backlog_of_one_kind_is_in_no_others_way(database: Database) -> None:
    for _ in range(30):
        await enqueue(database, "a")
    await enqueue(database, "b", now=1)

    assert [job.kind for job in await claim(database, now=1, free={"a": 20, "b": 1})].count("b") == 1
    assert await claim(database, now=1, free={"a": 9, "b": 1}) == [], "as many run as may"


async def test_jobs_of_kinds_that_nobody_here_knows_wake_nobody(database: Database) -> None:
    await enqueue(database, "later")
    await claim(database, free={"later": 1})
    await enqueue(database, "later")

    assert not await is_due(database, 9 * LEASE)


async def test_what_its_workers_die_of_rests_longer_each_time(database: Database) -> None:
    await enqueue(database)
    schedules = [Schedule(kind="b", every_seconds=1)]
    await database.write(lambda connection: jobs.ensure(connection, schedules, now=0))
    rests = dict[str, list[int]](a=[], b=[])
    now, died_at = 0, dict[str, int]()
    for _ in range(100 * LEASE // SECOND):
        for job in await claim(database, now=now):
            if job.kind in died_at:
                rests[job.kind].append((now - died_at[job.kind]) // SECOND)
            died_at[job.kind] = now + LEASE
        now += SECOND

    assert rests["a"] == [0, 0, 8, 16, 32, 64, 128, 256, 512], "then it is dead"
    assert rests["b"][:6] == [0, 0, 4, 4, 4, 4], "a schedule rests for a few of its intervals"
    dead = next(status for status in await listed(database) if status.kind == "a")
    assert (dead.state, dead.last_error) == (JobState.DEAD, jobs.DIED)


async def test_what_killed_its_worker_again_and_again_is_not_begun_at_the_next_start(
    database: Database,
) -> None:
    await enqueue(database)
    for begun in range(3):
        assert len(await claim(database, now=begun)) == 1, begun
        await database.write(partial(jobs.release_all, now=begun))

    assert await claim(database, now=3) == []
    assert len(await claim(database, now=LEASE)) == 1


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


async def test_a_dead_job_is_not_tried_again_beside_one_that_does_the_same(database: Database) -> None:
    await enqueue(database, key="x")
    (job,) = await claim(database)
    await put_off(database, job, run_at=0, is_dead=True)
    assert await enqueue(database, key="x")

    with pytest.raises(OperatorError, match=f"does what job {job.id} did"):
        await Jobs(database=database, clock=MovableClock(0)).retry(job.id)

    assert {status.state for status in await listed(database)} == {JobState.DEAD, JobState.READY}


async def test_jobs_are_listed_by_their_state(database: Database) -> None:
    for kind in ("a", "b", "b"):
        await enqueue(database, kind)
    (job,) = await claim(database, free={"a": 1})
    await put_off(database, job, run_at=0, is_dead=True)
    await claim(database, free={"b": 1})

    shown = Jobs(database=database, clock=MovableClock(0))
    for state, kinds in ((JobState.DEAD, ["a"]), (JobState.RUNNING, ["b"]), (JobState.READY, ["b"])):
        assert [status.kind for status in await shown.list(state)] == kinds
    assert len(await shown.list()) == 3
    assert [status.state for status in await shown.list(after=job.id)] == [JobState.RUNNING, JobState.READY]


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


async def test_a_shorter_interval_counts_at_once(database: Database) -> None:
    await database.write(partial(jobs.ensure, schedules=[Schedule(kind="a", every_seconds=3600)], now=0))
    (job,) = await claim(database)
    assert await complete(database, job)
    for seconds, run_at in ((3600, 3600), (10, 11), (20, 11)):
        schedule = Schedule(kind="a", every_seconds=seconds)
        await database.write(partial(jobs.ensure, schedules=[schedule], now=SECOND))
        assert [status.run_at for status in await listed(database)] == [run_at * SECOND]


async def test_an_interval_that_is_shortened_while_it_runs_counts_from_its_end(database: Database) -> None:
    await database.write(partial(jobs.ensure, schedules=[Schedule(kind="a", every_seconds=3600)], now=0))
    (job,) = await claim(database)
    await database.write(partial(jobs.ensure, schedules=[Schedule(kind="a", every_seconds=10)], now=0))

    assert await complete(database, job, now=5 * SECOND)

    assert [status.run_at for status in await listed(database)] == [15 * SECOND]


FAR = 365 * 24 * 3600 * SECOND


async def test_what_a_clock_far_ahead_has_left_is_brought_back(database: Database) -> None:
    await enqueue(database, "b", now=FAR)
    schedules = [Schedule(kind="a", every_seconds=10)]
    await database.write(partial(jobs.ensure, schedules=schedules, now=0))
    (held,) = await claim(database, now=FAR, free={"a": 1})
    assert await claim(database, now=LEASE) == []

    await database.write(partial(jobs.bring_back, now=0, lease_until=LEASE))

    assert await claim(database, now=LEASE - 1) == [], "a live holder renews it before"
    assert [job.id for job in await claim(database, now=LEASE)] == [held.id]
    longest = round(LONGEST_PAUSE_SECONDS * SECOND)
    assert await claim(database, now=longest - 1, free={"b": 1}) == []
    assert len(await claim(database, now=longest, free={"b": 1})) == 1


async def test_what_no_clock_has_moved_stays_where_it_is(database: Database) -> None:
    await enqueue(database)
    await enqueue(database)
    (held, failed) = await claim(database, now=SECOND)
    rests_until = round(LONGEST_PAUSE_SECONDS * SECOND) - 1
    assert await put_off(database, failed, run_at=rests_until)
    schedules = [Schedule(kind="b", every_seconds=10 * FAR // SECOND, first_seconds=10 * FAR // SECOND)]
    await database.write(partial(jobs.ensure, schedules=schedules, now=0))
    before = await listed(database)

    await database.write(partial(jobs.bring_back, now=0, lease_until=SECOND + LEASE))

    assert await listed(database) == before
    assert await complete(database, held)


async def test_a_worker_that_starts_brings_back_a_lease_of_a_clock_far_ahead(database: Database) -> None:
    await enqueue(database)
    ahead, right = MovableClock(FAR), MovableClock(0)
    assert await Jobs(database=database, clock=ahead).claim(KINDS, worker="killed")
    starting = Jobs(database=database, clock=right)

    await starting.ensure([], is_alone=False)

    assert await starting.claim(KINDS, worker="two") == []
    right.move(seconds=starting.lease_seconds)
    assert len(await starting.claim(KINDS, worker="two")) == 1


PLANNED: dict[str, tuple[Statement, dict[str, Any], str]] = {
    "IS_READY": (jobs.IS_READY, {"now": 1, "kinds": '["a"]'}, "ix_jobs_ready_of_kind"),
    "IS_LAPSED": (jobs.IS_LAPSED, {"now": 1, "kinds": '["a"]'}, "ix_jobs_running"),
    "LIST_READY": (jobs.LIST_READY, {"now": 1, "the_kind": "a", "limit": 9}, "ix_jobs_ready_of_kind"),
    "LIST_LAPSED": (jobs.LIST_LAPSED, {"now": 1, "kinds": '["a"]', "limit": 9}, "ix_jobs_running"),
    "COUNT_RUNNING": (jobs.COUNT_RUNNING, {"now": 1}, "ix_jobs_running"),
    "LIST_RUNNING_OF_KINDS": (watched_jobs.LIST_RUNNING_OF_KINDS, {"kinds": '["a"]'}, "ix_jobs_running"),
    "LIST_WATCHED": (watched_jobs.LIST_WATCHED, {"kinds": '["a"]'}, "uq_jobs_open"),
}


@pytest.mark.parametrize("name", PLANNED)
async def test_what_workers_ask_is_found_through_an_index(database: Database, name: str, engine: str) -> None:
    statement, parameters, index = PLANNED[name]

    def explain(connection: Connection) -> str:
        raw: Any = connection
        if engine == "sqlite":
            text = f"EXPLAIN QUERY PLAN {statement.sqlite_text}"
            given = {**statement.sqlite_defaults, **parameters}
            return "\n".join(row[3] for row in raw.raw.execute(text, given))
        asked = statement.postgresql
        plan = await_only(raw.raw.fetch(f"EXPLAIN {asked.text}", *asked.bind(parameters)))
        return "\n".join(row[0] for row in plan)

    assert index in await database.write(explain)


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
