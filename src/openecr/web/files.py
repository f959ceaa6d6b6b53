"""Sending a file: what the page cache holds goes out at once from the event loop, the rest waits in a thread.

For files up to a mebibyte; longer ones are sent at the client's pace, by Granian itself or through a pipe. A read that
would touch the disk never blocks the loop, since RWF_NOWAIT refuses it (Linux, preadv2(2)). Opening a sealed segment
takes some tens of microseconds, less than handing it to a thread.
"""

import asyncio
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from openecr.engines.sealing import OVERHEAD_BYTES, SEGMENT_BYTES, SealedContent, Segment, wanted

INLINE_BYTES = 64 * 1024
"""A file up to this size is answered whole, without a stream."""

INLINE_SEGMENTS = 4
"""As many sealed segments are opened in a row in the event loop: small parts of an upload make small ones."""

CHUNK_BYTES = 256 * 1024

_NOWAIT = getattr(os, "RWF_NOWAIT", None)


class Sink(Protocol):
    """Where chunks go."""

    async def send_bytes(self, data: bytes | bytearray) -> None:
        """Send a chunk; copied during the call."""
        ...


@contextmanager
def opened(path: Path) -> Generator[int]:
    """Open a file for reading and yield its descriptor. Raises FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_cached(descriptor: int, start: int, stop: int) -> bytes | None:
    """Return bytes [start, stop) if they are all in the page cache, else None."""
    buffer = bytearray(stop - start)
    return bytes(buffer) if _read_now(descriptor, buffer, start) == len(buffer) else None


async def send_file(descriptor: int, start: int, stop: int, sink: Sink, gone: "asyncio.Future[None]") -> None:
    """Send bytes [start, stop) until `gone`. Raises OSError where the file ends early or cannot be read."""
    buffer = bytearray(CHUNK_BYTES)
    position = start
    while position < stop and not gone.done():
        if stop - position < len(buffer):
            buffer = bytearray(stop - position)
        count = _read_now(descriptor, buffer, position)
        if count == len(buffer):
            await sink.send_bytes(buffer)
        else:
            chunk = await asyncio.to_thread(os.pread, descriptor, len(buffer), position)
            if not chunk:
                raise OSError(f"the file ends at {position} instead of {stop}")
            await sink.send_bytes(chunk)
            count = len(chunk)
        position += count
        await asyncio.sleep(0)  # sending may never yield


class _Opener:
    """Opens one segment after the other in the same memory: to get more for each takes longer than opening it.

    What it gives is to be used before the next call.
    """

    def __init__(self) -> None:
        self._stored = memoryview(bytearray(SEGMENT_BYTES + OVERHEAD_BYTES))
        self._content = bytearray(SEGMENT_BYTES)

    def open_cached(
        self, descriptor: int, sealed: SealedContent, segment: Segment, start: int, stop: int
    ) -> bytes | bytearray | None:
        """Return of bytes [start, stop) what a segment in the page cache holds. Raises Damaged."""
        stored = self._stored[: segment.stored_size_bytes]
        if _read_now(descriptor, stored, segment.stored_start) != len(stored):
            return None
        return self._open(sealed, segment, stored, start, stop)

    def read(
        self, descriptor: int, sealed: SealedContent, segment: Segment, start: int, stop: int
    ) -> bytes | bytearray:
        """Return of bytes [start, stop) what a segment holds; in a thread, which may wait. Raises Damaged, OSError."""
        stored = self._stored[: segment.stored_size_bytes]
        count = os.preadv(descriptor, [stored], segment.stored_start)
        return self._open(sealed, segment, stored[:count], start, stop)

    def _open(
        self, sealed: SealedContent, segment: Segment, stored: memoryview, start: int, stop: int
    ) -> bytes | bytearray:
        content = memoryview(self._content)[: segment.size_bytes]
        sealed.open_into(segment, stored, content)
        part = wanted(segment, content, start, stop)
        return self._content if len(part) == SEGMENT_BYTES else bytes(part)


_LOOPS = _Opener()
"""The event loop's: whatever it opens it has handed on before it goes on."""


def open_cached(descriptor: int, sealed: SealedContent, start: int, stop: int) -> bytes | None:
    """Return bytes [start, stop) of sealed content if few segments hold them, in the page cache. Raises Damaged."""
    only = sealed.layout.only
    if only is not None:
        stored = read_cached(descriptor, 0, only.stored_size_bytes)
        return None if stored is None else sealed.open(only, stored)[start:stop]
    pieces: list[bytes] = []
    for segment in sealed.layout.segments(start, stop):
        if len(pieces) == INLINE_SEGMENTS:
            return None
        piece = _LOOPS.open_cached(descriptor, sealed, segment, start, stop)
        if piece is None:
            return None
        pieces.append(bytes(piece))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def send_sealed(
    descriptor: int,
    sealed: SealedContent,
    start: int,
    stop: int,
    *,
    begin: Callable[[], Sink],
    gone: "asyncio.Future[None]",
) -> None:
    """Send bytes [start, stop) of sealed content until `gone`; `begin` once some are open. Raises Damaged, OSError."""
    sink: Sink | None = None
    for segment in sealed.layout.segments(start, stop):
        if gone.done():
            return
        content = _LOOPS.open_cached(descriptor, sealed, segment, start, stop)
        if content is None:
            content = await asyncio.to_thread(_read_alone, descriptor, sealed, segment, start, stop)
        sink = sink or begin()
        await sink.send_bytes(content)
        await asyncio.sleep(0)  # sending may never yield


def _read_alone(
    descriptor: int, sealed: SealedContent, segment: Segment, start: int, stop: int
) -> bytes | bytearray:
    return _Opener().read(descriptor, sealed, segment, start, stop)


def sealed_pieces(
    descriptor: int, sealed: SealedContent, start: int, stop: int
) -> Iterator[bytes | bytearray]:
    """Give bytes [start, stop) of sealed content, each piece until the next, for a thread that may wait.

    Raises Damaged, OSError.
    """
    opener = _Opener()
    for segment in sealed.layout.segments(start, stop):
        yield opener.read(descriptor, sealed, segment, start, stop)


def _read_now(descriptor: int, buffer: bytearray | memoryview, position: int) -> int:
    """Fill the buffer from the page cache; return how much of it could be filled without waiting."""
    if _NOWAIT is None:
        return 0
    try:
        return os.preadv(descriptor, [buffer], position, _NOWAIT)
    except OSError:  # it would wait, or the file system cannot tell
        return 0
