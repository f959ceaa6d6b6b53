"""A worker in a process of its own, to be killed and stopped.

It is run as `python -m tests.contract.job_worker DATABASE FOLDER NAME`. `DATABASE` is a URL of PostgreSQL, or a file of
SQLite that no other worker uses. In `FOLDER` it appends to `NAME.log` what it does, a line each: `begin JOB`; `done
JOB` or `refused JOB`, as the end of a job was answered; `lost JOB`, where a lease was not renewed. Its jobs wait until
there is a file `NAME.go`, and leave a file `effect-NUMBER`.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from openecr.adapters.clocks import SystemClock
from openecr.adapters.ids import SystemIds
from openecr.application.jobs import Jobs
from openecr.domain.jobs import ClaimedJob
from openecr.jobs.worker import Kind, Run, Worker
from openecr.ports.clock import Clock
from openecr.store.database import Database
from openecr.store.postgresql import PostgresDatabase
from openecr.store.sqlite import SqliteDatabase

CONCURRENCY = 4
LEASE_SECONDS = 1.5
_ALONE_LEASE_SECONDS = 3600.0


class ToldJobs(Jobs):
    """Jobs whose ends are written down."""

    def __init__(self, *, database: Database, clock: Clock, lease_seconds: float, log: Path) -> None:
        super().__init__(database=database, clock=clock, lease_seconds=lease_seconds)
        self._log = log

    async def complete(self, job: ClaimedJob) -> bool:
        """End a job, and write down whether that counted."""
        counts = await super().complete(job)
        write(self._log, f"{'done' if counts else 'refused'} {job.id}")
        return counts

    async def hold(self, job: ClaimedJob, payload: Mapping[str, object]) -> bool:
        """Renew a lease, and write down where that is refused."""
        holds = await super().hold(job, payload)
        if not holds:
            write(self._log, f"lost {job.id}")
        return holds


def write(log: Path, line: str) -> None:
    with log.open("a") as lines:
        lines.write(f"{line}\n")


async def work(where: str, folder: Path, log: Path) -> None:
    is_alone = not where.startswith("postgresql")
    database: Database = (
        SqliteDatabase(Path(where), on_failure=lambda error: sys.exit(repr(error)))
        if is_alone
        else PostgresDatabase.connect(where)
    )
    lease_seconds = _ALONE_LEASE_SECONDS if is_alone else LEASE_SECONDS
    jobs = ToldJobs(database=database, clock=SystemClock(), lease_seconds=lease_seconds, log=log)

    async def handle(run: Run) -> None:
        write(log, f"begin {run.job.id}")
        while not log.with_suffix(".go").exists():  # noqa: ASYNC110 -- another process says it
            await asyncio.sleep(0.01)
        (folder / f"effect-{run.payload['number']}").touch()

    kind = Kind(name="work", run=handle, concurrency=CONCURRENCY)
    await Worker(jobs, (kind,), ids=SystemIds(), poll_seconds=0.05).run(is_alone=is_alone)


if __name__ == "__main__":
    # Tests that were begun in the background have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[2]) / f"{sys.argv[3]}.log"))
