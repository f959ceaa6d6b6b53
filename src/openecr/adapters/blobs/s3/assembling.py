"""Making one object of several, most of which the server copies."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from openecr.adapters.blobs.s3.bucket import Bucket
from openecr.adapters.blobs.s3.calls import Calls
from openecr.adapters.blobs.s3.failures import CallFailed, out_of_reach, told
from openecr.adapters.blobs.s3.options import Bounds, Patience
from openecr.adapters.blobs.s3.planning import Part, is_copied, plan
from openecr.adapters.blobs.s3.reading import Reader
from openecr.adapters.blobs.s3.sending import Write
from openecr.adapters.blobs.s3.uploading import Memory

T = TypeVar("T")


class Assembly:
    """Makes one object, a few parts at a time."""

    def __init__(
        self, bucket: Bucket, calls: Calls, *, memory: Memory, patience: Patience, bounds: Bounds
    ) -> None:
        self._bucket = bucket
        self._calls = calls
        self._memory = memory
        self._patience = patience
        self._bounds = bounds
        self._places = asyncio.Semaphore(bounds.copies_in_flight)

    async def make(self, write: Write, sources: Sequence[str]) -> None:
        """Make the object of objects that are there, in order. Raises StorageFull, Unavailable."""
        sizes = await self._all([self._size(source) for source in sources])
        parts = list(plan(list(zip(sources, sizes, strict=True))))
        if not parts:
            await write.put(b"")
        elif len(parts) == 1 and not is_copied(parts[0]):
            await self._put(write, parts[0])
        else:
            await write.begin()
            tags = await self._all([self._send(write, number, part) for number, part in enumerate(parts, 1)])
            await write.complete(tags, sum(sizes))

    async def _size(self, source: str) -> int:
        async with self._places:
            try:
                found = await self._calls.run(lambda: self._bucket.head(source))
            except CallFailed as failure:
                raise told(failure) from failure
        if found is None:
            raise out_of_reach(f"{source} is not there")
        return found.size_bytes

    async def _put(self, write: Write, part: Part) -> None:
        await self._memory.take()
        try:
            await write.put(await self._read(part))
        finally:
            self._memory.give_back()

    async def _send(self, write: Write, number: int, part: Part) -> str:
        async with self._places:
            if is_copied(part):
                (piece,) = part
                return await write.copy_part(number, piece)
            await self._memory.take()
            try:
                return await write.send_part(number, await self._read(part))
            finally:
                self._memory.give_back()

    async def _read(self, part: Part) -> bytearray:
        body = bytearray()
        for piece in part:
            reader = Reader(
                self._bucket,
                self._calls,
                piece.source,
                piece.start,
                piece.stop,
                patience=self._patience,
                bounds=self._bounds,
            )
            async for chunk in reader.chunks():
                body += chunk
        return body

    @staticmethod
    async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        tasks = [asyncio.get_running_loop().create_task(each) for each in work]
        try:
            return await asyncio.gather(*tasks)
        finally:  # of one that failed: the others are not needed
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
