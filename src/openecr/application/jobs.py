"""Background work as workers and operators see it. What enqueues does so in its own transaction, by the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from openecr.domain.errors import OperatorError
from openecr.domain.jobs import ClaimedJob, JobState, JobStatus, Schedule, is_given_up, pause_seconds
from openecr.ports.clock import Clock
from openecr.store import jobs, watched_jobs
from openecr.store.connections import Connection, ConstraintViolated
from openecr.store.database import Database

SECOND = 1_000_000
ERROR_MAX_CHARACTERS = 500
CLAIM_MAX_JOBS = 10
LIST_MAX_JOBS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How work stands that somebody waits for.

    `jobs` are the schedules, and what an operator has asked for that is not done; `holds` change whenever somebody
    works on any job of the same kinds, behind which those may have to wait.
    """

    jobs: Sequence[JobStatus]
    holds: Sequence[tuple[int, int, int]]


class Jobs:
    """Claims, holds and ends jobs: at least once each, by one worker at a time as far as leases can tell."""

    def __init__(self, *, database: Database, clock: Clock, lease_seconds: float = 60) -> None:
        """A worker that is not heard of for `lease_seconds` has lost what it holds."""
        self._database = database
        self._clock = clock
        self.lease_seconds = lease_seconds

    # --- workers ---

    async def ensure(self, schedules: Sequence[Schedule], *, is_alone: bool) -> None:
        """Make what is done again and again, and bring back what a wrong clock has put off.

        `is_alone`: whoever held anything is dead.
        """
        now, lease_until = self._clock.now(), self._lease_until()
        if is_alone:
            await self._database.write(partial(jobs.release_all, now=now))
        await self._database.write(partial(jobs.bring_back, now=now, lease_until=lease_until))
        await self._database.write(lambda connection: jobs.ensure(connection, schedules, now=now))

    async def claim(self, free: Mapping[str, int], *, worker: str) -> list[ClaimedJob]:
        """Take what is due, at most as many of each kind as `free` says. Cheap where nothing is."""
        now = self._clock.now()
        if not await self._database.read(partial(jobs.is_due, kinds=tuple(free), now=now)):
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
        pause = pause_seconds(job.attempts, job.every_seconds) * (0.5 + jitter / 2)
        put_off = partial(
            jobs.put_off,
            job=job,
            run_at=self._clock.now() + round(pause * SECOND),
            error=error[:ERROR_MAX_CHARACTERS],
            is_dead=is_given_up(job.attempts, job.every_seconds),
        )
        return await self._database.write(put_off)

    async def release(self, worker: str) -> None:
        """Give back what a worker holds that stops."""
        await self._database.write(lambda connection: jobs.release(connection, worker))

    # --- operators ---

    async def list(self, state: JobState | None = None, *, after: int = 0) -> Sequence[JobStatus]:
        """Return a page of jobs, of one state or of all, with ids after `after`."""
        return await self._database.scan(
            partial(jobs.list_after, after=after, limit=LIST_MAX_JOBS, state=state)
        )

    async def watch(self, kinds: Iterable[str]) -> Watched:
        """Return how the schedules of some kinds stand, and what an operator has asked for."""
        wanted = tuple(kinds)
        return await self._database.scan(
            lambda connection: Watched(
                jobs=watched_jobs.list_watched(connection, wanted),
                holds=watched_jobs.list_holds(connection, wanted),
            )
        )

    async def enqueue(self, kind: str) -> None:
        """Add a job for an operator, or let the one that is there do it."""
        now = self._clock.now()
        await self._database.write(
            lambda connection: jobs.enqueue(connection, kind, now=now, unique_key=jobs.OPERATOR_KEY)
        )

    async def retry(self, job_id: int) -> None:
        """Try a dead job again. Raises OperatorError."""
        now = self._clock.now()
        try:
            is_done = await self._database.write(lambda connection: jobs.retry(connection, job_id, now=now))
        except ConstraintViolated as error:
            raise OperatorError(
                message=f"another job waits or runs already that does what job {job_id} did: cancel one of them"
            ) from error
        if not is_done:
            raise OperatorError(message=f"no job {job_id} is dead")

    async def cancel(self, job_id: int) -> None:
        """Remove a job that is done once. Raises OperatorError."""
        if not await self._database.write(lambda connection: jobs.cancel(connection, job_id)):
            raise OperatorError(message=f"there is no job {job_id} that can be cancelled")

    async def run_now(self, kinds: Iterable[str]) -> Sequence[JobStatus]:
        """Let what waits run at once, and schedules that run once more; return them as they were.

        The `ended_at` of a schedule becomes another one when a run has ended well that began after this, and its
        `last_error` is there again when a run has failed.
        """
        now, wanted = self._clock.now(), tuple(kinds)

        def unit(connection: Connection) -> Sequence[JobStatus]:
            found = watched_jobs.list_watched(connection, wanted)
            jobs.run_now(connection, wanted, now=now)
            return found

        return await self._database.write(unit)

    async def scheduled_kinds(self) -> Sequence[str]:
        """Return the kinds that begin again and again."""
        return await self._database.scan(watched_jobs.list_scheduled_kinds)

    def _lease_until(self) -> int:
        return self._clock.now() + round(self.lease_seconds * SECOND)
