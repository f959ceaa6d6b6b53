"""Reading a range of an object: on a connection that is given back when the reader pauses, and taken up where it broke.

No thread is held between reads. What a reader has got so far it has got: a next try asks for the rest.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from openecr.adapters.blobs.s3.bucket import Body, Bucket
from openecr.adapters.blobs.s3.calls import Calls, Tries
from openecr.adapters.blobs.s3.failures import CallFailed, Kind, told
from openecr.adapters.blobs.s3.options import Bounds, Patience


class Reader:
    """Reads bytes [start, stop) of one object, from its start to its end."""

    def __init__(
        self,
        bucket: Bucket,
        calls: Calls,
        name: str,
        start: int,
        stop: int,
        *,
        patience: Patience,
        bounds: Bounds,
    ) -> None:
        self._bucket = bucket
        self._calls = calls
        self._name = name
        self._position = start
        self._stop = stop
        self._patience = patience
        self._bounds = bounds
        self._body: Body | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the bytes, about a mebibyte at a time. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        try:
            while self._position < self._stop:
                chunk = await self._next()
                self._position += len(chunk)
                idle = loop.call_later(self._patience.idle, self.close)
                try:
                    yield chunk
                finally:
                    idle.cancel()
        finally:  # no await in here: nobody may be left to wait
            self.close()

    def close(self) -> None:
        """Give the connection back. Never while it is read."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    async def _next(self) -> bytes:
        tries = Tries(self._patience, seconds=self._patience.total)
        while True:
            try:
                return await self._read(min(self._patience.attempt, tries.left()))
            except CallFailed as failure:
                try:
                    await tries.pause(failure)
                except CallFailed as final:  # it is not there, or the like
                    raise told(final) from final

    async def _read(self, seconds: float) -> bytes:
        """Read on, or take up the connection anew. Whatever fails, the connection is not used again."""
        kept, self._body = self._body, None
        body, chunk = await self._calls.once(partial(self._work, kept), seconds=seconds, unused=_close)
        if self._position + len(chunk) < self._stop:
            self._body = body
        else:
            body.close()
        return chunk

    def _work(self, kept: Body | None) -> tuple[Body, bytes]:
        """Read in a worker thread, which owns the connection until it returns."""
        body = kept or self._bucket.get(self._name, self._position, self._stop)
        try:
            chunk = body.read(min(self._bounds.read_bytes, self._stop - self._position))
        except BaseException:
            body.close()
            raise
        if not chunk:
            body.close()
            raise CallFailed(Kind.PASSING, f"{self._name} ended at {self._position}")
        return body, chunk


def _close(late: tuple[Body, bytes]) -> None:
    late[0].close()
