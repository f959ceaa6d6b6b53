"""Writes one part of an upload, for every kind of store: gathers small pieces and hands batches to worker threads.

Batches are worked on in order, one at a time: one is written while the next is gathered. What a batch costs (hashes,
say) is spent in the thread. Where the bytes go is the affair of a `Sink`.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Protocol

from openecr.adapters.blobs.failures import storage_failed
from openecr.ports.blobs import Sealer, Tap

BATCH_BYTES = 1024 * 1024
BATCH_CHUNKS = 1024
"""As many buffers as one writev takes (Linux, UIO_MAXIOV)."""


class Sink(Protocol):
    """Where a part's bytes go. Its threads' calls never overlap, and none comes after `drop`."""

    async def admit(self, size_bytes: int) -> None:
        """Be told, in the event loop, of a batch that will be appended next. May wait.

        Raises StorageFull, Unavailable.
        """
        ...

    def append(self, batch: Sequence[bytes]) -> None:
        """Take bytes, in a worker thread. Raises OSError."""
        ...

    def end(self) -> None:
        """Make everything durable, in a worker thread; also where nothing was appended. Raises OSError."""
        ...

    async def ended(self) -> None:
        """Wait, in the event loop, for what `end` left to do elsewhere. Raises StorageFull, Unavailable."""
        ...

    def drop(self) -> None:
        """Remove what was written, in a worker thread. Raises OSError, which nobody hears of."""
        ...

    async def dropped(self) -> None:
        """Wait, in the event loop, for what `drop` left to do elsewhere; never raises."""
        ...


class BatchingPartWriter:
    """The port's `PartWriter` over a sink."""

    def __init__(
        self,
        sink: Sink,
        taps: Sequence[Tap],
        threads: ThreadPoolExecutor,
        *,
        sealer: Sealer | None = None,
    ) -> None:
        self._sink = sink
        self._taps = tuple(taps)
        self._sealer = sealer
        self._threads = threads
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._running: asyncio.Future[None] | None = None
        # Below: what the threads use, one at a time.
        self._lock = threading.Lock()
        self._dropped = False
        self._length = 0

    async def write(self, data: bytes) -> None:
        """Take bytes, in order. Raises StorageFull, Unavailable."""
        if not data:
            return
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= BATCH_BYTES or len(self._gathered) >= BATCH_CHUNKS:
            await self._hand_over(self._write_batch)

    async def finish(self) -> int:
        """Write what is left, make it durable, return the content's length. Raises StorageFull, Unavailable."""
        await self._hand_over(self._end)
        await self._wait()
        await self._sink.ended()
        return self._length

    async def abort(self) -> None:
        """Drop what was written, after whatever a thread still does with it."""
        self._gathered.clear()
        with suppress(RuntimeError):  # the store is closed
            await asyncio.shield(self._submit(self._drop))
            await self._sink.dropped()

    async def _hand_over(self, work: Callable[[Sequence[bytes]], None]) -> None:
        await self._sink.admit(self._gathered_bytes)
        batch, self._gathered, self._gathered_bytes = self._gathered, [], 0
        await self._wait()
        self._running = self._submit(partial(work, batch))

    async def _wait(self) -> None:
        """Wait for the batch that is being written. What failed stays failed, however often it is asked."""
        if self._running is None:
            return
        try:
            # A caller that goes away leaves the thread to its batch; dropping waits for it.
            await asyncio.shield(self._running)
        except OSError as error:
            raise storage_failed(error) from error

    def _submit(self, call: Callable[[], None]) -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        future.add_done_callback(_retrieve)
        return future

    # --- in a worker thread ---

    def _write_batch(self, batch: Sequence[bytes]) -> None:
        with self._lock:
            if not self._dropped:
                self._append(batch)

    def _end(self, batch: Sequence[bytes]) -> None:
        with self._lock:
            if self._dropped:
                return
            self._append(batch)
            if self._sealer is not None and (rest := self._sealer.end()):
                self._sink.append(rest)
            self._sink.end()

    def _append(self, batch: Sequence[bytes]) -> None:
        for chunk in batch:
            for tap in self._taps:
                tap(chunk)
        self._length += sum(map(len, batch))
        if self._sealer is not None:
            batch = self._sealer.update(batch)
        if batch:
            self._sink.append(batch)

    def _drop(self) -> None:
        with self._lock, suppress(OSError):
            self._dropped = True
            self._sink.drop()


def _retrieve(future: "asyncio.Future[None]") -> None:
    """Mark the outcome as seen: its caller may have gone away."""
    if not future.cancelled():
        future.exception()
