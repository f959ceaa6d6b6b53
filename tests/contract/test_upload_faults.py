"""Storage that fails in the middle of an upload loses nothing and leaves nothing, on both databases."""

from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

import anyio
import pytest

from openecr.domain.digests import Digest
from openecr.domain.errors import Unavailable, UploadNotFound
from openecr.ports.blobs import BlobStore
from openecr.testing.faults import FaultyBlobStore
from tests.contract.databases import Databases
from tests.contract.shelves import ALL_BLOBS, LIMITS, Shelf, chunks_of

CONTENT = bytes(range(256)) * 8
HALF = len(CONTENT) // 2
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.check()
    await shelf.files.close()


@pytest.mark.parametrize("after", [False, True], ids=["instead of its work", "after its work"])
async def test_whichever_call_of_the_storage_fails_nothing_is_lost_and_nothing_left(
    databases: Databases, tmp_path: Path, after: bool
) -> None:
    failures = 0
    files = Shelf(databases, tmp_path).files
    for number in range(1, 100):
        store = FaultyBlobStore(files, fail_at=number, after=after)
        shelf = await Shelf(databases, tmp_path, blobs=store, files=files).open(f"app-{number}")
        content = b"%d" % number + CONTENT
        try:
            await shelf.push(content[:HALF], content[HALF:], algorithm="sha512")
        except Unavailable:
            failures += 1
            assert await shelf.blobs.find(shelf.grant, Digest.of(content, "sha512")) is None
        calls, store.fail_at = store.calls, None
        await shelf.check()
        await shelf.push(content[:HALF], content[HALF:])
        await shelf.check_settled()
        if calls < number:
            break

    assert failures > 8
    assert failures == number - 1
    await files.close()


async def test_an_acknowledged_blob_is_stored_before_it_is_named(
    databases: Databases, tmp_path: Path
) -> None:
    shelf = await Shelf(databases, tmp_path).open()

    await shelf.push(CONTENT)

    await shelf.check()
    assert len(await shelf.rows(ALL_BLOBS)) == 1
    await shelf.files.close()


class _Pausing(FaultyBlobStore):
    """Lets somebody else in between the removal of bytes and the row that names them."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.is_removed = anyio.Event()
        self.may_go_on = anyio.Event()

    async def remove(self, locations: Sequence[str]) -> Collection[str]:
        stayed = await super().remove(locations)
        self.is_removed.set()
        await self.may_go_on.wait()
        return stayed


async def test_bytes_that_are_written_while_their_location_is_being_removed_go_too(
    databases: Databases, tmp_path: Path
) -> None:
    files = Shelf(databases, tmp_path).files
    store = _Pausing(files)
    shelf = await Shelf(databases, tmp_path, blobs=store, files=files).open()
    upload_id = (await shelf.uploads.start(shelf.grant)).id
    await shelf.uploads.append(shelf.grant, upload_id, chunks_of(CONTENT))

    async with anyio.create_task_group() as group:

        async def ended() -> AsyncIterator[bytes]:
            yield b"late"
            shelf.clock.move(seconds=LIMITS.upload_idle_seconds)
            await shelf.collection.expire_uploads()
            shelf.clock.move(seconds=LIMITS.doomed_seconds)
            group.start_soon(shelf.collection.remove_doomed)
            await store.is_removed.wait()

        with pytest.raises(UploadNotFound):
            await shelf.uploads.append(shelf.grant, upload_id, ended())
        store.may_go_on.set()

    await shelf.check_settled()
    await files.close()
