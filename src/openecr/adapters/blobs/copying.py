"""Copying stored bytes from one blob store to another, as they are: what is sealed stays sealed."""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from openecr.domain.errors import ContentDamaged, Unavailable
from openecr.ports.blobs import BlobStore, OpenBlobStore

FAILED_TOLD = 100
AT_ONCE = 8
"""So many locations are copied at a time: a store far away is slow to answer, not slow."""


@dataclass(slots=True, kw_only=True)
class CopyReport:
    """What a copy has come to: `failed` are locations, at most a hundred of them.

    `is_complete`: nothing was lacking any more, and the target may be used alone from now on.
    """

    found: int = 0
    copied: int = 0
    copied_bytes: int = 0
    failed_count: int = 0
    failed: list[str] = field(default_factory=list[str])
    is_complete: bool = False


async def copy_blobs(
    source: OpenBlobStore, target: OpenBlobStore, progress: Callable[[CopyReport], None]
) -> CopyReport:
    """Copy every location of which the target has nothing, or too little. May be run again at any time.

    A server may use either store meanwhile: what was still being written is copied anew by the next run, and what is
    removed while it is copied leaves bytes that nobody names, which the audit of the blobs finds. Bytes are only ever
    added to a location, so of two copies the longer one is whole: the target's stays where the source has lost some.

    Raises Unavailable where a store is away.
    """
    report = CopyReport()
    locations = source.iterate()
    turn = asyncio.Lock()

    async def copy_some() -> None:
        while True:
            async with turn:
                location = await anext(locations, None)
            if location is None:
                return
            await _copy_one(source, target, location, report)
            report.found += 1
            progress(report)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(copy_some())
    except ExceptionGroup as failed:  # the first to fail ended the others
        raise failed.exceptions[0] from None
    return report


async def _copy_one(source: OpenBlobStore, target: OpenBlobStore, location: str, report: CopyReport) -> None:
    """Bring a location and count it; one that fails is for the next run. Raises Unavailable where a store is away."""
    try:
        copied_bytes = await bring(source, target, location)
    except Unavailable as error:
        if not await target.answers() or not await source.answers():
            raise
        if await source.size(location) is None:
            return  # removed meanwhile
        report.failed_count += 1
        if len(report.failed) < FAILED_TOLD:
            report.failed.append(f"{location}: {error.context or error.message}")
        return
    if copied_bytes is not None:
        report.copied += 1
        report.copied_bytes += copied_bytes


async def bring(source: BlobStore, target: BlobStore, location: str) -> int | None:
    """Copy a location of which the target has nothing, or too little; return its length, None where it has enough.

    Raises as `copy_location`, unless somebody else has brought it meanwhile.
    """
    here, there = await asyncio.gather(source.size(location), target.size(location))
    if here is None or _has_enough(there, here):
        return None
    if there is not None:
        await _remove_short(target, location, here)
    try:
        return await copy_location(source, target, location)
    except Unavailable:
        if not _has_enough(await target.size(location), here):
            raise
        return None


def _has_enough(found: int | None, wanted: int) -> bool:
    return found is not None and found >= wanted


async def _remove_short(target: BlobStore, location: str, wanted: int) -> None:
    """Make room for a copy, unless somebody else has just brought a whole one. Raises Unavailable."""
    if _has_enough(await target.size(location), wanted):
        return
    if await target.remove([location]):
        raise Unavailable(
            message="A layer could not be copied", context=f"{location} could not be removed from the target"
        )


async def copy_location(source: BlobStore, target: BlobStore, location: str) -> int:
    """Copy one location and read it back; return its length.

    Raises Unavailable, ContentDamaged where other bytes were read back, StorageFull.
    """
    size_bytes = await source.size(location)
    if size_bytes is None:
        raise Unavailable(message="A layer could not be read", context=f"{location} is not stored")
    written = hashlib.sha256()
    writer = await target.create_copy(location, (written.update,))
    try:
        async for chunk in source.open(location, 0, size_bytes):
            await writer.write(chunk)
        await writer.finish()
    except BaseException:
        await writer.abort()
        raise
    if await _digest_of(target, location, size_bytes) != written.digest():
        with suppress(Unavailable):
            await target.remove([location])
        raise ContentDamaged(
            message="A layer could not be copied", context=f"{location} was read back as other bytes"
        )
    return size_bytes


async def _digest_of(store: BlobStore, location: str, size_bytes: int) -> bytes:
    found = hashlib.sha256()
    async for chunk in store.open(location, 0, size_bytes):
        await asyncio.to_thread(found.update, chunk)
    return found.digest()
