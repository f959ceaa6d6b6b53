"""The blob store port: bytes at locations that are random, chosen by us and never reused.

The store knows no digest, repository or link; the database's commit is the only commit point. A location becomes
readable content when a committed row names it, and is removed only after no row does.

A row may keep a *header* beside the location. None, which is all that is written today, means that the bytes are stored
as they came. A sealed format (segments with a nonce each) names itself, its segment size and its key there, so that
either kind is read for ever; a store refuses a header that it does not know. Positions and lengths are always the
content's, never the format's.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Protocol

Tap = Callable[[bytes], None]
"""Sees every batch of bytes in order, in the thread that writes it (a hash's update, say)."""


class PartWriter(Protocol):
    """Writes one part of an upload. Not safe for concurrent use; ends with exactly one of finish or abort."""

    async def write(self, data: bytes) -> None:
        """Take bytes, in order. Waits when too much is in flight. Raises StorageFull, Unavailable."""
        ...

    async def finish(self) -> int:
        """Return the part's length once it is durable: data and the entry that leads to it.

        Raises StorageFull, Unavailable; a failure is final, and asking again fails again.
        """
        ...

    async def abort(self) -> None:
        """Drop what was written, as far as possible; never raises."""
        ...


class BlobStore(Protocol):
    """Durable bytes."""

    async def create_part(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        """Start a part at a location that was never used. Raises StorageFull below the reserve, Unavailable.

        Whether the location is fresh may show only once bytes are written.
        """
        ...

    async def assemble(self, parts: Sequence[str], location: str) -> str:
        """Make one blob of finished parts, in order, durable on return; of no parts, an empty one.

        Returns the location to keep: `location`, or the part's own where there is just one. The parts stay.
        Raises StorageFull, Unavailable.
        """
        ...

    def open(
        self, location: str, start: int, stop: int, *, header: bytes | None = None
    ) -> AsyncIterator[bytes]:
        """Read bytes [start, stop) of the content in chunks. Raises Unavailable when they cannot be read.

        `header` is what the blob's row keeps of a sealed format; what stands in it is the store's own affair.
        """
        ...

    def path(self, location: str, *, header: bytes | None = None) -> Path | None:
        """Return the file that holds exactly these bytes in clear, where there is one for the HTTP server to send."""
        ...

    async def redirect(self, location: str) -> str | None:
        """Return a URL at which whoever has it may read exactly the stored bytes for a while, where there is one.

        Raises Unavailable.
        """
        ...

    async def size(self, location: str) -> int | None:
        """Return the length of what is stored, or None if nothing is."""
        ...

    async def remove(self, locations: Sequence[str]) -> None:
        """Remove bytes, durably; a location that holds nothing is fine. Raises Unavailable."""
        ...

    async def check_space(self) -> None:
        """Raise StorageFull when free space is below the reserve."""
        ...

    def iterate(self) -> AsyncIterator[str]:
        """Stream every stored location, for audits."""
        ...
