"""Threads for blocking calls that may hang: whoever asked is answered in time, whatever the thread does.

A call that is given up has its connection cut, and goes on in its thread until it notices. So that a few of them do not
stop everything, a pool lends a place for each, as many as it has of its own; after that, places come back only as
threads do.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from openecr.adapters.blobs.s3.failures import out_of_reach
from openecr.adapters.blobs.s3.leashes import Leash

T = TypeVar("T")


Job = Callable[[], Callable[[], None] | None]
"""Must not raise. What it returns is called once the thread counts as free."""


class Threads:
    """Daemon threads, started as they are needed: one that hangs holds up neither the others nor the program's end."""

    def __init__(self, name: str, limit: int) -> None:
        """Start `limit` threads at most; jobs beyond them wait for the next that is free."""
        self._name = name
        self._limit = limit
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # Threads that wait, less jobs that do.
        self._idle = 0
        self._started = 0
        self._is_closed = False

    def run(self, job: Job) -> None:
        """Have a job done. Raises RuntimeError where there is no thread for it and none can be started."""
        with self._lock:
            if self._idle > 0 or self._started == self._limit:
                self._idle -= 1
            else:
                name = f"{self._name}-{self._started + 1}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
                self._started += 1
        self._jobs.put(job)

    def close(self) -> None:
        """End the threads that are idle, and the others after what they do."""
        with self._lock:
            self._is_closed = True
            for _ in range(self._idle):
                self._jobs.put(None)
            self._idle = min(self._idle, 0)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            tell = job()
            with self._lock:
                ends = self._is_closed and self._idle >= 0
                self._idle += not ends
            if tell is not None:
                tell()
            del job, tell  # what they held is not kept until the next one
            if ends:
                return


class Pool:
    """So many calls at once. Used in the event loop's thread."""

    def __init__(self, name: str, places: int) -> None:
        self._threads = Threads(name, 2 * places)  # as many again may be lent
        self._name = name
        self._places = asyncio.Semaphore(places)
        self._lendable = places

    async def run(
        self, call: Callable[[], T], *, seconds: float, unused: Callable[[T], None] | None = None
    ) -> T:
        """Return what a call returns, within a time that includes the wait for a place. Raises Unavailable.

        `unused` is given, in the event loop, a result that came too late.
        """
        loop, leash = asyncio.get_running_loop(), Leash()
        give_up_at = loop.time() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._places.acquire()
        except TimeoutError:
            raise out_of_reach(f"all threads for {self._name} are busy") from None
        try:
            running = self._start(call, leash)
        except RuntimeError as error:
            self._places.release()
            raise out_of_reach(f"no thread for {self._name} could be started: {error}") from error
        try:
            await asyncio.wait({running}, timeout=max(0, give_up_at - loop.time()))
        except asyncio.CancelledError:
            self._leave(running, leash, unused)
            raise
        if not running.done():
            self._leave(running, leash, unused)
            raise out_of_reach(f"no answer within {seconds:g} s")
        self._places.release()
        return running.result()

    def close(self) -> None:
        """Start no more."""
        self._threads.close()

    def _start(self, call: Callable[[], T], leash: Leash) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._threads.run(partial(_perform, call, leash, future, loop))
        return future

    def _leave(self, running: "asyncio.Future[T]", leash: Leash, unused: Callable[[T], None] | None) -> None:
        """Wait no longer. The place comes back now or, where no more can be lent, when the thread does."""
        leash.cut()
        is_lent = self._lendable > 0
        if is_lent:
            self._lendable -= 1
            self._places.release()

        def end(future: "asyncio.Future[T]") -> None:
            if is_lent:
                self._lendable += 1
            else:
                self._places.release()
            if future.exception() is None and unused is not None:
                unused(future.result())

        running.add_done_callback(end)


def _perform(
    call: Callable[[], T], leash: Leash, future: "asyncio.Future[T]", loop: asyncio.AbstractEventLoop
) -> Callable[[], None]:
    try:
        with leash.held():
            result = call()
    except BaseException as error:  # noqa: BLE001 -- whoever waits hears of it
        return partial(_tell, loop, partial(future.set_exception, error))
    return partial(_tell, loop, partial(future.set_result, result))


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:  # the loop is closed: nobody is left to hear
        return
