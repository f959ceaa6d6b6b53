"""Sending content that is read, and opened, in threads: into a pipe, at the pace of whoever reads it.

A thread goes on for as long as the reader keeps up with it, without a hop through the event loop; it waits only for a
moment. A reader that is slower holds no thread: the event loop waits for it.
"""

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

from openecr.web.pipes import LARGE_BYTES, Pipe

THREADS = 8
TURN_BYTES = 32 * 1024 * 1024
"""A thread that has moved so much lets the next pump have it."""

PATIENCE_SECONDS = 0.005
"""So long a thread waits for a reader that has been quick until now."""

_QUICK_BYTES = 2 * LARGE_BYTES
"""Who takes so much in one turn keeps up: it is more than a pipe that was empty holds."""


class _Turn(Enum):
    DONE = 1
    FULL = 2
    MORE = 3
    GONE = 4


async def send_pumped(
    start: Callable[[str], None],
    pieces: Iterator[bytes | bytearray],
    close: Callable[[], None],
    gone: "asyncio.Future[None]",
    *,
    idle_seconds: float,
) -> None:
    """Send pieces, more than `pipes.PIPE_MAX_BYTES` in all, until the client is `gone`.

    `start` begins the answer with the path of a file, once the first piece is there. A piece is used until the next one
    is asked for. `close` gives back what `pieces`
    reads from, when no thread does any more. Raises ReaderStalled where the client takes nothing for `idle_seconds`,
    and whatever `pieces` raises; the answer, if it has begun, then ends short.
    """
    try:
        pump = _Pump(pieces, close)
    except BaseException:
        close()
        raise
    try:
        turn = await pump.turn(0)
        start(pump.path)
        patience = PATIENCE_SECONDS
        while turn is not _Turn.DONE and turn is not _Turn.GONE and not gone.done():
            if turn is _Turn.FULL:
                await pump.pipe.writable(gone, idle_seconds)
            turn = await pump.turn(patience)
            patience = PATIENCE_SECONDS if pump.moved_bytes >= _QUICK_BYTES else 0
    finally:
        pump.stop()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="pumps")


class _Pump:
    """Moves pieces into a pipe, a turn at a time. Pipe and pieces belong to the thread while a turn runs."""

    def __init__(self, pieces: Iterator[bytes | bytearray], close: Callable[[], None]) -> None:
        self.pipe = Pipe(is_large=True)
        self.moved_bytes = 0
        self._pieces = pieces
        self._close = close
        self._rest = memoryview(b"")
        self._stopped = threading.Event()
        self._running: asyncio.Future[_Turn] | None = None

    @property
    def path(self) -> str:
        """Return the path of the pipe."""
        return str(self.pipe.path)

    async def turn(self, patience_seconds: float) -> _Turn:
        """Move what the reader takes. Raises whatever the pieces do."""
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(_threads(), self._move, patience_seconds)
        return await asyncio.shield(self._running)

    def stop(self) -> None:
        """Close everything, after a turn that may still run."""
        self._stopped.set()
        if self._running is None or self._running.done():
            self._end()
        else:
            self._running.add_done_callback(self._end)

    def _end(self, running: "asyncio.Future[_Turn] | None" = None) -> None:
        if running is not None and not running.cancelled():
            running.exception()  # seen: its caller has gone away
        self.pipe.close()
        self._close()

    def _move(self, patience_seconds: float) -> _Turn:
        self.moved_bytes = 0
        while not self._stopped.is_set():
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    return _Turn.DONE
                self._rest = memoryview(piece)
            try:
                count = self.pipe.put(self._rest)
            except BlockingIOError:
                if not patience_seconds or not self.pipe.has_room(patience_seconds):
                    return _Turn.FULL
            except BrokenPipeError:
                return _Turn.GONE
            else:
                self._rest = self._rest[count:]
                self.moved_bytes += count
                if self.moved_bytes >= TURN_BYTES:
                    return _Turn.MORE
        return _Turn.GONE
