"""Pacing: what reads everything that is stored leaves the disk and the network to those who wait for an answer."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

Pause = Callable[[float], Awaitable[object]]


class Pace:
    """Lets bytes through, never faster than so many in a second."""

    def __init__(self, bytes_per_second: int, *, pause: Pause = asyncio.sleep) -> None:
        self._bytes_per_second = bytes_per_second
        self._pause = pause

    async def of(self, content: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Give the same chunks, each followed by a pause where they come too fast."""
        started = time.monotonic()
        size_bytes = 0
        async with aclosing(content) as chunks:
            async for chunk in chunks:
                yield chunk
                size_bytes += len(chunk)
                ahead = size_bytes / self._bytes_per_second - (time.monotonic() - started)
                if ahead > 0:
                    await self._pause(ahead)
