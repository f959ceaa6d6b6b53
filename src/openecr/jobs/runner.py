"""Runs background work beside the server: each kind at its interval, one failing kind never stopping another."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import structlog

from openecr.store.database import DatabaseFailed

_LOG = structlog.get_logger(__name__)
BACK_OFF_MAX = 32
"""What fails rests twice as long each time, up to so many intervals."""

Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A kind of work and how long it rests in between."""

    name: str
    run: Callable[[], Awaitable[object]]
    interval_seconds: float


async def run_jobs(*jobs: Job, sleep: Sleep = asyncio.sleep) -> None:
    """Run until cancelled, or until the database can be trusted no more."""
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(_repeat, job, sleep)


async def _repeat(job: Job, sleep: Sleep) -> None:
    back_off = 1
    while True:
        await sleep(job.interval_seconds * back_off)
        try:
            await job.run()
        except DatabaseFailed:
            return  # the server is stopping
        except Exception:  # noqa: BLE001 -- one kind of work never stops another
            back_off = min(back_off * 2, BACK_OFF_MAX)
            _LOG.exception("background work failed", job=job.name)
        else:
            back_off = 1
