"""Blobs move between stores while they are used: reads find them in either, and every copy is read back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from openecr.adapters.blobs.copying import AT_ONCE, CopyReport, copy_blobs
from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.blobs.moving import MovingBlobStore
from openecr.adapters.blobs.part_writer import BATCH_BYTES
from openecr.domain.errors import CannotStart, OperatorError, Unavailable
from openecr.ports.blobs import MARK_NAME, OpenBlobStore, PartWriter, Tap
from openecr.server import copy
from openecr.settings import load
from openecr.testing.faults import FaultyBlobStore
from tests.contract.blob_store import content_of, everything, location, stored

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "old", min_free_bytes=0, min_free_ratio=0)
    yield store
    await store.close()


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[FileBlobStore]:
    store = FileBlobStore(tmp_path / "new", min_free_bytes=0, min_free_ratio=0)
    yield store
    await store.close()


async def copied(source: OpenBlobStore, target: OpenBlobStore) -> CopyReport:
    return await copy_blobs(source, target, lambda _: None)


async def test_a_copy_brings_what_is_lacking_and_a_second_one_nothing(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    await stored(old, location(1), CONTENT)
    await stored(old, location(2))

    first, second = await copied(old, new), await copied(old, new)

    assert (first.found, first.copied, first.copied_bytes) == (2, 2, len(CONTENT))
    assert (second.found, second.copied) == (2, 0)
    assert await content_of(new, location(1)) == CONTENT
    assert await everything(new) == await everything(old)


async def test_what_was_still_being_written_is_copied_anew(old: FileBlobStore, new: FileBlobStore) -> None:
    writer = await old.create_part(location(1))
    await writer.write(CONTENT)
    await stored(new, location(1), CONTENT[:100])  # what a first copy found
    await writer.finish()

    assert (await copied(old, new)).copied == 1
    assert await content_of(new, location(1)) == CONTENT


async def test_a_copy_that_fails_is_told_and_tried_by_the_next_run(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    await stored(old, location(1), CONTENT)
    failing = FaultyBlobStore(new, fail_at=3)

    failed = await copied(old, failing)

    assert (failed.copied, failed.failed_count) == (0, 1)
    assert location(1) in failed.failed[0]
    assert (await copied(old, new)).copied == 1
    assert await content_of(new, location(1)) == CONTENT


async def test_a_copy_is_not_there_before_it_is_whole(old: FileBlobStore, new: FileBlobStore) -> None:
    moving = MovingBlobStore(new, old)
    await stored(old, location(1), CONTENT)
    copy = await new.create_copy(location(1))
    await copy.write(CONTENT[: len(CONTENT) // 2] + b"\0" * BATCH_BYTES)
    await copy.write(b"\0" * BATCH_BYTES)  # the first batch is on its way to the disk

    assert await new.size(location(1)) is None
    assert await moving.size(location(1)) == len(CONTENT)
    assert await content_of(moving, location(1)) == CONTENT
    assert await everything(new) == []

    await copy.abort()
    assert await everything(moving) == [location(1)]
    assert [path for path in new._root.glob("*/*") if path.is_file()] == []


async def test_a_copy_that_somebody_else_made_stays(old: FileBlobStore, new: FileBlobStore) -> None:
    await stored(old, location(1), CONTENT)
    slow = await new.create_copy(location(1))
    await slow.write(CONTENT)

    assert (await copied(old, new)).copied == 1
    with pytest.raises(Unavailable):
        await slow.finish()
    await slow.abort()

    assert await content_of(new, location(1)) == CONTENT


async def test_half_a_blob_in_the_new_store_hides_no_whole_one(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    moving = MovingBlobStore(new, old)
    await stored(old, location(1), CONTENT)
    await stored(new, location(1), CONTENT[:100])

    assert await moving.size(location(1)) == len(CONTENT)
    assert await content_of(moving, location(1)) == CONTENT
    path = moving.path(location(1))
    assert path is not None
    assert path.read_bytes() == CONTENT


async def test_what_a_disk_has_lost_since_it_was_copied_is_read_from_the_copy_and_not_copied_again(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    moving = MovingBlobStore(new, old)
    await stored(old, location(1), CONTENT)
    await copied(old, new)
    (old._file(location(1))).write_bytes(CONTENT[:100])

    report = await copied(old, new)

    assert (report.copied, report.failed_count) == (0, 0)
    assert await content_of(new, location(1)) == CONTENT
    assert await moving.size(location(1)) == len(CONTENT)
    assert await content_of(moving, location(1)) == CONTENT
    assert moving.path(location(1)) == new.path(location(1))


class _Hung(FileBlobStore):
    """A store that cannot be asked."""

    async def size(self, location: str) -> int | None:
        raise Unavailable(message="The registry's storage failed.")


async def test_what_the_old_store_has_is_read_while_the_new_one_is_away(
    old: FileBlobStore, tmp_path: Path
) -> None:
    hung = _Hung(tmp_path / "hung", min_free_bytes=0, min_free_ratio=0)
    moving = MovingBlobStore(hung, old)
    await stored(old, location(1), CONTENT)

    assert await moving.size(location(1)) == len(CONTENT)
    assert await content_of(moving, location(1), 0, len(CONTENT)) == CONTENT
    with pytest.raises(Unavailable):
        await moving.size(location(2))
    await hung.close()


class _Slow(FileBlobStore):
    """A store to which somebody else has brought each location when a copy of it begins."""

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        writer = await super().create_copy(location, taps)
        await stored(self, location, CONTENT)
        return writer


async def test_an_upload_ends_though_a_copy_brings_its_part_meanwhile(
    old: FileBlobStore, tmp_path: Path
) -> None:
    slow = _Slow(tmp_path / "slow", min_free_bytes=0, min_free_ratio=0)
    await stored(old, location(1), CONTENT)
    await stored(slow, location(2), b"second")

    kept = await MovingBlobStore(slow, old).assemble([location(1), location(2)], location(3))

    assert await content_of(slow, kept) == CONTENT + b"second"
    await slow.close()


class _Away(FileBlobStore):
    """A store that went away."""

    begun = 0

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        self.begun += 1
        raise Unavailable(message="The registry's storage failed.")

    async def answers(self) -> bool:
        return False


async def test_a_copy_stops_where_a_store_is_away(old: FileBlobStore, tmp_path: Path) -> None:
    for number in range(3 * AT_ONCE):
        await stored(old, location(number), CONTENT)
    away = _Away(tmp_path / "away", min_free_bytes=0, min_free_ratio=0)

    with pytest.raises(Unavailable):
        await copied(old, away)

    assert 0 < away.begun <= AT_ONCE
    await away.close()


class _Together(FileBlobStore):
    """A store that begins no copy before so many are asked for."""

    barrier: asyncio.Barrier

    async def create_copy(self, location: str, taps: Sequence[Tap] = ()) -> PartWriter:
        await self.barrier.wait()
        return await super().create_copy(location, taps)


async def test_several_are_copied_at_a_time(old: FileBlobStore, tmp_path: Path) -> None:
    for number in range(2 * AT_ONCE):
        await stored(old, location(number), CONTENT)
    together = _Together(tmp_path / "together", min_free_bytes=0, min_free_ratio=0)
    together.barrier = asyncio.Barrier(AT_ONCE)

    async with asyncio.timeout(60):
        report = await copied(old, together)

    assert (report.found, report.copied, report.failed_count) == (2 * AT_ONCE, 2 * AT_ONCE, 0)
    assert await everything(together) == await everything(old)
    await together.close()


class _Forgetful(FileBlobStore):
    """A disk that gives back other bytes than it was given."""

    async def open(self, location: str, start: int, stop: int) -> AsyncIterator[bytes]:
        async for chunk in super().open(location, start, stop):
            yield b"\0" * len(chunk)


async def test_bytes_that_are_read_back_otherwise_are_no_copy(old: FileBlobStore, tmp_path: Path) -> None:
    await stored(old, location(1), CONTENT)
    forgetful = _Forgetful(tmp_path / "forgetful", min_free_bytes=0, min_free_ratio=0)

    report = await copied(old, forgetful)

    assert (report.copied, report.failed_count) == (0, 1)
    assert await everything(forgetful) == []
    await forgetful.close()


async def test_while_blobs_move_each_is_found_where_it_is(old: FileBlobStore, new: FileBlobStore) -> None:
    moving = MovingBlobStore(new, old)
    await stored(old, location(1), b"before")
    await stored(moving, location(2), b"after")

    assert await content_of(moving, location(1)) == b"before"
    assert await content_of(moving, location(2)) == b"after"
    assert await new.size(location(1)) is None
    assert await old.size(location(2)) is None
    assert await everything(moving) == sorted([location(1), location(2)])
    for number, content in ((1, b"before"), (2, b"after")):
        path = moving.path(location(number))
        assert path is not None
        assert path.read_bytes() == content
    assert moving.path(location(3)) is None

    await moving.remove([location(1), location(2)])
    assert await everything(moving) == []
    with pytest.raises(Unavailable):
        await content_of(moving, location(1), 0, 1)


async def test_servers_at_two_steps_of_a_move_see_and_remove_what_the_others_took(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    steps = [MovingBlobStore(old, new), MovingBlobStore(new, old)]
    places = [location(number) for number in range(2)]
    for store, where in zip(steps, places, strict=True):
        await stored(store, where, CONTENT)
    assert (await everything(old), await everything(new)) == ([places[0]], [places[1]])

    for store in steps:
        for where in places:
            assert await content_of(store, where) == CONTENT
        assert await everything(store) == sorted(places)
    await steps[0].remove(places)

    assert await everything(steps[1]) == []


async def test_copies_that_were_given_up_are_removed_after_their_time(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    begun = await new.create_copy(location(1))
    for _ in range(3):
        await begun.write(b"x" * BATCH_BYTES)  # the first of them is on disk by now

    assert await new.end_leftovers(begun_before=0) == 0
    assert await MovingBlobStore(new, old).end_leftovers(begun_before=2**60) == 1
    assert [path for path in new._root.glob("*/*") if path.is_file()] == []
    await begun.abort()


async def test_an_upload_that_began_before_the_move_ends_after_it(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    await stored(old, location(1), b"first, ")
    moving = MovingBlobStore(new, old)
    await stored(moving, location(2), b"second")

    kept = await moving.assemble([location(1), location(2)], location(3))

    assert await content_of(new, kept) == b"first, second"
    await stored(old, location(5), b"first, ")
    await stored(new, location(5), b"fir")  # an early copy, of what was still being written
    kept = await moving.assemble([location(5), location(2)], location(6))
    assert await content_of(new, kept) == b"first, second"
    assert await moving.assemble([location(1)], location(4)) == location(1)


# --- the marks of a copy ---


def copied_between(folder: Path) -> CopyReport:
    return copy(load({"data": str(folder)}, {}), folder / "old", folder / "new", lambda _: None)


def mark(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / MARK_NAME).write_text(f"{text}\n")


def mark_of(folder: Path) -> str | None:
    file = folder / MARK_NAME
    return file.read_text().strip() if file.exists() else None


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "moving-id"), ("moving-id", "moving-id"), ("filling-id", "id"), ("id", "id")],
)
def test_a_copy_that_finds_nothing_more_to_copy_marks_the_new_store_if_servers_write_to_it(
    tmp_path: Path, before: str | None, after: str
) -> None:
    mark(tmp_path / "old", "id")
    (tmp_path / "old" / "00").mkdir()
    (tmp_path / "old" / "00" / location(0).replace(location(0)[:2], "00", 1)).write_bytes(CONTENT)
    if before is not None:
        mark(tmp_path / "new", before)

    first = copied_between(tmp_path)
    assert (first.copied, first.is_complete) == (1, False)
    assert mark_of(tmp_path / "new") == (before or "moving-id"), (
        "servers may have written to the old one since"
    )
    second = copied_between(tmp_path)
    assert (second.copied, second.is_complete) == (0, after == "id")
    assert mark_of(tmp_path / "new") == after


@pytest.mark.parametrize("before", [None, "moving-id", "id"])
def test_a_copy_from_a_store_without_a_mark_says_nothing_of_what_it_did_not_find(
    tmp_path: Path, before: str | None
) -> None:
    (tmp_path / "old" / "00").mkdir(parents=True)
    if before is not None:
        mark(tmp_path / "new", before)

    copied_between(tmp_path)

    assert mark_of(tmp_path / "new") == before


@pytest.mark.parametrize("before", ["other", "moving-other", "filling-other"])
def test_nothing_is_copied_to_a_store_of_another_database(tmp_path: Path, before: str) -> None:
    mark(tmp_path / "old", "id")
    mark(tmp_path / "new", before)

    with pytest.raises(OperatorError, match="holds the blobs of another database"):
        copied_between(tmp_path)


def test_a_folder_without_blobs_is_no_source_and_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()

    with pytest.raises(OperatorError, match="is no folder of blobs"):
        copied_between(tmp_path)

    assert list((tmp_path / "old").iterdir()) == []


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    mark(tmp_path / "old", "id")
    (tmp_path / "new").write_text("a file")

    with pytest.raises(CannotStart, match=r"cannot use .*/new: File exists"):
        copied_between(tmp_path)


async def test_a_file_that_cannot_be_looked_at_is_no_file_that_is_not_there(
    old: FileBlobStore, new: FileBlobStore
) -> None:
    class Breaking(FileBlobStore):
        def path(self, location: str) -> Path | None:
            return self._root / (location * 10)  # ENAMETOOLONG, as a bad disk says EIO

    breaking = Breaking(old._root, min_free_bytes=0, min_free_ratio=0)

    with pytest.raises(Unavailable):
        MovingBlobStore(new, breaking).path(location(1))
    await breaking.close()
