"""Background work as workers and operators see it. What enqueues does so in its own transaction, by the store."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from openecr.domain.errors import OperatorError
from openecr.domain.jobs import ClaimedJob, JobStatus, Schedule
from openecr.ports.clock import Clock
from openecr.store import jobs
from openecr.store.database import Database

SECOND = 1_000_000
ATTEMPTS_MAX = 10
"""What is done once, and failed so often, waits for an operator."""

BACK_OFF_MAX_SECONDS = 3600
ERROR_MAX_CHARACTERS = 500
CLAIM_MAX_JOBS = 10
LIST_MAX_JOBS = 1000


class Jobs:
    """Claims, holds and ends jobs: at least once each, by one worker at a time as far as leases can tell."""

    def __init__(self, *, database: Database, clock: Clock, lease_seconds: float = 60) -> None:
        """A worker that is not heard of for `lease_seconds` has lost what it holds."""
        self._database = database
        self._clock = clock
        self.lease_seconds = lease_seconds

    # --- workers ---

    async def ensure(self, schedules: Sequence[Schedule], *, is_alone: bool) -> None:
        """Make what is done again and again. `is_alone`: whoever held anything is dead."""
        now = self._clock.now()
        if is_alone:
            await self._database.write(jobs.release_all)
        await self._database.write(lambda connection: jobs.ensure(connection, schedules, now=now))

    async def claim(self, free: Mapping[str, int], *, worker: str) -> list[ClaimedJob]:
        """Take what is due, at most as many of each kind as `free` says. Cheap where nothing is."""
        now = self._clock.now()
        if not await self._database.read(partial(jobs.is_due, kinds=free, now=now)):
            return []
        claim = partial(
            jobs.claim,
            free=free,
            now=now,
            worker=worker,
            lease_until=self._lease_until(),
            limit=CLAIM_MAX_JOBS,
        )
        return await self._database.write(claim)

    async def hold(self, job: ClaimedJob, payload: Mapping[str, object]) -> bool:
        """Renew the lease, and note in the payload how far the job is; False: it is lost."""
        lease_until = self._lease_until()
        return await self._database.write(
            lambda connection: jobs.renew(connection, job, lease_until=lease_until, payload=payload)
        )

    async def complete(self, job: ClaimedJob) -> bool:
        """End what is done; False: it was lost, and another worker does it again."""
        now = self._clock.now()
        return await self._database.write(lambda connection: jobs.complete(connection, job, now=now))

    async def fail(self, job: ClaimedJob, error: str, *, jitter: float) -> bool:
        """Put off what failed, twice as long each time; `jitter` (0 to 1) spreads those that failed together."""
        pause_seconds = min(2**job.attempts, BACK_OFF_MAX_SECONDS) * (0.5 + jitter / 2)
        put_off = partial(
            jobs.put_off,
            job=job,
            run_at=self._clock.now() + round(pause_seconds * SECOND),
            error=error[:ERROR_MAX_CHARACTERS],
            is_dead=job.every_seconds is None and job.attempts >= ATTEMPTS_MAX,
        )
        return await self._database.write(put_off)

    async def release(self, worker: str) -> None:
        """Give back what a worker holds that stops."""
        await self._database.write(lambda connection: jobs.release(connection, worker))

    # --- operators ---

    async def list(self) -> Sequence[JobStatus]:
        """Return jobs, at most a thousand."""
        return await self._database.scan(partial(jobs.list_after, after=0, limit=LIST_MAX_JOBS))

    async def enqueue(self, kind: str, *, unique_key: str) -> None:
        """Add a job, unless an open one has the same key."""
        now = self._clock.now()
        await self._database.write(
            lambda connection: jobs.enqueue(connection, kind, now=now, unique_key=unique_key)
        )

    async def retry(self, job_id: int) -> None:
        """Try a dead job again. Raises OperatorError."""
        now = self._clock.now()
        if not await self._database.write(lambda connection: jobs.retry(connection, job_id, now=now)):
            raise OperatorError(message=f"no job {job_id} is dead")

    async def cancel(self, job_id: int) -> None:
        """Remove a job that is done once. Raises OperatorError."""
        if not await self._database.write(lambda connection: jobs.cancel(connection, job_id)):
            raise OperatorError(message=f"there is no job {job_id} that can be cancelled")

    async def run_now(self, kinds: Iterable[str]) -> int:
        """Let what waits for its time run at once; return how many jobs."""
        now, wanted = self._clock.now(), tuple(kinds)
        return await self._database.write(lambda connection: jobs.run_now(connection, wanted, now=now))

    def _lease_until(self) -> int:
        return self._clock.now() + round(self.lease_seconds * SECOND)
