"""What only files have: threads, descriptors, folders and a disk that fills."""

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from openecr.adapters.blobs.failures import storage_failed
from openecr.adapters.blobs.files import _CANNOT_COPY, FileBlobStore, _Space, copy_by_reading
from openecr.adapters.blobs.part_writer import BATCH_BYTES
from openecr.domain.errors import StorageFull, Unavailable

LOCATION = "ab" + "0" * 46
OTHER = "cd" + "0" * 46
BATCH = b"x" * BATCH_BYTES
MORE_THAN_ANY_DISK = 2**62


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
    yield store
    await store.close()


def open_files(folder: Path) -> list[str]:
    """What this process has open below a folder."""
    found: list[str] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # the one that listed them
            continue
        if target.startswith(f"{folder}/"):
            found.append(target)
    return found


class Gate:
    """A tap that holds its thread until it is told to go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.threads: set[int] = set()

    def __call__(self, data: bytes) -> None:
        self.threads.add(threading.get_ident())
        self.reached.set()
        assert self.go_on.wait(60)


async def reached(gate: Gate) -> None:
    await asyncio.to_thread(gate.reached.wait, 60)


async def a_few_turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


# --- where files lie -------------------------------------------------------------------------------------------------


async def test_a_file_lies_in_the_folder_of_its_first_two_characters_and_is_private(
    store: FileBlobStore, tmp_path: Path
) -> None:
    writer = await store.create_part(LOCATION)
    await writer.finish()

    file = tmp_path / "blobs" / "ab" / LOCATION
    assert store.path(LOCATION) == file
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == file.parent.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "location", ["", "..", "../" * 11, "ab/" + "0" * 45, "AB" + "0" * 46, "ab" * 16 + "\n"]
)
async def test_only_a_location_of_ours_is_a_path(store: FileBlobStore, location: str) -> None:
    with pytest.raises(AssertionError):
        store.path(location)


async def test_more_blobs_than_a_thread_lists_in_one_turn_are_all_told(
    store: FileBlobStore, tmp_path: Path
) -> None:
    locations = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(2500)]
    for location in locations:
        (tmp_path / "blobs" / location[:2] / location).touch()

    assert [location async for location in store.iterate()] == sorted(locations)


async def test_strange_files_are_no_blobs(store: FileBlobStore, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "lost+found").mkdir()
    (tmp_path / "blobs" / "ab" / "notes.txt").touch()

    assert [location async for location in store.iterate()] == []


async def test_a_folder_that_was_lost_is_made_again(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
    await store.close()
    (tmp_path / "blobs" / "ab").rmdir()

    store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
    writer = await store.create_part(LOCATION)
    await writer.finish()
    await store.close()

    assert (tmp_path / "blobs" / "ab" / LOCATION).exists()


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [10, 3 * BATCH_BYTES])
async def test_nothing_is_hashed_or_written_in_the_event_loop(store: FileBlobStore, size_bytes: int) -> None:
    gate = Gate()
    gate.go_on.set()
    writer = await store.create_part(LOCATION, [gate])
    await writer.write(b"x" * size_bytes)
    await writer.finish()

    assert gate.threads
    assert threading.get_ident() not in gate.threads


async def test_one_batch_is_written_while_one_more_waits(store: FileBlobStore) -> None:
    gate = Gate()
    writer = await store.create_part(LOCATION, [gate])
    await writer.write(BATCH)
    await reached(gate)

    third = asyncio.create_task(writer.write(BATCH))
    await a_few_turns()
    assert not third.done()

    gate.go_on.set()
    await third
    assert await writer.finish() == 2 * BATCH_BYTES


async def test_a_reader_goes_on_although_its_file_is_removed(store: FileBlobStore) -> None:
    writer = await store.create_part(LOCATION)
    await writer.write(BATCH)
    await writer.finish()

    chunks = store.open(LOCATION, 0, BATCH_BYTES)
    read = [await anext(chunks)]
    await store.remove([LOCATION])
    read += [chunk async for chunk in chunks]

    assert b"".join(read) == BATCH


# --- descriptors -----------------------------------------------------------------------------------------------------


async def test_a_part_that_is_cancelled_while_it_is_written_leaves_no_file(
    store: FileBlobStore, tmp_path: Path
) -> None:
    gate = Gate()
    writer = await store.create_part(LOCATION, [gate])
    await writer.write(BATCH)
    await reached(gate)
    finishing = asyncio.create_task(writer.finish())
    await a_few_turns()
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing

    aborting = asyncio.create_task(writer.abort())
    await a_few_turns()
    assert not aborting.done(), "the thread is still at work: dropping waits for it"
    gate.go_on.set()
    await aborting

    assert open_files(tmp_path) == []
    assert await store.size(LOCATION) is None


async def _write(store: FileBlobStore) -> None:
    writer = await store.create_part(OTHER)
    try:
        for _ in range(3):
            await writer.write(BATCH)
        await writer.finish()
    except BaseException:
        await writer.abort()
        raise


async def _read(store: FileBlobStore) -> None:
    async for _ in store.open(LOCATION, 0, BATCH_BYTES):
        pass


async def _assemble(store: FileBlobStore) -> None:
    await store.assemble([LOCATION, LOCATION], OTHER)


@pytest.mark.parametrize("work", [_write, _read, _assemble])
async def test_work_that_is_cancelled_anywhere_leaves_no_descriptor(
    tmp_path: Path, work: Callable[[FileBlobStore], Coroutine[Any, Any, None]]
) -> None:
    for turns in range(40):
        folder = tmp_path / str(turns)
        store = FileBlobStore(folder, min_free_bytes=0, min_free_ratio=0)
        writer = await store.create_part(LOCATION)
        await writer.write(BATCH)
        await writer.finish()
        task = asyncio.create_task(work(store))
        for _ in range(turns):
            await asyncio.sleep(0.0002 if turns % 2 else 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task
        await store.close()

        assert open_files(folder) == []


# --- failures --------------------------------------------------------------------------------------------------------


async def test_a_failed_fsync_is_final(store: FileBlobStore) -> None:
    writer: Any = await store.create_part(LOCATION)
    await writer.write(BATCH)
    await writer._wait()
    reading, writing = os.pipe()  # takes bytes, and fails fsync with EINVAL
    os.dup2(writing, writer._sink._descriptor)
    os.close(writing)

    for _ in range(2):
        with pytest.raises(Unavailable):
            await writer.finish()
    await writer.abort()

    os.close(reading)
    assert await store.size(LOCATION) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such(number: int) -> None:
    assert isinstance(storage_failed(OSError(number, "full")), StorageFull)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EMFILE])
def test_any_other_failure_may_pass(number: int) -> None:
    assert type(storage_failed(OSError(number, "broken"))) is Unavailable


async def test_below_the_reserve_nothing_is_taken_and_everything_else_works(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path, min_free_bytes=0, min_free_ratio=0)
    writer = await store.create_part(LOCATION)
    await writer.write(b"kept")
    await writer.finish()
    begun = await store.create_part(OTHER)
    store._space = _Space(tmp_path, min_free_bytes=MORE_THAN_ANY_DISK, min_free_ratio=0)
    begun_white_box: Any = begun
    begun_white_box._sink._space = store._space

    with pytest.raises(StorageFull):
        await store.check_space()
    with pytest.raises(StorageFull):
        await store.create_part(OTHER)
    with pytest.raises(StorageFull):
        await begun.write(BATCH)
    with pytest.raises(StorageFull):
        await store.assemble([LOCATION, LOCATION], OTHER)

    assert [chunk async for chunk in store.open(LOCATION, 0, 4)] == [b"kept"]
    await store.remove([LOCATION])
    await store.close()


@pytest.mark.parametrize(
    ("min_free_bytes", "min_free_ratio"), [(MORE_THAN_ANY_DISK, 0.0), (0, 2.0), (1, 2.0)]
)
def test_the_reserve_is_the_larger_of_its_two_settings(
    tmp_path: Path, min_free_bytes: int, min_free_ratio: float
) -> None:
    _Space(tmp_path, min_free_bytes=1, min_free_ratio=0.0).take(0)
    with pytest.raises(StorageFull):
        _Space(tmp_path, min_free_bytes=min_free_bytes, min_free_ratio=min_free_ratio).take(0)


def test_what_would_not_fit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    space = _Space(tmp_path, min_free_bytes=0, min_free_ratio=0)
    for question in (space.take, space.check):
        with pytest.raises(StorageFull):
            question(MORE_THAN_ANY_DISK)
        question(1)


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_file_system_that_cannot_copy_by_itself_is_copied_through_memory(tmp_path: Path) -> None:
    content = hashlib.shake_256(b"").digest(2 * BATCH_BYTES + 1)
    (tmp_path / "source").write_bytes(content)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        while copy_by_reading(source.fileno(), target.fileno()):
            pass

    assert (tmp_path / "target").read_bytes() == content
    assert {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP} <= _CANNOT_COPY


async def test_a_folder_that_cannot_be_looked_at_does_not_answer(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
    assert await store.answers()
    store._root = tmp_path / ("x" * 300)  # ENAMETOOLONG, as a bad disk says EIO

    assert not await store.answers()
    await store.close()


async def test_a_folder_that_cannot_be_synced_keeps_its_files_and_the_others_go(store: FileBlobStore) -> None:
    for where in (LOCATION, OTHER):
        writer = await store.create_part(where)
        await writer.write(BATCH)
        await writer.finish()
    path = store.path(LOCATION)
    assert path is not None
    path.unlink()
    path.parent.rmdir()

    assert list(await store.remove([LOCATION, OTHER])) == [LOCATION]
    assert await store.size(OTHER) is None
