"""Calls with tries, pauses and an end."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from openecr.adapters.blobs.s3.failures import FAILURES, CallFailed, Kind, failure_of, told
from openecr.adapters.blobs.s3.options import Patience
from openecr.adapters.blobs.s3.pools import Pool
from openecr.domain.errors import Unavailable

T = TypeVar("T")


class Calls:
    """Runs calls in a pool. Each may be tried again after any failure that may pass: it must be safe to repeat."""

    def __init__(self, pool: Pool, patience: Patience) -> None:
        self._pool = pool
        self._patience = patience

    async def once(
        self, call: Callable[[], T], *, seconds: float, unused: Callable[[T], None] | None = None
    ) -> T:
        """Try once. Raises CallFailed; PASSING where nothing came in time."""
        try:
            return await self._pool.run(partial(_sorted, call), seconds=seconds, unused=unused)
        except Unavailable as error:
            raise CallFailed(Kind.PASSING, error.context or error.message) from error

    async def run(
        self, call: Callable[[], T], *, is_slow: bool = False, unused: Callable[[T], None] | None = None
    ) -> T:
        """Try until it works, cannot, or the time is up. Raises CallFailed; StorageFull, Unavailable."""
        attempt = self._patience.slow if is_slow else self._patience.attempt
        # Where a server said nothing for as long as it may need, there is time to try again.
        tries = Tries(self._patience, seconds=self._patience.total + (attempt if is_slow else 0))
        while True:
            try:
                return await self.once(call, seconds=min(attempt, tries.left()), unused=unused)
            except CallFailed as failure:
                await tries.pause(failure)


class Tries:
    """Counts the failures of one thing that is tried several times."""

    def __init__(self, patience: Patience, *, seconds: float) -> None:
        self._patience = patience
        self._give_up_at = asyncio.get_running_loop().time() + seconds
        self._pause = patience.first_pause

    def left(self) -> float:
        """Return the seconds that are left, of which there are always a few."""
        return max(0.001, self._give_up_at - asyncio.get_running_loop().time())

    async def pause(self, failure: CallFailed) -> None:
        """Wait before the next try.

        Raises the failure itself where it means something, StorageFull, and Unavailable where no next try makes sense.
        """
        if failure.kind in {Kind.MISSING, Kind.DAMAGED, Kind.TAKEN, Kind.NOT_SERVED}:
            raise failure
        if failure.kind is not Kind.PASSING:
            raise told(failure) from failure
        pause = self._pause * random.uniform(0.5, 1)  # noqa: S311 -- so that not all come back at once
        self._pause = min(self._pause * 2, self._patience.longest_pause)
        if pause >= self.left():
            raise told(failure) from failure
        await asyncio.sleep(pause)


def _sorted(call: Callable[[], T]) -> T:
    try:
        return call()
    except FAILURES as error:
        raise failure_of(error) from error
