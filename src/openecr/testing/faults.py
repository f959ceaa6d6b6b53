"""A blob store that fails when a test says so; otherwise it is the store that it wraps."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from openecr.domain.errors import Unavailable
from openecr.ports.blobs import BlobStore, PartWriter, Sealer, Tap

T = TypeVar("T")


class FaultyBlobStore:
    """Counts its calls, those of its writers included, and fails one of them.

    `fail_at` is the number of the call that fails, the first being 1. What fails has done its work first where
    `after` is true: its answer is what is lost.
    """

    def __init__(
        self,
        store: BlobStore,
        *,
        fail_at: int | None = None,
        after: bool = False,
        error: Callable[[], Exception] = lambda: Unavailable(message="The registry's storage failed."),
    ) -> None:
        self._store = store
        self._error = error
        self.fail_at = fail_at
        self.after = after
        self.calls = 0

    async def create_part(
        self, location: str, taps: Sequence[Tap] = (), sealer: Sealer | None = None
    ) -> PartWriter:
        """Start a part whose calls are counted too."""
        fails = self.begin()
        writer = await self._store.create_part(location, taps, sealer)
        if fails:
            await writer.abort()
            raise self._error()
        return _FaultyPartWriter(self, writer)

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        """Start a copy whose calls are counted too."""
        fails = self.begin()
        writer = await self._store.create_copy(location, taps)
        if fails:
            await writer.abort()
            raise self._error()
        return _FaultyPartWriter(self, writer)

    async def assemble(self, parts: Sequence[str], location: str) -> str:
        """Make one blob of parts."""
        fails = self.begin()
        found = await self._store.assemble(parts, location)
        return self.end(found, fails=fails)

    async def open(self, location: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read bytes [start, stop)."""
        fails = self.begin()
        async for chunk in self._store.open(location, start, stop):
            yield self.end(chunk, fails=fails)

    def path(self, location: str) -> Path | None:
        """Return the file; never fails."""
        return self._store.path(location)

    async def redirect(self, location: str) -> str | None:
        """Return a URL; never fails."""
        return await self._store.redirect(location)

    async def size(self, location: str) -> int | None:
        """Return the length."""
        fails = self.begin()
        return self.end(await self._store.size(location), fails=fails)

    async def remove(self, locations: Sequence[str]) -> Collection[str]:
        """Remove bytes."""
        fails = self.begin()
        return self.end(await self._store.remove(locations), fails=fails)

    async def end_leftovers(self, *, begun_before: int) -> int:
        """Remove what killed writers have left."""
        fails = self.begin()
        return self.end(await self._store.end_leftovers(begun_before=begun_before), fails=fails)

    async def answers(self) -> bool:
        """Tell that the store is there: single calls fail."""
        return True

    async def check_space(self, room_bytes: int = 0) -> None:
        """Check the reserve."""
        fails = self.begin()
        await self._store.check_space(room_bytes)
        self.end(None, fails=fails)

    def iterate(self) -> AsyncIterator[str]:
        """Stream every location; never fails."""
        return self._store.iterate()

    def begin(self) -> bool:
        """Count a call, and fail it here or tell that it is to fail at its end."""
        self.calls += 1
        if self.calls != self.fail_at:
            return False
        if not self.after:
            raise self._error()
        return True

    def end(self, result: T, *, fails: bool) -> T:
        """Return a call's result, unless it is the one that fails."""
        if fails:
            raise self._error()
        return result


class _FaultyPartWriter:
    """A writer whose calls its store counts."""

    def __init__(self, store: FaultyBlobStore, writer: PartWriter) -> None:
        self._store = store
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Take bytes."""
        fails = self._store.begin()
        await self._writer.write(data)
        self._store.end(None, fails=fails)

    async def finish(self) -> int:
        """End the part."""
        fails = self._store.begin()
        return self._store.end(await self._writer.finish(), fails=fails)

    async def abort(self) -> None:
        """Drop the part; never fails."""
        await self._writer.abort()
