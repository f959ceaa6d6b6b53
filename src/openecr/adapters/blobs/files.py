"""Blobs as files: `<root>/<first two characters>/<location>`, each written once and never changed.

Durable means: the file's data, and the entry in its folder, are on disk. A failed fsync is never tried again, since the
kernel may have dropped the pages and would then report success (Linux, fsync error reporting).
"""

import asyncio
import errno
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from openecr.domain.errors import StorageFull, Unavailable
from openecr.ports.blobs import PartWriter, Tap

T = TypeVar("T")

BATCH_BYTES = 1024 * 1024
SYNC_EVERY_BYTES = 8 * 1024 * 1024
"""One large fsync at the end would stall every commit of the database beside it."""

READ_BYTES = 256 * 1024
COPY_BYTES = 8 * 1024 * 1024
THREADS = 8
_SPACE_SECONDS = 1.0
_LOCATION = re.compile(r"[0-9a-f]{32,64}", re.ASCII)


class FileBlobStore:
    """A folder of blobs. `min_free_bytes` and `min_free_ratio`: the larger of the two is the reserve."""

    def __init__(self, root: Path, *, min_free_bytes: int, min_free_ratio: float) -> None:
        self._root = root
        self._min_free_bytes = min_free_bytes
        self._min_free_ratio = min_free_ratio
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs")
        self._space_checked_at = float("-inf")
        self._has_space = True
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def create_part(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        """Start a part at a fresh location. Raises StorageFull, Unavailable."""
        await self.check_space()
        return _FilePartWriter(self._file(location), taps, self._threads)

    async def assemble(self, parts: Sequence[str], location: str) -> str:
        """Make one blob of finished parts. A single part is the blob already."""
        if len(parts) == 1:
            return parts[0]
        files = [self._file(part) for part in parts]
        await self._run(lambda: _concatenate(files, self._file(location)))
        return location

    async def open(self, location: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read bytes [start, stop). Raises Unavailable."""
        descriptor = await self._run(lambda: os.open(self._file(location), os.O_RDONLY | os.O_CLOEXEC))
        try:
            position = start
            while position < stop:
                chunk = await self._run(_reader(descriptor, min(READ_BYTES, stop - position), position))
                if not chunk:
                    raise Unavailable(
                        message="A layer could not be read", context=f"{location} ends at {position}"
                    )
                position += len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    def path(self, location: str) -> Path | None:
        """Return the file itself: it holds exactly the blob's bytes."""
        return self._file(location)

    async def size(self, location: str) -> int | None:
        """Return the file's length, or None."""
        try:
            return self._file(location).stat().st_size
        except FileNotFoundError:
            return None

    async def remove(self, locations: Sequence[str]) -> None:
        """Remove files; one that is not there is fine."""
        files = [self._file(location) for location in locations]

        def remove() -> None:
            for file in files:
                file.unlink(missing_ok=True)

        await self._run(remove)

    async def check_space(self) -> None:
        """Raise StorageFull below the reserve. The answer is kept for a second."""
        now = time.monotonic()
        if now - self._space_checked_at > _SPACE_SECONDS:
            found = os.statvfs(self._root)
            reserve = max(self._min_free_bytes, int(found.f_blocks * found.f_frsize * self._min_free_ratio))
            self._has_space = found.f_bavail * found.f_frsize >= reserve
            self._space_checked_at = now
        if not self._has_space:
            raise StorageFull(context=f"free space on {self._root} is below the reserve")

    async def iterate(self) -> AsyncIterator[str]:
        """Stream every stored location."""
        for folder in await self._run(partial(_list, self._root)):
            for file in await self._run(partial(_list, folder)):
                yield file.name

    async def close(self) -> None:
        """Wait for what the threads do."""
        await asyncio.to_thread(self._threads.shutdown)

    def _file(self, location: str) -> Path:
        assert _LOCATION.fullmatch(location), location  # ours, never a client's
        return self._root / location[:2] / location

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except OSError as error:
            raise _translate(error) from error


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _reader(descriptor: int, size_bytes: int, position: int) -> Callable[[], bytes]:
    return lambda: os.pread(descriptor, size_bytes, position)


def _translate(error: OSError) -> Unavailable:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(context=str(error))
    return Unavailable(message="The registry's storage failed. Try again.", context=str(error))


class _FilePartWriter:
    """Writes batches in worker threads, in order, at most two in flight."""

    def __init__(self, file: Path, taps: Sequence[Tap], threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._taps = tuple(taps)
        self._threads = threads
        self._buffer = bytearray()
        self._running: asyncio.Future[None] | None = None
        self._waiting: bytes | None = None
        self._descriptor: int | None = None
        self._length = 0
        self._unsynced = 0

    async def write(self, data: bytes) -> None:
        """Take bytes, in order."""
        self._buffer += data
        if len(self._buffer) >= BATCH_BYTES:
            batch = bytes(self._buffer)
            self._buffer.clear()
            await self._wait()
            self._running = self._submit(lambda: self._write_batch(batch))

    async def finish(self) -> int:
        """Write what is left, make it durable, and return the length."""
        batch = bytes(self._buffer)
        self._buffer.clear()
        try:
            await self._wait()
            await self._submit(lambda: self._end(batch))
        except OSError as error:
            raise _translate(error) from error
        return self._length

    async def abort(self) -> None:
        """Remove the file, once the thread that writes it is done."""
        running, self._running = self._running, None
        if running is not None and not running.done():
            running.add_done_callback(lambda _: self._threads.submit(self._drop))
        else:
            self._threads.submit(self._drop)

    async def _wait(self) -> None:
        if self._running is None:
            return
        try:
            await asyncio.shield(self._running)
        except OSError as error:
            raise _translate(error) from error
        self._running = None

    def _submit(self, call: Callable[[], None]) -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    # --- in a worker thread ---

    def _open(self) -> int:
        if self._descriptor is None:
            folder = self._file.parent
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
                _sync_folder(folder.parent)
            self._descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        return self._descriptor

    def _write_batch(self, batch: bytes) -> None:
        descriptor = self._open()
        for tap in self._taps:
            tap(batch)
        rest = memoryview(batch)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        self._length += len(batch)
        self._unsynced += len(batch)
        if self._unsynced >= SYNC_EVERY_BYTES:
            os.fdatasync(descriptor)
            self._unsynced = 0

    def _end(self, batch: bytes) -> None:
        self._write_batch(batch)
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync_folder(self._file.parent)

    def _drop(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        self._file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _concatenate(parts: Sequence[Path], target: Path) -> None:
    folder = target.parent
    if not folder.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for part in parts:
            _append(part, descriptor)
            os.fdatasync(descriptor)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folder(folder)


def _append(part: Path, target: int) -> None:
    source = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while os.copy_file_range(source, target, COPY_BYTES) > 0:
            pass
    finally:
        os.close(source)
