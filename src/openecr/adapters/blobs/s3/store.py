"""Blobs as objects: `<prefix><location>`, each written once and never changed.

Durable means: the server has answered that the object is there. Nothing here holds a connection, a thread or memory for
a client that is slow, and nothing waits for ever for a server that hangs.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import structlog

from openecr.adapters.blobs.part_writer import BatchingPartWriter
from openecr.adapters.blobs.s3.assembling import Assembly
from openecr.adapters.blobs.s3.bucket import Bucket, Leftover, UploadsPage
from openecr.adapters.blobs.s3.calls import Calls
from openecr.adapters.blobs.s3.failures import CallFailed, Kind, Refused, out_of_reach, told
from openecr.adapters.blobs.s3.options import S3Options
from openecr.adapters.blobs.s3.pools import Pool
from openecr.adapters.blobs.s3.reading import Reader
from openecr.adapters.blobs.s3.sending import Write
from openecr.adapters.blobs.s3.uploading import Background, Memory, ObjectSink
from openecr.domain.errors import Unavailable
from openecr.ports.blobs import MARK_NAME, PartWriter, Sealer, Tap

_LOG = structlog.get_logger(__name__)

T = TypeVar("T")

_LOCATION = re.compile(r"[0-9a-f]{32,64}", re.ASCII)
_PROOF_BYTES = 24
_MARK_MAX_BYTES = 256
_HASHING_THREADS = 8
_LEFTOVER_PAGES = 100
_CANNOT_REMOVE_SEVERAL = frozenset({Kind.NOT_SERVED, Kind.MISSING})


class S3BlobStore:
    """A bucket of blobs, or the part of one below a prefix."""

    def __init__(self, options: S3Options, *, redirect_seconds: int | None = None) -> None:
        """Make the client; nothing is asked yet. Raises ValueError for options that make none.

        `redirect_seconds`: how long the URLs of `redirect` work; None makes none.
        """
        self._redirect_seconds = redirect_seconds
        self._patience = options.patience
        self._bounds = bounds = options.bounds
        self._bucket = Bucket(options)
        self._data = Pool("data", bounds.data_threads)
        self._deletes = Pool("deletes", bounds.deleting_threads)
        self._probes = Pool("probes", bounds.probing_threads)
        self._calls = Calls(self._data, self._patience)
        self._delete_calls = Calls(self._deletes, self._patience)
        self._probe_calls = Calls(self._probes, self._patience)
        self._threads = ThreadPoolExecutor(_HASHING_THREADS, thread_name_prefix="blobs")
        self._memory = Memory(bounds, self._patience)
        self._background = Background()
        self._removes_several = True

    async def create_part(
        self, location: str, taps: Sequence[Tap] = (), sealer: Sealer | None = None
    ) -> PartWriter:
        """Start a part at a fresh location."""
        sink = ObjectSink(
            self._write(location),
            memory=self._memory,
            background=self._background,
            bounds=self._bounds,
            patience=self._patience,
        )
        return BatchingPartWriter(sink, taps, self._threads, sealer=sealer)

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        """Start a copy: an object is there when all of it is."""
        return await self.create_part(location, taps)

    async def assemble(self, parts: Sequence[str], location: str) -> str:
        """Make one blob of finished parts. A single part is the blob already. Raises StorageFull, Unavailable."""
        if len(parts) == 1:
            return parts[0]
        assembly = Assembly(
            self._bucket, self._calls, memory=self._memory, patience=self._patience, bounds=self._bounds
        )
        write = self._write(location)
        try:
            await assembly.make(write, parts)
        except BaseException:
            cleaning = self._background.start(write.drop())
            await asyncio.wait({cleaning}, timeout=self._patience.cleanup)
            raise
        return location

    async def open(self, location: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read bytes [start, stop). Raises Unavailable."""
        reader = Reader(
            self._bucket,
            self._calls,
            self._name(location),
            start,
            stop,
            patience=self._patience,
            bounds=self._bounds,
        )
        async for chunk in reader.chunks():
            yield chunk

    def path(self, location: str) -> Path | None:
        """Return None: there are no files."""
        del location
        return None

    async def size(self, location: str) -> int | None:
        """Return the object's length, or None."""
        found = await self._told(self._calls, partial(self._bucket.head, self._name(location)))
        return None if found is None else found.size_bytes

    async def remove(self, locations: Sequence[str]) -> Collection[str]:
        """Remove objects; one that is not there is fine. Return those that would not go. Raises Unavailable."""
        names = iter(map(self._name, locations))
        stayed: dict[str, str] = {}
        while batch := list(islice(names, self._bounds.names)):
            if len(batch) > 1 and self._removes_several:
                try:
                    stayed |= await self._delete_calls.run(partial(self._bucket.remove, batch))
                    continue
                except CallFailed as failure:
                    if failure.kind not in _CANNOT_REMOVE_SEVERAL:
                        raise told(failure) from failure
                    self._removes_several = False
            for name in batch:
                try:
                    await self._told(self._delete_calls, partial(self._bucket.remove_one, name))
                except Refused as refusal:
                    stayed[name] = refusal.context
        for name, reason in stayed.items():
            _LOG.warning("an object would not go", name=name, reason=reason)
        return stayed.keys()

    async def check_space(self, room_bytes: int = 0) -> None:
        """There is always space, or the server says that there is none."""
        del room_bytes

    async def iterate(self) -> AsyncIterator[str]:
        """Stream every stored location."""
        after: str | None = None
        while True:
            names, after = await self._told(self._delete_calls, partial(self._bucket.list_page, after))
            for name in names:
                if _LOCATION.fullmatch(name):
                    yield name
            if after is None:
                return

    async def end_leftovers(self, *, begun_before: int) -> int:
        """Drop multipart uploads that began before an instant and have not ended; return how many.

        A process that was killed leaves them: nothing lists their bytes, and they are paid for. What is more than some
        pages is left to the next call. Raises Unavailable.
        """
        due: list[Leftover] = []
        after: UploadsPage | None = None
        for _ in range(_LEFTOVER_PAGES):
            page, after = await self._leftovers_page(after)
            due += [each for each in page if each.begun_at < begun_before and _LOCATION.fullmatch(each.name)]
            if after is None:
                break
        for each in due:  # not before: some servers go on only behind an upload that is there
            await self._told(self._delete_calls, partial(self._bucket.abort, each.name, each.upload_id))
        return len(due)

    async def redirect(self, location: str) -> str | None:
        """Return a URL at which whoever has it may read these bytes, for a while; None where that is off.

        Computed here, though in a thread: the credentials that sign it may have to be fetched. Raises Unavailable.
        """
        seconds = self._redirect_seconds
        if seconds is None:
            return None
        return await self._told(self._calls, lambda: self._bucket.url(self._name(location), seconds))

    async def read_marks(self) -> frozenset[str]:
        """Return the mark, if there is one. Raises Unavailable."""
        found = await self._told(self._calls, partial(self._bucket.head, MARK_NAME))
        if found is None:
            return frozenset()
        reader = Reader(
            self._bucket,
            self._calls,
            MARK_NAME,
            0,
            min(found.size_bytes, _MARK_MAX_BYTES),
            patience=self._patience,
            bounds=self._bounds,
        )
        mark = b"".join([chunk async for chunk in reader.chunks()])
        return frozenset({mark.decode("ascii", "replace").strip()})

    async def make_mark(self, mark: str, *, instead_of: str | None = None) -> None:
        """Mark the bucket, or the part of it, unless it has any mark but `instead_of`. Raises Unavailable."""
        if found := await self.read_marks():  # not every server knows a condition of a PUT
            if instead_of not in found:
                return
            await self._told(self._calls, partial(self._bucket.remove_one, MARK_NAME))
        try:
            await Write(self._bucket, self._calls, MARK_NAME).put(f"{mark}\n".encode())
        except Unavailable:
            if not await self.read_marks():  # somebody else was quicker
                raise

    async def prove(self) -> None:
        """Do everything once that needs a right of its own. Raises Unavailable, with what is wrong in its context."""
        name, content = secrets.token_hex(_PROOF_BYTES), b"OpenECR may write here"
        write = self._write(name)
        try:
            await write.put(content)
            read = b"".join([chunk async for chunk in self.open(name, 0, len(content))])
            if read != content:
                raise out_of_reach(f"{len(content)} bytes were written and others read")
        finally:
            await write.drop()
        pieces = self._write(name)
        await pieces.begin()
        await pieces.drop()
        await self._told(self._delete_calls, partial(self._bucket.list_page, None))
        await self._leftovers_page(None)

    async def answers(self) -> bool:
        """Tell whether the server answers at all, within a few seconds."""
        try:
            await self._probe_calls.once(self._bucket.probe, seconds=self._patience.connect)
        except CallFailed:
            return False
        return True

    async def close(self, *, patience_seconds: float | None = None) -> None:
        """Wait for what is under way, though not for long, and not for more than `patience_seconds`."""
        cleanup = self._patience.cleanup
        await self._background.close(cleanup if patience_seconds is None else min(cleanup, patience_seconds))
        for pool in (self._data, self._deletes, self._probes):
            pool.close()
        await asyncio.to_thread(self._threads.shutdown)
        self._bucket.close()

    async def _leftovers_page(self, after: UploadsPage | None) -> tuple[list[Leftover], UploadsPage | None]:
        """Return a page, and what to ask the next one with; none where the server refuses to list uploads, or more."""
        try:
            return await self._delete_calls.run(partial(self._bucket.leftovers_page, after))
        except (CallFailed, Refused) as failure:
            _LOG.warning(
                "the bucket does not list multipart uploads: let a lifecycle rule end those that were given up",
                reason=failure.context,
            )
            return [], None

    def _write(self, location: str) -> Write:
        return Write(self._bucket, self._calls, self._name(location))

    @staticmethod
    def _name(location: str) -> str:
        assert _LOCATION.fullmatch(location), location  # ours, never a client's
        return location

    @staticmethod
    async def _told(calls: Calls, call: Callable[[], T]) -> T:
        try:
            return await calls.run(call)
        except CallFailed as failure:
            raise told(failure) from failure
