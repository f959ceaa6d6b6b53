"""The blob store port: bytes at locations that are random, chosen by us and never reused.

The store knows no digest, repository or link; the database's commit is the only commit point. A location becomes
readable content when a committed row names it, and is removed only after no row does.

What is stored may be sealed: a part's `Sealer` stands between its content and the bytes that are written. A store
knows nothing of it. Its positions and lengths are those of the stored bytes; `application/contents.py` opens them.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

MARK_NAME = "blob-store-id"
"""What a store calls its mark; no location looks like it."""

Tap = Callable[[bytes], None]
"""Sees every batch of bytes in order, in the thread that writes it (a hash's update, say)."""


class Sealer(Protocol):
    """Makes of a part's content what is stored instead. Used by one thread at a time, in order."""

    def update(self, batch: Sequence[bytes]) -> Sequence[bytes]:
        """Take content; return what is to be stored now."""
        ...

    def end(self) -> Sequence[bytes]:
        """Return what is left to be stored."""
        ...


class PartWriter(Protocol):
    """Writes one part of an upload. Not safe for concurrent use; ends with exactly one of finish or abort."""

    async def write(self, data: bytes) -> None:
        """Take bytes, in order. Waits when too much is in flight. Raises StorageFull, Unavailable."""
        ...

    async def finish(self) -> int:
        """Return the length of the part's content once it is durable: data and the entry that leads to it.

        Raises StorageFull, Unavailable; a failure is final, and asking again fails again.
        """
        ...

    async def abort(self) -> None:
        """Drop what was written, as far as possible; never raises."""
        ...


class BlobStore(Protocol):
    """Durable bytes."""

    async def create_part(
        self, location: str, taps: Sequence[Tap] = (), sealer: Sealer | None = None
    ) -> PartWriter:
        """Start a part at a location that was never used. Raises StorageFull below the reserve, Unavailable.

        Taps see the content, what `sealer` makes of it is stored; both work in the threads that write.
        Whether the location is fresh may show only once bytes are written.
        """
        ...

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        """Start a copy of stored bytes at a location that rows may name already.

        Nothing is there for anybody until it has finished, which fails where something is there by then. Raises
        StorageFull below the reserve, Unavailable.
        """
        ...

    async def assemble(self, parts: Sequence[str], location: str) -> str:
        """Make one blob of finished parts, in order, durable on return; of no parts, an empty one.

        Returns the location to keep: `location`, or the part's own where there is just one. The parts stay.
        Raises StorageFull, Unavailable.
        """
        ...

    def open(self, location: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read stored bytes [start, stop) in chunks.

        Raises ContentDamaged where the store is sure that they are not there, Unavailable where they cannot be read.
        """
        ...

    def path(self, location: str) -> Path | None:
        """Return the file that holds exactly the stored bytes, where there is one. Raises Unavailable."""
        ...

    async def redirect(self, location: str) -> str | None:
        """Return a URL at which whoever has it may read exactly the stored bytes for a while, where there is one.

        Raises Unavailable.
        """
        ...

    async def size(self, location: str) -> int | None:
        """Return the length of what is stored, or None if nothing is."""
        ...

    async def remove(self, locations: Sequence[str]) -> Collection[str]:
        """Remove bytes, durably; a location that holds nothing is fine. Return those whose bytes would not go.

        Raises Unavailable where the store is away.
        """
        ...

    async def end_leftovers(self, *, begun_before: int) -> int:
        """Remove what writers that were killed have left that is no location, if they began before an instant.

        Returns how many there were. Raises Unavailable.
        """
        ...

    async def check_space(self, room_bytes: int = 0) -> None:
        """Raise StorageFull when free space is below the reserve, or so many bytes more would make it so."""
        ...

    def iterate(self) -> AsyncIterator[str]:
        """Stream every stored location, for audits."""
        ...


class OpenBlobStore(BlobStore, Protocol):
    """A store as a server opens it: it tells whether it is there."""

    async def answers(self) -> bool:
        """Tell whether the store answers at all. May take long; never raises."""
        ...


class MarkedBlobStore(OpenBlobStore, Protocol):
    """A store in one place: it tells which one it is. The mark that it carries is no location."""

    async def read_marks(self) -> frozenset[str]:
        """Return its mark, if it has one. Raises Unavailable."""
        ...

    async def make_mark(self, mark: str, *, instead_of: str | None = None) -> None:
        """Mark a store, durably; one that has any mark but `instead_of` stays as it is. Raises Unavailable."""
        ...
