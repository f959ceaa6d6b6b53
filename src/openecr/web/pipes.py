"""Sending chunks at the pace at which the client takes them: through a pipe that the HTTP server reads like a file.

Granian's streams take everything at once and hold it in memory until the client has read it, however much it is and
however long that takes. What it reads from a file, it reads as fast as the client does; so it is given a pipe.
"""

import asyncio
import fcntl
import functools
import itertools
import os
import select
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

_GET_CAPACITY = getattr(fcntl, "F_GETPIPE_SZ", None)
_SET_CAPACITY = getattr(fcntl, "F_SETPIPE_SZ", None)
_NUMBERS = itertools.count()
PIPE_MAX_BYTES = 1024 * 1024
"""No pipe holds more unasked (pipe(7), "Pipe capacity")."""

LARGE_BYTES = 256 * 1024
"""What is opened in threads gets a pipe of so much: who fills and who reads it take turns less often than with the
usual 64 KiB, and turns are most of what a pipe costs. More than this gains nothing."""

LARGE_PIPES = 64
"""So many at a time in a process, 16 MiB: all pipes of a user may have 64, and beyond that each new one gets 8 KiB."""


class ReaderStalled(Exception):
    """The client is there but takes nothing more of an answer."""


async def send_paced(
    start: Callable[[str], None],
    chunks: AsyncIterator[bytes],
    gone: "asyncio.Future[None]",
    *,
    idle_seconds: float,
) -> None:
    """Send chunks, more than `PIPE_MAX_BYTES` in all, until the client is `gone`.

    `start` begins the answer with the path of a file. Raises ReaderStalled where the client takes nothing
    for `idle_seconds`; the answer then ends short, as it does where `chunks` fails.
    """
    pipe = Pipe()
    try:
        start(str(pipe.path))
        async for chunk in chunks:
            if not await pipe.write(chunk, gone, idle_seconds):
                return
    finally:
        pipe.close()


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a private folder for this process's pipes, in memory where there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108 -- the folder in it is private (mkdtemp)
    return tempfile.TemporaryDirectory(prefix="openecr-", dir=memory if memory.is_dir() else None)


class Pipe:
    """Both ends of a named pipe. Ours of the reading end is shut once the server must have opened its own.

    That is so once more was written than a pipe holds: somebody has begun to read. The name is never used again: the
    server opens it in a thread of its own, when it may have ended already, and must not find another file there then,
    as it could under the number of a descriptor.
    """

    __slots__ = ("_capacity_bytes", "_is_large", "_read_end", "_write_end", "_written_bytes", "path")

    _large_count = 0

    def __init__(self, *, is_large: bool = False) -> None:
        """`is_large` asks for LARGE_BYTES, where fewer than LARGE_PIPES have them."""
        self.path = Path(_folder().name) / str(next(_NUMBERS))
        with ExitStack() as undo:
            os.mkfifo(self.path, 0o600)
            undo.callback(self.path.unlink)
            read_end = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            undo.callback(os.close, read_end)
            self._write_end = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            undo.pop_all()
        self._read_end: int | None = read_end
        self._written_bytes = 0
        self._is_large = is_large and Pipe._large_count < LARGE_PIPES and _enlarge(read_end)
        Pipe._large_count += self._is_large
        self._capacity_bytes = (
            PIPE_MAX_BYTES if _GET_CAPACITY is None else fcntl.fcntl(read_end, _GET_CAPACITY)
        )

    async def write(self, chunk: bytes, gone: "asyncio.Future[None]", idle_seconds: float) -> bool:
        """Write a chunk; return False where nobody reads any more."""
        rest = memoryview(chunk)
        while rest:
            if gone.done():
                return False
            try:
                count = self.put(rest)
            except BlockingIOError:
                await self.writable(gone, idle_seconds)
            except BrokenPipeError:
                return False
            else:
                rest = rest[count:]
        return True

    def put(self, data: memoryview) -> int:
        """Write what there is room for, in any thread. Raises BlockingIOError, BrokenPipeError."""
        count = os.write(self._write_end, data)
        self._written_bytes += count
        if self._read_end is not None and self._written_bytes > self._capacity_bytes:
            os.close(self._read_end)  # from here on a client that goes away breaks the pipe
            self._read_end = None
        return count

    def has_room(self, seconds: float) -> bool:
        """Wait so long, in any thread, for room or for the end of whoever reads."""
        poll = select.poll()
        poll.register(self._write_end, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Shut what is open. The server still reads what it has not read yet, if it has begun."""
        self.path.unlink(missing_ok=True)
        if self._read_end is not None:
            os.close(self._read_end)
        os.close(self._write_end)
        Pipe._large_count -= self._is_large

    async def writable(self, gone: "asyncio.Future[None]", idle_seconds: float) -> None:
        """Wait for room, or until the client is `gone`. Raises ReaderStalled after `idle_seconds`."""
        loop = asyncio.get_running_loop()
        room: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._write_end, _settle, room)
        try:
            await asyncio.wait({room, gone}, timeout=idle_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_writer(self._write_end)
        if not room.done() and not gone.done():
            raise ReaderStalled


def _enlarge(descriptor: int) -> bool:
    """Give a pipe LARGE_BYTES; tell whether the system does so."""
    if _SET_CAPACITY is None:
        return False
    try:
        fcntl.fcntl(descriptor, _SET_CAPACITY, LARGE_BYTES)
    except OSError:  # the user's pipes have too much already, or the system allows less
        return False
    return True


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
