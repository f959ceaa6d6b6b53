"""Moving blobs from one store to another while servers use them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from openecr.adapters.blobs.copying import CopyReport, copy_blobs
from openecr.application.limits import Limits
from openecr.domain.errors import OperatorError, Unavailable
from openecr.server.storage import open_place
from openecr.settings import S3Place, Settings


def copy(
    settings: Settings,
    source: Path | S3Place,
    target: Path | S3Place,
    progress: Callable[[CopyReport], None],
) -> CopyReport:
    """Copy what the target lacks, once. Both are reached as the settings of S3 say.

    Raises CannotStart, OperatorError where a store goes away meanwhile, or is another database's.
    """

    async def run() -> CopyReport:
        limits = Limits(**settings.limits)
        async with AsyncExitStack() as stack:
            old = await open_place(settings, source, limits, stack)
            new = await open_place(settings, target, limits, stack)
            marks = await old.read_marks(), await new.read_marks()
            if marks[1] and marks[0] != marks[1]:
                raise OperatorError(message=f"{target} holds the blobs of another database than {source}")
            report = await copy_blobs(old, new, progress)
            if not report.failed_count:
                for mark in marks[0]:
                    await new.make_mark(mark)
            return report

    try:
        return asyncio.run(run())
    except Unavailable as error:
        raise OperatorError(message=f"the copy has stopped: {error.context or error.message}") from error
