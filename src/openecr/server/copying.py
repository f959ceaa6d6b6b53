"""Moving blobs from one store to another while servers use them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from openecr.adapters.blobs.copying import CopyReport, copy_blobs
from openecr.application.limits import Limits
from openecr.application.store_identity import id_of, moving_mark
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

    Where it lacks nothing it is marked as the store of the database: from then on it may be used alone.

    Raises CannotStart, OperatorError where a store goes away meanwhile, or is another database's.
    """

    async def run() -> CopyReport:
        limits = Limits(**settings.limits)
        async with AsyncExitStack() as stack:
            old = await open_place(settings, source, limits, stack)
            new = await open_place(settings, target, limits, stack)
            mark = next(iter(await old.read_marks()), None)
            marked = {id_of(found) for found in (mark, *await new.read_marks()) if found is not None}
            if len(marked) > 1:
                raise OperatorError(
                    message=f"{target} holds the blobs of another database than {source}: each needs a store of its own"
                )
            if mark is not None:
                await new.make_mark(moving_mark(id_of(mark)))
            report = await copy_blobs(old, new, progress)
            # From a store without the mark nothing may have come because its disk is not mounted.
            if mark is not None and mark == id_of(mark) and not report.copied and not report.failed_count:
                await new.make_mark(mark, instead_of=moving_mark(mark))
            return report

    try:
        return asyncio.run(run())
    except Unavailable as error:
        raise OperatorError(message=f"the copy has stopped: {error.context or error.message}") from error
