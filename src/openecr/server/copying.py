"""Moving blobs from one store to another while servers use them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from openecr.adapters.blobs.copying import CopyReport, copy_blobs
from openecr.adapters.blobs.files import holds_blobs
from openecr.application.limits import Limits
from openecr.application.store_identity import filling_mark, id_of, moving_mark
from openecr.domain.errors import OperatorError, Unavailable
from openecr.server.stopping import Stopping
from openecr.server.storage import open_place
from openecr.settings import S3Place, Settings


def copy(
    settings: Settings,
    source: Path | S3Place,
    target: Path | S3Place,
    progress: Callable[[CopyReport], None],
) -> CopyReport:
    """Copy what the target lacks, once. Both are reached as the settings of S3 say.

    Where it lacks nothing and takes what is pushed it is marked as the store of the database: from then on it may be
    used alone.

    Raises CannotStart, OperatorError where a store goes away meanwhile, is another database's, or the source is none.
    """

    async def run() -> CopyReport:
        if isinstance(source, Path) and not holds_blobs(source):
            raise OperatorError(message=f"{source} is no folder of blobs")
        limits, stopping = Limits(**settings.limits), Stopping(settings.shutdown_seconds)
        async with AsyncExitStack() as stack:
            old = await open_place(settings, source, limits, stack, stopping)
            new = await open_place(settings, target, limits, stack, stopping)
            mark = _mark_of(await old.read_marks())
            marked = {id_of(found) for found in (mark, _mark_of(await new.read_marks())) if found is not None}
            if len(marked) > 1:
                raise OperatorError(
                    message=f"{target} holds the blobs of another database than {source}: each needs a store of its own"
                )
            if mark is not None:
                await new.make_mark(moving_mark(id_of(mark)))
            report = await copy_blobs(old, new, progress)
            # From a store without the mark nothing may have come because its disk is not mounted; and while no server
            # writes to the new store, the next push makes it incomplete again.
            if mark is not None and mark == id_of(mark) and not report.copied and not report.failed_count:
                await new.make_mark(mark, instead_of=filling_mark(mark))
                report.is_complete = _mark_of(await new.read_marks()) == mark
            return report

    try:
        return asyncio.run(run())
    except Unavailable as error:
        raise OperatorError(message=f"the copy has stopped: {error.context or error.message}") from error


def _mark_of(marks: frozenset[str]) -> str | None:
    return next(iter(marks), None)
