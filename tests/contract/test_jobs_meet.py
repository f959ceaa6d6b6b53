"""Units of work on jobs inside each other on PostgreSQL, statement by statement."""

from collections.abc import AsyncIterator
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from openecr.domain.jobs import ClaimedJob
from openecr.store import jobs
from openecr.store.database import Database
from tests.contract.interleavings import DatabaseInSteps, Interleavings

LEASE = 60_000_000


@pytest.fixture
def engine() -> str:
    return "postgresql"


@pytest.fixture
async def runs(postgres_url: str) -> AsyncIterator[Interleavings]:
    observer = create_async_engine(postgres_url, isolation_level="AUTOCOMMIT")
    runs = Interleavings(observer)
    yield runs
    assert runs.count > 4
    await observer.dispose()


async def claim(database: Database, *, worker: str, free: int = 2) -> list[ClaimedJob]:
    return await database.write(
        partial(jobs.claim, free={"a": free}, now=0, worker=worker, lease_until=LEASE, limit=10)
    )


async def test_two_claims_at_once_never_take_more_than_may_run(
    database: Database, runs: Interleavings
) -> None:
    stepping = DatabaseInSteps(database)
    async for run in runs:
        for status in await database.scan(partial(jobs.list_after, after=0, limit=100)):
            await database.write(partial(jobs.cancel, job_id=status.id))
        for _ in range(5):
            await database.write(partial(jobs.enqueue, kind="a", now=0))

        one, other = await run(partial(claim, stepping, worker="one"), partial(claim, stepping, worker="two"))

        assert isinstance(one, list), one
        assert isinstance(other, list), other
        assert len(one) + len(other) == 2
        assert not {job.id for job in one} & {job.id for job in other}


async def test_what_is_enqueued_as_its_like_ends_is_done(database: Database, runs: Interleavings) -> None:
    stepping = DatabaseInSteps(database)
    async for run in runs:
        key = f"key {runs.count}"
        await database.write(partial(jobs.enqueue, kind="a", now=0, unique_key=key))
        (held,) = await claim(database, worker="one", free=1)

        ended = await run(
            partial(stepping.write, partial(jobs.complete, job=held, now=0)),
            partial(stepping.write, partial(jobs.enqueue, kind="a", now=0, unique_key=key)),
        )

        assert ended[0] is True
        assert ended[1] in {True, False}
        (again,) = await claim(database, worker="two", free=1)
        assert await database.write(partial(jobs.complete, job=again, now=0))
