"""Blobs in clear are sealed while everything goes on; whatever goes wrong, nothing leaks or is lost."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest

from openecr.adapters.blobs.s3 import S3BlobStore
from openecr.adapters.ids import SystemIds
from openecr.application.data_keys import DataKeys
from openecr.application.pacing import Pace, Pause
from openecr.application.scrubbing import Scrubbing, ScrubReport
from openecr.application.sealing import HOLD_SECONDS, RENEWALS, Sealing, SealReport, resumed
from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.domain.errors import StorageFull, Unavailable
from openecr.engines.sealing import SEGMENT_BYTES, decode, stored_size
from openecr.ports.blobs import BlobStore
from openecr.store.database import Database
from openecr.testing.faults import FaultyBlobStore
from tests.contract.databases import Databases
from tests.contract.fronts import Front
from tests.contract.shelves import ALL_BLOBS, ALL_DOOMED, LIMITS, Shelf
from tests.s3_servers import S3Server, swift_server

LARGE = hashlib.shake_256(b"large").digest(3 * SEGMENT_BYTES + 1000)
CONTENTS = (b"", b"x", b"in clear" * 100, LARGE, LARGE[:SEGMENT_BYTES])
FAST = 10**15


async def no_pause(seconds: float) -> None:
    del seconds


class ClearShelf(Shelf):
    """A shelf whose blobs were uploaded while encryption was switched off."""

    def __init__(self, databases: Databases, folder: Path, **options: Any) -> None:
        super().__init__(databases, folder, encrypts=False, **options)
        self.sealing = self.sealing_of()

    def sealing_of(
        self,
        *,
        database: Database | None = None,
        store: BlobStore | None = None,
        bytes_per_second: int = FAST,
        pause: Pause = no_pause,
    ) -> Sealing:
        """Another process's."""
        return Sealing(
            database=database or self.database,
            store=store or self.store,
            contents=self.contents if store is None else self.contents_of(store),
            data_keys=DataKeys(keys=self.keys, ids=SystemIds(), encrypts=True),
            pace=Pace(bytes_per_second, pause=pause),
            clock=self.clock,
            ids=SystemIds(),
            limits=self.limits,
        )

    async def seal(self, sealing: Sealing | None = None) -> SealReport:
        """Run the job once."""
        report = SealReport()
        while await (sealing or self.sealing).step(report):
            pass
        return report

    async def stored(self, blob: StoredBlob) -> bytes:
        """Return the bytes at a blob's location as they are."""
        size_bytes = await self.store.size(blob.location)
        assert size_bytes is not None
        return b"".join([bytes(chunk) async for chunk in self.store.open(blob.location, 0, size_bytes)])

    async def current(self, blob: StoredBlob) -> StoredBlob:
        """Return a blob as its row is now."""
        return await self.blobs.get(self.grant, blob.digest)

    async def let_holds_end(self) -> None:
        """Collect what a killed process has left behind, and what was replaced."""
        self.clock.move(seconds=HOLD_SECONDS + self.limits.sealed_from_seconds)
        await self.collection.run(self.collection.remove_doomed)

    async def check_tidy(self) -> None:
        """Check that nothing but blobs is stored once collection has come by."""
        await self.let_holds_end()
        await self.check()
        assert await self.locations() == {row[0] for row in await self.rows(ALL_BLOBS)}
        assert await self.rows(ALL_DOOMED) == []


@pytest.fixture(scope="module")
def swift() -> Iterator[S3Server]:
    with swift_server() as server:
        yield server


@pytest.fixture(params=["files", "S3"])
async def any_shelf(
    request: pytest.FixtureRequest, databases: Databases, tmp_path: Path
) -> AsyncIterator[ClearShelf]:
    """On either kind of store."""
    files: Any = None
    if request.param == "S3":
        swift = cast("S3Server", request.getfixturevalue("swift"))
        files = S3BlobStore(swift.options(swift.make_bucket()))
    shelf = await open_shelf(databases, tmp_path, files=files)
    yield shelf
    await shelf.check_tidy()
    await shelf.files.close()


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[ClearShelf]:
    shelf = await open_shelf(databases, tmp_path)
    yield shelf
    await shelf.check_tidy()
    await shelf.files.close()


async def open_shelf(databases: Databases, folder: Path, **options: Any) -> ClearShelf:
    shelf = ClearShelf(databases, folder, limits=replace(LIMITS, link_grace_seconds=10**9), **options)
    await shelf.open()
    return shelf


async def test_what_is_in_clear_is_sealed_and_reads_as_it_did(any_shelf: ClearShelf) -> None:
    before = [await any_shelf.push(content) for content in CONTENTS]
    before.append(await any_shelf.push(LARGE, algorithm="sha512"))
    before.append(await any_shelf.push(LARGE[:10], LARGE[10:20]))
    contents = [*CONTENTS, LARGE, LARGE[:20]]

    report = await any_shelf.seal()

    assert (report.sealed, report.unreadable) == (len(before), 0)
    assert report.sealed_bytes == sum(map(len, contents))
    for old, content in zip(before, contents, strict=True):
        blob = await any_shelf.current(old)
        assert blob.header is not None
        assert blob.location != old.location
        assert sum(extent.size_bytes for extent in decode(blob.header).extents) == len(content)
        assert await any_shelf.read(blob) == content
        stored = await any_shelf.stored(blob)
        assert len(stored) == stored_size(len(content))
        assert len(content) < 16 or content[:16] not in stored
        assert await any_shelf.read(old) == content, "who has found it before reads on"
    await any_shelf.check()

    any_shelf.clock.move(seconds=any_shelf.limits.sealed_from_seconds - 1)
    await any_shelf.collection.run(any_shelf.collection.remove_doomed)
    for old, content in zip(before, contents, strict=True):
        assert await any_shelf.stored(old) == content, "a backup of the database names it"

    any_shelf.clock.move(seconds=1)
    await any_shelf.collection.run(any_shelf.collection.remove_doomed)

    assert not await any_shelf.locations() & {old.location for old in before}


async def test_what_is_sealed_is_left_alone(shelf: ClearShelf) -> None:
    await shelf.push(b"in clear")
    await shelf.seal()
    shelf.data_keys = DataKeys(keys=shelf.keys, ids=SystemIds(), encrypts=True)
    shelf.uploads = shelf.another_process()
    await shelf.push(b"sealed at once")
    rows = await shelf.rows(ALL_BLOBS)

    assert await shelf.seal() == SealReport(), "nothing was looked at"
    assert await shelf.rows(ALL_BLOBS) == rows


async def test_each_blob_has_a_key_of_its_own(shelf: ClearShelf) -> None:
    blobs = [await shelf.push(content) for content in (b"one", b"other")]
    await shelf.seal()

    keys = set()
    for blob in [await shelf.current(blob) for blob in blobs]:
        assert blob.header is not None
        assert blob.sealed_key is not None
        keys.add(shelf.data_keys.of_blob(blob.digest, blob.header, blob.sealed_key))
    assert len(keys) == 2


async def test_an_interrupted_job_goes_on_and_a_finished_one_begins_again(shelf: ClearShelf) -> None:
    for number in range(3):
        await shelf.push(b"content %d" % number)
    report = SealReport()
    assert await shelf.sealing.step(report)
    assert (report.sealed, await shelf.sealing.step(report)) == (1, True)

    report = resumed(asdict(report))
    while await shelf.sealing.step(report):
        pass

    assert (report.sealed, report.sealed_bytes) == (3, 27)
    report.is_done = True
    assert resumed(asdict(report)) == resumed({}) == SealReport()


@pytest.mark.parametrize("damage", ["flipped", "cut short", "gone"])
async def test_what_is_damaged_is_told_and_left_to_scrubbing(shelf: ClearShelf, damage: str) -> None:
    bad, good = await shelf.push(LARGE), await shelf.push(b"good")
    file = shelf.files.path(bad.location)
    assert file is not None
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(LARGE[:-1] if damage == "cut short" else LARGE[:-1] + b"\0")

    report = await shelf.seal()

    assert (report.sealed, report.unreadable) == (1, 1)
    assert await shelf.current(bad) == bad
    assert (await shelf.current(good)).header is not None
    assert len(await shelf.locations() - {bad.location}) <= 3, "the copy, and both of what was sealed"
    found = ScrubReport()
    scrubbing = Scrubbing(
        database=shelf.database,
        store=shelf.store,
        read=shelf.blobs.open,
        losses=shelf.losses,
        clock=shelf.clock,
        pace=Pace(FAST, pause=no_pause),
    )
    while await scrubbing.step(found):
        pass
    assert found.lost == [str(bad.digest)]
    await shelf.push(LARGE)  # which heals it
    assert (await shelf.seal()).sealed == 1


@pytest.mark.parametrize("after", [False, True])
async def test_whichever_call_to_the_store_fails_nothing_leaks(shelf: ClearShelf, *, after: bool) -> None:
    content = LARGE[: SEGMENT_BYTES + 7]
    blob = await shelf.push(content)
    raised = number = 0
    report = SealReport()
    while not report.sealed:
        number += 1
        report = SealReport()
        faulty = FaultyBlobStore(shelf.store, fail_at=number, after=after)
        try:
            await shelf.sealing_of(store=faulty).step(report)
        except Unavailable:
            raised += 1
        assert report.unreadable == 0, "a store that is away says nothing of the bytes"
        await shelf.check()
        assert await shelf.read(await shelf.current(blob)) == content
        await shelf.let_holds_end()
        assert len(await shelf.locations()) == 1
    assert raised > 5
    assert number > 6


class Killed(BaseException):
    """The process is no more."""


class DyingDatabase(Front):
    """A database at whose nth unit of work the process is killed, before or after it is committed."""

    def __init__(self, database: Database, *, at: int, after: bool) -> None:
        super().__init__(database)
        self._left = at
        self._after = after

    async def write(self, work: Callable[[Any], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        result = await super().write(work)
        if self._left == 0:
            raise Killed
        return result


@pytest.mark.parametrize(("at", "after"), [(1, False), (1, True), (2, False), (2, True)])
async def test_a_process_that_is_killed_between_two_calls_leaks_nothing(
    any_shelf: ClearShelf, at: int, *, after: bool
) -> None:
    blob = await any_shelf.push(LARGE)
    dying = DyingDatabase(any_shelf.database, at=at, after=after)

    with pytest.raises(Killed):
        await any_shelf.seal(any_shelf.sealing_of(database=dying))

    is_written = at == 2
    assert len(await any_shelf.locations()) == 1 + is_written
    await any_shelf.check()
    await any_shelf.collection.run(any_shelf.collection.remove_doomed)
    assert len(await any_shelf.locations()) == 1 + is_written, "nobody knows yet that it was killed"
    await any_shelf.check_tidy()
    assert ((await any_shelf.current(blob)).header is not None) is (at == 2 and after)
    assert (await any_shelf.seal()).unreadable == 0
    assert await any_shelf.read(await any_shelf.current(blob)) == LARGE


async def test_a_copy_that_takes_long_is_not_taken_away(shelf: ClearShelf) -> None:
    blob = await shelf.push(LARGE)
    pauses = 0

    async def pause(seconds: float) -> None:
        nonlocal pauses
        assert seconds > 0
        pauses += 1
        shelf.clock.move(seconds=HOLD_SECONDS / RENEWALS * 2)
        await shelf.collection.run(shelf.collection.remove_doomed)

    report = await shelf.seal(shelf.sealing_of(bytes_per_second=1, pause=pause))

    assert pauses >= RENEWALS, "it took longer than one hold"
    assert report.sealed == 1
    assert await shelf.read(await shelf.current(blob)) == LARGE


@pytest.mark.parametrize("is_collected", [False, True])
async def test_a_copy_whose_process_stood_still_for_too_long_is_given_up(
    shelf: ClearShelf, *, is_collected: bool
) -> None:
    blob = await shelf.push(LARGE)

    async def pause(seconds: float) -> None:
        del seconds
        shelf.clock.move(seconds=HOLD_SECONDS)
        if is_collected:
            await shelf.collection.run(shelf.collection.remove_doomed)

    report = await shelf.seal(shelf.sealing_of(bytes_per_second=1, pause=pause))

    assert (report.sealed, report.unreadable) == (0, 0)
    assert await shelf.current(blob) == blob
    assert await shelf.read(blob) == LARGE
    await shelf.collection.run(shelf.collection.remove_doomed)
    assert await shelf.locations() == {blob.location}, "it goes at once"
    assert (await shelf.seal()).sealed == 1


async def test_a_full_disk_is_left_to_uploads(shelf: ClearShelf) -> None:
    blob = await shelf.push(b"in clear")
    full = FaultyBlobStore(shelf.store, fail_at=1, error=StorageFull)

    with pytest.raises(StorageFull):
        await shelf.seal(shelf.sealing_of(store=full))

    assert full.calls == 1
    assert await shelf.rows(ALL_DOOMED) == []
    assert await shelf.current(blob) == blob


async def test_a_reader_is_told_of_its_blob_by_whichever_row_it_found(shelf: ClearShelf) -> None:
    blob = await shelf.push(LARGE)
    reading = shelf.blobs.open(blob, 0, len(LARGE))
    first = await anext(reading)

    await shelf.seal()

    sealed = await shelf.blobs.find(shelf.grant, Digest.of(LARGE))
    assert sealed is not None
    for start, stop in ((0, 1), (SEGMENT_BYTES - 1, SEGMENT_BYTES + 1), (5, len(LARGE))):
        for each in (blob, sealed):
            chunks = [chunk async for chunk in shelf.blobs.open(each, start, stop)]
            assert b"".join(chunks) == LARGE[start:stop]
    assert first + b"".join([chunk async for chunk in reading]) == LARGE
