"""A worker: claims jobs, runs their handlers, holds their leases meanwhile, and gives them back when it stops."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import anyio
import anyio.abc
import structlog

from openecr.application.jobs import Jobs
from openecr.domain.errors import Unavailable
from openecr.domain.jobs import ClaimedJob, Schedule
from openecr.ports.ids import Ids
from openecr.store.database import DatabaseFailed

_LOG = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
RENEWALS = 3
"""So often in the time of a lease it is renewed."""

_RELEASE_SECONDS = 5.0
_JITTER_STEPS = 256


class Run:
    """One attempt at a job. What `payload` holds when the job is saved is what the next attempt begins with."""

    def __init__(self, jobs: Jobs, job: ClaimedJob) -> None:
        self._jobs = jobs
        self.job = job
        self.payload: dict[str, object] = dict(job.payload)
        self.is_lost = False
        self._saving = asyncio.Lock()

    async def save(self) -> bool:
        """Hold the job for longer and keep its payload; False where another worker has it.

        One after the other: the last payload stays. Raises PayloadTooLarge.
        """
        async with self._saving:
            self.is_lost = self.is_lost or not await self._jobs.hold(self.job, self.payload)
        return not self.is_lost


Handler = Callable[[Run], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of job. The handler may be run more than once for one job: its effects are idempotent.

    `concurrency` is how many of the kind run at one time, on all machines together; `every_seconds` makes it a
    schedule, `first_seconds` after the first start.
    """

    name: str
    run: Handler
    concurrency: int = 1
    every_seconds: int | None = None
    first_seconds: int = 0

    @property
    def schedule(self) -> Schedule | None:
        """Return when it begins again, if it does."""
        if self.every_seconds is None:
            return None
        return Schedule(kind=self.name, every_seconds=self.every_seconds, first_seconds=self.first_seconds)


class Worker:
    """Runs jobs of some kinds until it is cancelled, or the database can be trusted no more."""

    def __init__(
        self,
        jobs: Jobs,
        kinds: Sequence[Kind],
        *,
        ids: Ids,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._kinds = {kind.name: kind for kind in kinds}
        self._ids = ids
        self._poll_seconds = poll_seconds
        self._has_room = asyncio.Event()
        self._ends_at: float | None = None
        self.name = ids.uuid()

    async def run(self, *, is_alone: bool) -> None:
        """Work. `is_alone`: no other worker can be alive, so what is held is given back at once."""
        try:
            await self._begin(is_alone=is_alone)
            async with anyio.create_task_group() as group:
                while True:
                    self._has_room.clear()
                    await self._claim(group)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._has_room.wait(), self._poll_seconds)
        except* DatabaseFailed:
            pass  # the server is stopping
        finally:
            await self._release()

    async def _begin(self, *, is_alone: bool) -> None:
        schedules = [kind.schedule for kind in self._kinds.values() if kind.schedule is not None]
        while True:
            try:
                await self._jobs.ensure(schedules, is_alone=is_alone)
            except DatabaseFailed:
                raise
            except Exception as error:  # noqa: BLE001 -- background work never stops the server
                _tell("background work cannot begin yet", error)
                await asyncio.sleep(self._poll_seconds)
            else:
                return

    async def _claim(self, group: anyio.abc.TaskGroup) -> None:
        free = {kind.name: kind.concurrency for kind in self._kinds.values()}
        try:
            claimed = await self._claim_to_its_end(free)
        except DatabaseFailed:
            raise
        except Exception as error:  # noqa: BLE001 -- background work never stops the server
            _tell("no job can be claimed", error)
            return
        for job in claimed:
            group.start_soon(self._work, Run(self._jobs, job))

    async def _claim_to_its_end(self, free: Mapping[str, int]) -> list[ClaimedJob]:
        """Claim; a claim that is on its way when the worker is stopped must end before what it took is given back."""
        claiming = asyncio.create_task(self._jobs.claim(free, worker=self.name))  # noqa: TID251 -- ended below
        try:
            return await asyncio.shield(claiming)
        finally:
            if not claiming.done():
                with self._last_moments():
                    await asyncio.wait({claiming})
                claiming.cancel()

    async def _work(self, run: Run) -> None:
        """Run one job to its end, whatever that is. Raises DatabaseFailed alone."""
        try:
            await self._end(run, await self._attempt(run))
        except* DatabaseFailed:
            raise
        except* Exception as errors:  # noqa: BLE001 -- its lease ends, and it is claimed again
            for error in errors.exceptions:
                _tell("a job's end could not be stored", error, kind=run.job.kind, job=run.job.id)
        else:
            self._has_room.set()  # what waits behind it need not wait for the next look

    async def _end(self, run: Run, error: str | None) -> None:
        if run.is_lost:
            _LOG.warning("a job was lost to another worker", kind=run.job.kind, job=run.job.id)
        elif error is None:
            await self._jobs.complete(run.job)
        else:
            jitter = self._ids.token(1)[0] / _JITTER_STEPS
            await self._jobs.fail(run.job, error, jitter=jitter)

    async def _attempt(self, run: Run) -> str | None:
        """Run the handler and keep its last payload. Return what went wrong, if anything did."""
        failure: str | None = None
        try:
            await self._handle(run)
            if run.payload != run.job.payload and not run.is_lost:
                await run.save()
        except* DatabaseFailed:
            raise
        except* Exception as errors:  # noqa: BLE001 -- one job never stops another
            _LOG.exception("background work failed", kind=run.job.kind, job=run.job.id)
            failure = _described(errors)
        return failure

    async def _handle(self, run: Run) -> None:
        """Run the handler, and hold its job meanwhile. Whatever held it has ended afterwards."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._hold, run, group.cancel_scope)
            await self._kinds[run.job.kind].run(run)
            group.cancel_scope.cancel()

    async def _hold(self, run: Run, scope: anyio.CancelScope) -> None:
        while True:
            await asyncio.sleep(self._jobs.lease_seconds / RENEWALS)
            # On its way it cannot be stopped: whoever goes on while it is would be overtaken by it.
            with anyio.move_on_after(_RELEASE_SECONDS, shield=True):
                try:
                    await run.save()
                except Unavailable as error:  # there are more renewals before the lease ends
                    _tell("a lease could not be renewed", error, kind=run.job.kind, job=run.job.id)
            if run.is_lost:
                scope.cancel()

    async def _release(self) -> None:
        with self._last_moments(), suppress(DatabaseFailed, Unavailable):
            await self._jobs.release(self.name)

    def _last_moments(self) -> anyio.CancelScope:
        """Give what is to be done at a stop its time: all of it together has no more."""
        if self._ends_at is None:
            self._ends_at = anyio.current_time() + _RELEASE_SECONDS
        return anyio.CancelScope(deadline=self._ends_at, shield=True)


def _tell(what: str, error: BaseException, **named: object) -> None:
    """Log what passes by itself in a line, and anything else with where it came from."""
    if isinstance(error, Unavailable):
        _LOG.warning(what, context=error.context, **named)
    else:
        _LOG.error(what, exc_info=error, **named)


def _described(error: Exception) -> str:
    """Return what went wrong: the first of several."""
    if not isinstance(error, ExceptionGroup):
        return repr(error)
    return _described(cast("ExceptionGroup[Exception]", error).exceptions[0])
