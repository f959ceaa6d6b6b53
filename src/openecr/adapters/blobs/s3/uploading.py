"""A part of an upload on its way: small ones as one object at the end, larger ones in pieces as they come.

Memory has a bound per upload (a piece that fills, two under way) and one in all. An upload waits for a piece's memory
before it begins one, and holds no piece that is not full while it waits: so those that wait never keep each other
waiting.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from openecr.adapters.blobs.part_writer import BATCH_BYTES
from openecr.adapters.blobs.s3.failures import out_of_reach
from openecr.adapters.blobs.s3.options import Bounds, Patience
from openecr.adapters.blobs.s3.sending import Write


class Background:
    """Tasks that go on when nobody waits for them any more: what they do must come to its end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start something."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def close(self, seconds: float) -> None:
        """Wait for everything, and cancel what takes longer."""
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, whether or not its caller has gone away


class Memory:
    """Room for so many pieces."""

    def __init__(self, bounds: Bounds, patience: Patience) -> None:
        self._room = asyncio.Semaphore(max(1, bounds.memory_bytes // bounds.part_bytes))
        self._seconds = patience.total

    async def take(self) -> None:
        """Take room for a piece. Raises Unavailable when there is none for long."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._room.acquire()
        except TimeoutError:
            raise out_of_reach("the memory for uploads is used up by slower ones") from None

    def give_back(self) -> None:
        """Give back the room of a piece."""
        self._room.release()


class ObjectSink:
    """Where `BatchingPartWriter` puts the bytes of one object."""

    def __init__(
        self, write: Write, *, memory: Memory, background: Background, bounds: Bounds, patience: Patience
    ) -> None:
        self._write = write
        self._memory = memory
        self._background = background
        self._bounds = bounds
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._admitted_bytes = 0
        self._room_bytes = 0
        self._rooms = 0
        self._beginning: asyncio.Task[None] | None = None
        self._pieces: list[asyncio.Task[str]] = []
        self._ending: asyncio.Task[None] | None = None
        self._sent_bytes = 0
        # What the threads fill, one at a time.
        self._filling = bytearray()
        self._full: deque[bytearray] = deque()

    async def admit(self, size_bytes: int) -> None:
        """Wait for room. Raises StorageFull, Unavailable."""
        before, self._admitted_bytes = self._admitted_bytes, self._admitted_bytes + size_bytes
        # A batch may reach a little into the next piece: waiting with a piece that it would fill could last for ever.
        while self._admitted_bytes > BATCH_BYTES and before >= self._room_bytes:
            await self._memory.take()
            self._rooms += 1
            self._room_bytes += self._bounds.part_bytes
        while len(flying := self._flying()) >= self._bounds.parts_in_flight:
            await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()

    def append(self, batch: Sequence[bytes]) -> None:
        """Fill pieces, in a worker thread."""
        for chunk in batch:
            rest = memoryview(chunk)
            while rest:
                room = self._bounds.part_bytes - len(self._filling)
                self._filling += rest[:room]
                rest = rest[room:]
                if len(self._filling) == self._bounds.part_bytes:
                    self._full.append(self._filling)
                    self._filling = bytearray()
                    self._loop.call_soon_threadsafe(self._send_full)

    def end(self) -> None:
        """Nothing is left to do in a thread."""

    async def ended(self) -> None:
        """Make the object. Raises StorageFull, Unavailable."""
        if self._ending is None:
            self._ending = self._background.start(self._end())
        await asyncio.shield(self._ending)

    def drop(self) -> None:
        """Forget what was not sent, in a worker thread."""
        self._filling = bytearray()
        self._full.clear()

    async def dropped(self) -> None:
        """Wait a little for the cleaning."""
        cleaning = self._background.start(self._clean())
        await asyncio.wait({cleaning}, timeout=self._patience.cleanup)

    # --- in the event loop ---

    def _send_full(self) -> None:
        with suppress(IndexError):  # there is no more, or a thread has forgotten it
            while True:
                self._send(self._full.popleft())

    def _send(self, body: bytearray) -> None:
        if self._beginning is None:
            self._beginning = self._background.start(self._write.begin())
        self._sent_bytes += len(body)
        self._pieces.append(
            self._background.start(self._send_piece(self._beginning, len(self._pieces) + 1, body))
        )

    async def _send_piece(self, beginning: "asyncio.Task[None]", number: int, body: bytearray) -> str:
        try:
            await asyncio.shield(beginning)
            return await self._write.send_part(number, body)
        finally:
            self._give_back(1)

    async def _end(self) -> None:
        try:
            self._send_full()
            if not self._pieces:
                await self._write.put(self._filling)
                return
            if self._filling:
                self._send(self._filling)
            await asyncio.wait(self._pieces)
            self._raise_failure()
            await self._write.complete([piece.result() for piece in self._pieces], self._sent_bytes)
        finally:
            self._filling = bytearray()
            self._give_back(self._rooms)

    async def _clean(self) -> None:
        """Remove what was sent, after whatever is still under way."""
        under_way = {*self._pieces, *filter(None, (self._beginning, self._ending))}
        if under_way:
            await asyncio.wait(under_way)
        self._give_back(self._rooms)
        await self._write.drop()

    def _flying(self) -> "list[asyncio.Task[str]]":
        return [piece for piece in self._pieces[-self._bounds.parts_in_flight - 1 :] if not piece.done()]

    def _raise_failure(self) -> None:
        for piece in self._pieces:
            if piece.done() and not piece.cancelled() and (error := piece.exception()) is not None:
                raise error

    def _give_back(self, rooms: int) -> None:
        for _ in range(min(rooms, self._rooms)):
            self._rooms -= 1
            self._memory.give_back()
