"""A store whose blobs are being moved from another one: what is written goes to the new one, reads try both.

Bytes are only ever added to a location. So of two copies the longer one is whole, whichever store has it: an early copy
lacks what was still being written, and a disk may lose what it had.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import cast

from openecr.adapters.blobs.copying import bring
from openecr.adapters.blobs.failures import storage_failed
from openecr.domain.errors import Unavailable
from openecr.ports.blobs import OpenBlobStore, PartWriter, Sealer, Tap

_NOTHING = -1


class MovingBlobStore:
    """Nothing is moved here, but what an upload needs to end: `copy_blobs` does that meanwhile."""

    def __init__(self, new: OpenBlobStore, old: OpenBlobStore) -> None:
        self._new = new
        self._old = old

    async def create_part(
        self, location: str, taps: Sequence[Tap] = (), sealer: Sealer | None = None
    ) -> PartWriter:
        """Start a part in the new store."""
        return await self._new.create_part(location, taps, sealer)

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        """Start a copy in the new store."""
        return await self._new.create_copy(location, taps)

    async def assemble(self, parts: Sequence[str], location: str) -> str:
        """Make one blob in the new store, after bringing those parts there that were written before the move."""
        if len(parts) > 1:
            for part in parts:
                await bring(self._old, self._new, part)
        return await self._new.assemble(parts, location)

    async def open(self, location: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read from wherever the bytes are: the new store is asked for what the old one does not have."""
        size = await self._old.size(location)
        holder = self._old if size is not None and size >= stop else self._new
        # A store's chunks are a generator, whose end closes what it has open.
        async with aclosing(cast("AsyncGenerator[bytes]", holder.open(location, start, stop))) as chunks:
            async for chunk in chunks:
                yield chunk

    def path(self, location: str) -> Path | None:
        """Return the file, in whichever store it is one. Raises Unavailable."""
        paths = [path for path in (self._old.path(location), self._new.path(location)) if path is not None]
        try:
            sizes = [_size_of(path) for path in paths]
        except OSError as error:
            raise storage_failed(error) from error
        longest = max(sizes, default=_NOTHING)
        return None if longest == _NOTHING else paths[sizes.index(longest)]

    async def redirect(self, location: str) -> str | None:
        """Return a URL of whichever store has the bytes."""
        old, new = await self._sizes(location)
        return await (self._old if old >= new else self._new).redirect(location)

    async def size(self, location: str) -> int | None:
        """Return the length of what is stored in either store."""
        found = max(await self._sizes(location))
        return None if found == _NOTHING else found

    async def remove(self, locations: Sequence[str]) -> Collection[str]:
        """Remove bytes from both: first from the old one, which nobody copies from any more then."""
        stayed = await self._old.remove(locations)
        return {*stayed, *await self._new.remove(locations)}

    async def end_leftovers(self, *, begun_before: int) -> int:
        """Remove what killed writers and copies have left in both."""
        ended = await self._old.end_leftovers(begun_before=begun_before)
        return ended + await self._new.end_leftovers(begun_before=begun_before)

    async def check_space(self, room_bytes: int = 0) -> None:
        """Check the new store."""
        await self._new.check_space(room_bytes)

    async def iterate(self) -> AsyncIterator[str]:
        """Stream what either store holds, each location once."""
        async for location in self._new.iterate():
            yield location
        async for location in self._old.iterate():
            if await self._new.size(location) is None:
                yield location

    async def answers(self) -> bool:
        """Tell whether both are there."""
        return await self._new.answers() and await self._old.answers()

    async def _sizes(self, location: str) -> list[int]:
        """Return the length in the old store and in the new one, _NOTHING where there is nothing.

        Raises Unavailable where a store is away, unless the other one has something.
        """
        asked = (self._old.size(location), self._new.size(location))
        found = await asyncio.gather(*asked, return_exceptions=True)
        sizes = [size if isinstance(size, int) else _NOTHING for size in found]
        for failure in found:
            if isinstance(failure, BaseException) and not (
                isinstance(failure, Unavailable) and max(sizes) > _NOTHING
            ):
                raise failure
        return sizes


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return _NOTHING
