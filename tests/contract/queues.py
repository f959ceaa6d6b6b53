"""Jobs as tests add, claim and end them."""

from collections.abc import Mapping

from openecr.domain.jobs import ClaimedJob, JobStatus
from openecr.store import jobs
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
    return await database.read(lambda connection: jobs.is_due(connection, kinds or KINDS, now=now))
