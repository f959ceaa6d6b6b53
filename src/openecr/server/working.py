"""A process that does background work and serves nobody."""

import asyncio
import signal
from contextlib import suppress
from functools import partial

import anyio
import structlog
import uvloop

from openecr.adapters.clocks import SystemClock
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.ids import SystemIds
from openecr.domain.errors import CannotStart
from openecr.jobs.routines import run_routines
from openecr.jobs.worker import Worker
from openecr.server.composition import Parts, compose
from openecr.server.jobs import kinds_of, routines_of
from openecr.server.starting import started
from openecr.server.stopping import end_work
from openecr.settings import Settings
from openecr.store.database import DatabaseFailed

_LOG = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> int:
    """Work until a signal, and return the exit status. Raises CannotStart."""
    if settings.database is None:
        raise CannotStart(
            message="an embedded server does its background work itself: a worker of its own needs --database"
        )
    with (
        DataFolder.acquire(settings.data) as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_run(settings, folder))


async def _run(settings: Settings, folder: DataFolder) -> int:
    stop = asyncio.Event()
    failures: list[BaseException] = []
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def fail(error: BaseException) -> None:
        failures.append(error)
        loop.call_soon_threadsafe(stop.set)

    with suppress(DatabaseFailed):
        composing = compose(settings, folder, clock=SystemClock(), ids=SystemIds(), on_failure=fail)
        async with started(composing, stop) as parts:
            if parts is not None:
                await _work_until(stop, parts)
    if failures:
        _LOG.critical("stopped: the database failed", error=repr(failures[0]))
    return 1 if failures else 0


async def _work_until(stop: asyncio.Event, parts: Parts) -> None:
    jobs = asyncio.create_task(_work_on(parts))  # noqa: TID251 -- ended below
    stopping = asyncio.create_task(stop.wait())  # noqa: TID251 -- the same
    await asyncio.wait({jobs, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await end_work(jobs, parts.stopping)


async def _work_on(parts: Parts) -> None:
    """Work until cancelled."""
    worker = Worker(parts.jobs, kinds_of(parts), ids=SystemIds())
    _LOG.info("working", worker=worker.name)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(worker.run, is_alone=False))
        group.start_soon(partial(run_routines, *routines_of(parts)))
