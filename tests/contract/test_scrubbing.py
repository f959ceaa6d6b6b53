"""Scrubbing believes what it has proven: a store that is another one loses nothing, and what is good again is found."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.ids import SystemIds
from openecr.application.losses import Losses
from openecr.application.pacing import Pace
from openecr.application.scrubbing import AuditReport, Read, Scrubbing, ScrubReport
from openecr.application.store_identity import PlacedStore, StoreIdentity
from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.domain.errors import Unavailable
from tests.contract.databases import Databases
from tests.contract.shelves import ALL_DOOMED, Shelf

CONTENTS = [b"%d" % number * 5000 for number in range(3)]


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    await identity(shelf, shelf.files).prove()
    yield shelf
    await shelf.files.close()


def identity(shelf: Shelf, store: FileBlobStore) -> StoreIdentity:
    return StoreIdentity(database=shelf.database, stores=[PlacedStore("the place", store)], ids=SystemIds())


def scrubbing(shelf: Shelf, store: FileBlobStore | None = None, read: Read | None = None) -> Scrubbing:
    used = store or shelf.files
    return Scrubbing(
        database=shelf.database,
        store=used,
        read=read or shelf.blobs.open,
        losses=Losses(
            database=shelf.database,
            store=used,
            contents=shelf.contents,
            check_store=identity(shelf, used).check,
        ),
        clock=shelf.clock,
        pace=Pace(2**40),
    )


async def scrubbed(shelf: Shelf) -> ScrubReport:
    report = ScrubReport()
    while await scrubbing(shelf).step(report):
        pass
    return report


def file_of(shelf: Shelf, blob: StoredBlob) -> Path:
    path = shelf.files.path(blob.location)
    assert path is not None
    return path


def names(*contents: bytes) -> list[str]:
    return [str(Digest.of(content)) for content in contents]


async def test_a_store_that_is_not_the_right_one_loses_nothing(shelf: Shelf, tmp_path: Path) -> None:
    await shelf.push(CONTENTS[0])
    wrong = FileBlobStore(tmp_path / "wrong", min_free_bytes=0, min_free_ratio=0)
    writer = await wrong.create_part("ab" * 24)
    await writer.finish()

    with pytest.raises(Unavailable):
        await scrubbing(shelf, wrong).step(ScrubReport())
    with pytest.raises(Unavailable):
        await scrubbing(shelf, wrong).audit(remove_orphans=True)

    assert await shelf.blobs.find(shelf.grant, Digest.of(CONTENTS[0])) is not None
    assert await shelf.rows(ALL_DOOMED) == []
    await wrong.close()


async def test_what_is_damaged_on_its_way_once_is_not_lost(shelf: Shelf) -> None:
    await shelf.push(CONTENTS[0])
    reads: list[StoredBlob] = []

    async def read(blob: StoredBlob, start: int, stop: int) -> AsyncGenerator[bytes]:
        reads.append(blob)
        async for chunk in shelf.blobs.open(blob, start, stop):
            yield bytes(len(chunk)) if len(reads) == 1 else chunk

    report = ScrubReport()
    await scrubbing(shelf, read=read).step(report)

    assert (report.checked, report.lost_count, len(reads)) == (1, 0, 2)
    assert await shelf.blobs.find(shelf.grant, Digest.of(CONTENTS[0])) is not None


async def test_what_is_lost_stays_in_the_reports_until_it_is_good_again(shelf: Shelf) -> None:
    blobs = [await shelf.push(content) for content in CONTENTS]
    kept = file_of(shelf, blobs[0]).read_bytes()
    file_of(shelf, blobs[0]).unlink()
    file_of(shelf, blobs[1]).write_bytes(b"")

    audited = await scrubbing(shelf).audit(remove_orphans=False)
    reports = [await scrubbed(shelf), await scrubbed(shelf)]
    again = await scrubbing(shelf).audit(remove_orphans=False)
    file_of(shelf, blobs[0]).write_bytes(kept)
    found = await scrubbed(shelf)

    assert (audited.missing, audited.damaged) == (names(CONTENTS[0]), names(CONTENTS[1]))
    assert [(report.lost, report.lost_count) for report in reports] == [(names(*CONTENTS[:2]), 2)] * 2
    assert (again.lost, again.lost_count, again.missing, again.damaged) == (names(*CONTENTS[:2]), 2, [], [])
    assert (found.lost, found.found_again) == (names(CONTENTS[1]), 1)
    assert await shelf.read(await shelf.blobs.get(shelf.grant, Digest.of(CONTENTS[0]))) == CONTENTS[0]


async def test_an_audit_of_what_is_whole_finds_nothing(shelf: Shelf) -> None:
    await shelf.push(CONTENTS[0][:99], CONTENTS[0][99:])
    await shelf.collect_everything()
    await shelf.push(CONTENTS[1])

    assert await scrubbing(shelf).audit(remove_orphans=False) == AuditReport(stored=1, blobs=1)
