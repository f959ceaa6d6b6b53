"""Blobs as files: `<root>/<first two characters>/<location>`, each written once and never changed.

Durable means: the file's data, and the entry in its folder, are on disk. A failed fsync is never tried again, since the
kernel may have dropped the pages and would then report success (Linux, fsync error reporting).

Descriptors belong to the worker threads: no await stands between opening one and giving it to an object that closes
it, so a request that is cancelled anywhere leaves none behind.
"""

import asyncio
import errno
import os
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from openecr.adapters.blobs.failures import storage_failed
from openecr.adapters.blobs.part_writer import BATCH_BYTES, BatchingPartWriter
from openecr.adapters.blobs.write_behind import SYNC_RANGE, WriteBehind
from openecr.adapters.private_files import (
    create_private_file,
    rename_to_new,
    sync_folder,
    write_private_file,
)
from openecr.domain.errors import ContentDamaged, StorageFull, Unavailable
from openecr.ports.blobs import MARK_NAME, PartWriter, Sealer, Tap

_LOG = structlog.get_logger(__name__)

T = TypeVar("T")

COPY_BYTES = 8 * 1024 * 1024
"""How much one call to the kernel copies."""

READ_BYTES = 256 * 1024
THREADS = 8
_NICENESS = 5
_SHARDS = 256
_LISTED = 1000
"""A turn of a thread lists so many, or a folder more."""

_SPACE_SECONDS = 1.0
_LOCATION = re.compile(r"[0-9a-f]{32,64}", re.ASCII)
_COPYING = ".copying"
_CANNOT_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM})


class FileBlobStore:
    """A folder of blobs. `min_free_bytes` and `min_free_ratio`: the larger of the two is the reserve."""

    def __init__(self, root: Path, *, min_free_bytes: int, min_free_ratio: float) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="blobs", initializer=_step_back)
        self._folders = {f"{shard:02x}": root / f"{shard:02x}" for shard in range(_SHARDS)}
        _make_folders(root)
        self._space = _Space(root, min_free_bytes=min_free_bytes, min_free_ratio=min_free_ratio)

    async def create_part(
        self, location: str, taps: Sequence[Tap] = (), sealer: Sealer | None = None
    ) -> PartWriter:
        """Start a part at a fresh location. Raises StorageFull."""
        self._space.take(0)
        return BatchingPartWriter(
            _FileSink(self._file(location), self._space), taps, self._threads, sealer=sealer
        )

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        """Start a copy, which gets its name when it is whole. Raises StorageFull."""
        self._space.take(0)
        file = self._file(location)
        part = file.with_name(f"{location}.{secrets.token_hex(8)}{_COPYING}")
        sink = _FileSink(part, self._space, name=file)
        return BatchingPartWriter(sink, taps, self._threads)

    async def assemble(self, parts: Sequence[str], location: str) -> str:
        """Make one blob of finished parts. A single part is the blob already. Raises StorageFull, Unavailable."""
        if len(parts) == 1:
            return parts[0]
        files = [self._file(part) for part in parts]
        self._space.take(await self._run(lambda: sum(file.stat().st_size for file in files)))
        await self._run(partial(_concatenate, files, self._file(location)))
        return location

    async def open(self, location: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read bytes [start, stop). Raises ContentDamaged where they are not there, Unavailable."""
        reader = _Reader(self._file(location))
        try:
            position = start
            while position < stop:
                size_bytes = min(READ_BYTES, stop - position)
                chunk = await self._read(reader, size_bytes, position)
                if not chunk:
                    raise ContentDamaged(
                        message="A layer could not be read", context=f"{location} ends at {position}"
                    )
                position += len(chunk)
                yield chunk
        finally:  # no await in here: nobody may be left to wait
            reader.close_soon(self._threads)

    def path(self, location: str) -> Path | None:
        """Return the file itself."""
        return self._file(location)

    async def redirect(self, location: str) -> str | None:
        """Return None: files have no URLs."""
        del location
        return None

    async def size(self, location: str) -> int | None:
        """Return the file's length, or None."""
        return await self._run(partial(_size, self._file(location)))

    async def remove(self, locations: Sequence[str]) -> Collection[str]:
        """Remove files, durably; one that is not there is fine. Return those that would not go. Raises Unavailable."""
        return await self._run(partial(_remove, [self._file(location) for location in locations]))

    async def end_leftovers(self, *, begun_before: int) -> int:
        """Remove copies that nobody has gone on with since an instant; return how many. Raises Unavailable."""
        seconds = begun_before / 1_000_000
        removed = 0
        for shard in range(_SHARDS):
            removed += await self._run(
                partial(_remove_copies, self._root / f"{shard:02x}", written_before=seconds)
            )
        return removed

    async def check_space(self, room_bytes: int = 0) -> None:
        """Raise StorageFull below the reserve, or where so many bytes would touch it."""
        self._space.check(room_bytes)

    async def iterate(self) -> AsyncIterator[str]:
        """Stream every stored location."""
        shards = iter(self._folders.values())
        while names := await self._run(partial(_list, shards)):
            for name in names:
                yield name

    async def answers(self) -> bool:
        """Tell whether the folder is there: not in a thread of those that wait for a disk which hangs."""
        return await asyncio.to_thread(_is_folder, self._root)

    async def read_marks(self) -> frozenset[str]:
        """Return the mark, if there is one. Raises Unavailable."""
        return await self._run(partial(_read_marks, self._root / MARK_NAME))

    async def make_mark(self, mark: str, *, instead_of: str | None = None) -> None:
        """Mark the folder, unless it has any mark but `instead_of`. Raises Unavailable."""
        await self._run(partial(_make_mark, self._root / MARK_NAME, mark, instead_of))

    async def close(self) -> None:
        """Wait for what the threads do."""
        await asyncio.to_thread(self._threads.shutdown)

    def _file(self, location: str) -> Path:
        assert _LOCATION.fullmatch(location), location  # ours, never a client's
        return self._folders[location[:2]] / location

    async def _read(self, reader: "_Reader", size_bytes: int, position: int) -> bytes:
        try:
            return await self._run(partial(reader.read, size_bytes, position))
        except Unavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ContentDamaged(message=error.message, context=error.context) from error
            raise

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except OSError as error:
            raise storage_failed(error) from error


def _step_back() -> None:
    """Let the event loop's thread go first: whoever moves much data may wait a little, small requests may not."""
    with suppress(OSError):  # a system may refuse, or know no priorities of threads
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class _Space:
    """Keeps a reserve free. Used in the event loop's thread.

    The system is asked once a second; what is taken in between is counted here, so that fast uploads cannot eat the
    reserve within that second. Nothing is refused on an old answer.
    """

    def __init__(self, folder: Path, *, min_free_bytes: int, min_free_ratio: float) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._min_free_ratio = min_free_ratio
        self._asked_at = float("-inf")
        self._left_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count bytes that are about to be written. Raises StorageFull where they would touch the reserve."""
        self.check(size_bytes)
        self._left_bytes -= size_bytes

    def check(self, size_bytes: int) -> None:
        """Raise StorageFull where so many bytes would touch the reserve."""
        if time.monotonic() - self._asked_at > _SPACE_SECONDS or self._left_bytes < size_bytes:
            self._ask()
        if self._left_bytes < size_bytes:
            raise StorageFull(context=f"free space on {self._folder} is at its reserve")

    def _ask(self) -> None:
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            raise storage_failed(error) from error
        reserve = max(self._min_free_bytes, int(found.f_blocks * found.f_frsize * self._min_free_ratio))
        self._left_bytes = found.f_bavail * found.f_frsize - reserve
        self._asked_at = time.monotonic()


class _FileSink:
    """One file, written from its start to its end; only then it gets its `name`, if that is another one."""

    def __init__(self, file: Path, space: _Space, *, name: Path | None = None) -> None:
        self._file = file
        self._name = name
        self._space = space
        self._descriptor: int | None = None
        self._behind: WriteBehind | None = None
        self._is_created = False

    async def admit(self, size_bytes: int) -> None:
        """Count bytes that are about to be written. Raises StorageFull."""
        self._space.take(size_bytes)

    def append(self, batch: Sequence[bytes]) -> None:
        """Write. Raises OSError, also where the file is there already."""
        descriptor, behind = self._open()
        behind.wrote(_write_all(descriptor, batch))

    def end(self) -> None:
        """Sync the file and the entry that leads to it. Raises OSError."""
        descriptor, _ = self._open()
        self._descriptor = None
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if self._name is not None:
            rename_to_new(self._file, self._name)
            self._file = self._name
        sync_folder(self._file.parent)

    async def ended(self) -> None:
        """Everything is done."""

    def drop(self) -> None:
        """Remove the file, where it is this sink's. Raises OSError."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
        if self._is_created:
            self._file.unlink(missing_ok=True)

    async def dropped(self) -> None:
        """Everything is done."""

    def _open(self) -> tuple[int, WriteBehind]:
        if self._descriptor is None or self._behind is None:
            self._descriptor = _create(self._file)
            self._is_created = True
            self._behind = WriteBehind(self._descriptor, SYNC_RANGE)
        return self._descriptor, self._behind


class _Reader:
    """A file that is opened at its first read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._closed = False

    def read(self, size_bytes: int, position: int) -> bytes:
        """Return bytes from a position; none behind the end, or once it is closed."""
        with self._lock:
            if self._closed:
                return b""
            if self._descriptor is None:
                self._descriptor = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._descriptor, size_bytes, position)

    def close_soon(self, threads: ThreadPoolExecutor) -> None:
        """Close, after a read that may still run."""
        try:
            threads.submit(self._close)
        except RuntimeError:  # the store is closed
            self._close()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def holds_blobs(root: Path) -> bool:
    """Tell whether a folder is a store of blobs already, or one that a server has marked. Raises Unavailable."""
    try:
        return (root / MARK_NAME).exists() or (root / "00").is_dir()
    except OSError as error:
        raise storage_failed(error) from error


def _make_folders(root: Path) -> None:
    """Make every folder that a location may lead to, durably, so that no upload has to."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for shard in range(_SHARDS):
        (root / f"{shard:02x}").mkdir(mode=0o700, exist_ok=True)
    sync_folder(root)
    sync_folder(root.parent)


def _create(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write_all(descriptor: int, batch: Sequence[bytes]) -> int:
    rest = [memoryview(chunk) for chunk in batch]
    size_bytes = sum(map(len, rest))
    while rest:
        written = os.writev(descriptor, rest)
        done = 0
        while done < len(rest) and written >= len(rest[done]):
            written -= len(rest[done])
            done += 1
        rest = rest[done:]
        if rest:
            rest[0] = rest[0][written:]
    return size_bytes


def _read_marks(file: Path) -> frozenset[str]:
    try:
        return frozenset({file.read_text(encoding="ascii", errors="replace").strip()})
    except FileNotFoundError:
        return frozenset()


def _make_mark(file: Path, mark: str, instead_of: str | None) -> None:
    content = f"{mark}\n".encode()
    if not create_private_file(file, content) and instead_of in _read_marks(file):
        write_private_file(file, content)


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _list(folders: Iterator[Path]) -> list[str]:
    """Return the names in the next folders, `_LISTED` at least; fewer, and then none, only where they are at an end."""
    names: list[str] = []
    for folder in folders:
        names += sorted(file.name for file in folder.iterdir() if _LOCATION.fullmatch(file.name))
        if len(names) >= _LISTED:
            break
    return names


def _remove_copies(folder: Path, *, written_before: float) -> int:
    removed = 0
    for file in folder.glob(f"*{_COPYING}"):
        with suppress(FileNotFoundError):  # it has ended meanwhile
            if file.stat().st_mtime < written_before:
                file.unlink()
                removed += 1
    return removed


def _remove(files: Sequence[Path]) -> list[str]:
    """Remove files so that none comes back after a crash, when nobody would know it any more.

    The folder of a file that is not there is synced too: a server that was killed may have removed it just before.
    """
    stayed: list[str] = []
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning("a file would not go", file=file.name, error=str(error))
            stayed.append(file.name)
    for folder in {file.parent for file in files}:
        try:
            sync_folder(folder)
        except OSError as error:
            _LOG.warning("a folder could not be synced", folder=folder.name, error=str(error))
            stayed += [file.name for file in files if file.parent == folder and file.name not in stayed]
    return stayed


def _concatenate(parts: Sequence[Path], target: Path) -> None:
    descriptor = _create(target)
    try:
        behind = WriteBehind(descriptor, SYNC_RANGE)
        for part in parts:
            _append_file(part, descriptor, behind)
        os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            target.unlink()
        raise
    finally:
        os.close(descriptor)
    sync_folder(target.parent)


def _append_file(part: Path, target: int, behind: WriteBehind) -> None:
    source = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while copied := _copy_some(source, target):
            behind.wrote(copied)
    finally:
        os.close(source)


def _copy_some(source: int, target: int) -> int:
    """Copy on from where both stand, inside the kernel where the file system lets it."""
    try:
        return os.copy_file_range(source, target, COPY_BYTES)
    except OSError as error:
        if error.errno not in _CANNOT_COPY:
            raise
    return copy_by_reading(source, target)


def copy_by_reading(source: int, target: int) -> int:
    """Copy a piece through memory; 0 at the end."""
    data = os.read(source, BATCH_BYTES)
    return _write_all(target, [data]) if data else 0
