"""Routines: what every process does for itself at an interval, one that fails never stopping another.

What is to be done once, by whichever process comes first, is a job.
"""

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
class Routine:
    """What to do, and how long to rest in between."""

    name: str
    run: Callable[[], Awaitable[object]]
    interval_seconds: float


async def run_routines(*routines: Routine, sleep: Sleep = asyncio.sleep) -> None:
    """Run until cancelled, or until the database can be trusted no more."""
    async with anyio.create_task_group() as group:
        for routine in routines:
            group.start_soon(_repeat, routine, sleep)


async def _repeat(routine: Routine, sleep: Sleep) -> None:
    back_off = 1
    while True:
        await sleep(routine.interval_seconds * back_off)
        try:
            await routine.run()
        except DatabaseFailed:
            return  # the server is stopping
        except Exception:  # noqa: BLE001 -- one kind of work never stops another
            back_off = min(back_off * 2, BACK_OFF_MAX)
            _LOG.exception("background work failed", routine=routine.name)
        else:
            back_off = 1
