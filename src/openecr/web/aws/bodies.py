"""How much of request bodies the server holds in memory at once, and for how long it waits for one."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from openecr.web.aws.errors import BodyTimedOut, Throttled
from openecr.web.messages import Request

SMALL_BODY_BYTES = 64 * 1024
"""A body up to here is handled on the event loop, and never queues behind a layer."""

_READ_SECONDS = 30
_SLOWEST_BYTES_PER_SECOND = 64 * 1024


class ByteBudget:
    """A sum of bytes that may be held at once. Who finds it used up waits in line, but not for long."""

    def __init__(self, *, max_bytes: int, patience_seconds: float) -> None:
        self._free_bytes = max_bytes
        self._patience_seconds = patience_seconds
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncGenerator[None]:
        """Hold bytes for as long as the block lasts. Raises Throttled when none are free in time."""
        await self._take(size_bytes)
        try:
            yield
        finally:
            self._give(size_bytes)

    async def _take(self, size_bytes: int) -> None:
        if not self._line and self._free_bytes >= size_bytes:
            self._free_bytes -= size_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size_bytes, turn)
        self._line.append(place)
        try:
            async with asyncio.timeout(self._patience_seconds):
                await turn
        except BaseException as error:
            if place in self._line:
                self._line.remove(place)
                self._admit()
            else:  # the turn came in the very moment of giving up
                self._give(size_bytes)
            if isinstance(error, TimeoutError):
                raise Throttled from error
            raise

    def _give(self, size_bytes: int) -> None:
        self._free_bytes += size_bytes
        self._admit()

    def _admit(self) -> None:
        """Let in who waits, strictly in line: a large body is never overtaken for ever."""
        while self._line:
            size_bytes, turn = self._line[0]
            if turn.done() or size_bytes > self._free_bytes:  # done: given up, and about to leave the line
                return
            self._line.popleft()
            self._free_bytes -= size_bytes
            turn.set_result(None)


class Bodies:
    """Reads bodies. Small ones and large ones have a budget each, so that layers cannot stop ordinary calls."""

    def __init__(
        self,
        *,
        small_max_bytes: int = 64 * 1024 * 1024,
        large_max_bytes: int = 192 * 1024 * 1024,
        patience_seconds: float = 10,
    ) -> None:
        self._small = ByteBudget(max_bytes=small_max_bytes, patience_seconds=patience_seconds)
        self._large = ByteBudget(max_bytes=large_max_bytes, patience_seconds=patience_seconds)

    @asynccontextmanager
    async def read(self, request: Request, limit_bytes: int) -> AsyncGenerator[bytes]:
        """Read a body, and count it until the block ends.

        Raises BodyTooLarge (unread, where the length is declared), UploadInterrupted, Throttled, BodyTimedOut.
        """
        declared = request.content_length
        held_bytes = limit_bytes if declared is None else min(declared, limit_bytes)
        budget = self._small if held_bytes <= SMALL_BODY_BYTES else self._large
        async with budget.hold(held_bytes):
            try:
                async with asyncio.timeout(_READ_SECONDS + held_bytes / _SLOWEST_BYTES_PER_SECOND):
                    body = await request.read(limit_bytes)
            except TimeoutError as error:
                raise BodyTimedOut from error
            yield body
