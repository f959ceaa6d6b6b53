"""Moving blobs from one store to another while servers use them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from openecr.adapters.blobs.copying import CopyReport, copy_blobs
from openecr.application.limits import Limits
from openecr.server.storage import open_place
from openecr.settings import S3Place, Settings


def copy(
    settings: Settings,
    source: Path | S3Place,
    target: Path | S3Place,
    progress: Callable[[CopyReport], None],
) -> CopyReport:
    """Copy what the target lacks, once. Both are reached as the settings of S3 say. Raises CannotStart."""

    async def run() -> CopyReport:
        limits = Limits(**settings.limits)
        async with AsyncExitStack() as stack:
            old = await open_place(settings, source, limits, stack)
            new = await open_place(settings, target, limits, stack)
            return await copy_blobs(old, new, progress)

    return asyncio.run(run())
