"""Storage that fails in the middle of an upload loses nothing and leaves nothing, on both databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openecr.domain.digests import Digest
from openecr.domain.errors import (
    Unavailable,
)
from openecr.testing.faults import FaultyBlobStore
from tests.contract.databases import Databases
from tests.contract.shelves import (
    ALL_BLOBS,
    Shelf,
)

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
