"""Runs background work beside the server: each kind at its interval, one failing kind never stopping another."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import structlog

from openecr.store.database import DatabaseFailed

_LOG = structlog.get_logger(__name__)
_BACK_OFF_MAX = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A kind of work and how long it rests in between."""

    name: str
    run: Callable[[], Awaitable[object]]
    interval_seconds: float


async def run_jobs(*jobs: Job) -> None:
    """Run until cancelled."""
    async with anyio.create_task_group() as group:
        for job in jobs:
            group.start_soon(_repeat, job)


async def _repeat(job: Job) -> None:
    back_off = 1
    while True:
        await asyncio.sleep(job.interval_seconds * back_off)
        try:
            await job.run()
        except DatabaseFailed:
            return  # the server is stopping
        except Exception:  # noqa: BLE001 -- one kind of work never stops another
            back_off = min(back_off * 2, _BACK_OFF_MAX)
            _LOG.exception("background work failed", job=job.name)
        else:
            back_off = 1
