"""How the time of a stop is spent: requests have most of it, and each part behind them some of the rest."""

import asyncio

import structlog

_LOG = structlog.get_logger(__name__)

_RESERVE_SECONDS = 5
"""How much of the time is kept, at most, for what must be cancelled, and as much for the rest."""


class Stopping:
    """Tells how many seconds are left; the stop begins when somebody asks first."""

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long the whole stop may take."""
        self._seconds = seconds
        self.reserve_seconds = min(_RESERVE_SECONDS, seconds / 3)
        """How long those may take, at most, that were cancelled."""

        self._ends_at: float | None = None

    def for_requests(self) -> float:
        """Return how long requests may go on."""
        return self._left(2)

    def for_responses(self) -> float:
        """Return how long what the requests have left may take: files are sent without them."""
        return self._left(1)

    def for_work(self) -> float:
        """Return how long background work may take to give back what it holds."""
        return self._left(3 / 4)

    def for_notes(self) -> float:
        """Return how long it may take to write what was noted in memory."""
        return self._left(2 / 4)

    def for_store(self) -> float:
        """Return how long it may take to clean up after uploads that were dropped."""
        return self._left(3 / 8)

    def for_units(self) -> float:
        """Return how long units of work that were left to themselves may take."""
        return self._left(1 / 4)

    def _left(self, kept_reserves: float) -> float:
        """Return what is left of the time when so much of it is kept for others."""
        now = asyncio.get_running_loop().time()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
        return max(self._ends_at - kept_reserves * self.reserve_seconds - now, 0)


async def end_work(jobs: "asyncio.Task[None]", stopping: Stopping) -> None:
    """Cancel background work, and let it give back what it holds as far as there is time. Raises what made it fail."""
    jobs.cancel()
    await asyncio.wait({jobs}, timeout=stopping.for_work())
    if not jobs.done():
        _LOG.warning("background work was left behind")  # it waits for a database that hangs, say
    elif not jobs.cancelled():
        jobs.result()
