"""Sending a file: what the page cache holds goes out at once from the event loop, the rest waits in a thread.

For files up to a mebibyte; Granian sends longer ones itself, at the client's pace. A read that would touch the disk
never blocks the loop, since RWF_NOWAIT refuses it (Linux, preadv2(2)).
"""

import asyncio
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

INLINE_BYTES = 64 * 1024
"""A file up to this size is answered whole, without a stream."""

SEGMENT_BYTES = 256 * 1024

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
    buffer = bytearray(SEGMENT_BYTES)
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


def _read_now(descriptor: int, buffer: bytearray, position: int) -> int:
    """Fill the buffer from the page cache; return how much of it could be filled without waiting."""
    if _NOWAIT is None:
        return 0
    try:
        return os.preadv(descriptor, [buffer], position, _NOWAIT)
    except OSError:  # it would wait, or the file system cannot tell
        return 0
