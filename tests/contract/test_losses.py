"""Bytes that are gone are noticed by whoever meets it first, a reader or a pusher, and the next push heals them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.domain.errors import ContentDamaged, LayerNotFound, Unavailable
from openecr.testing.faults import FaultyBlobStore
from tests.contract.databases import Databases
from tests.contract.shelves import Shelf

CONTENT = bytes(range(256)) * 2000
DIGEST = Digest.of(CONTENT)


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.files.close()


def file_of(shelf: Shelf, blob: StoredBlob) -> Path:
    path = shelf.files.path(blob.location)
    assert path is not None
    return path


def damage(file: Path, how: str) -> None:
    stored = file.read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "short":
        file.write_bytes(stored[:-1])
    else:
        file.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))


async def read(shelf: Shelf, blob: StoredBlob) -> bytes:
    chunks = await shelf.blobs.begin(shelf.grant, blob, 0, blob.size_bytes)
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("how", ["gone", "short", "flipped"])
async def test_the_first_read_that_fails_is_the_last_that_finds_the_blob(shelf: Shelf, how: str) -> None:
    blob = await shelf.push(CONTENT)
    damage(file_of(shelf, blob), how)

    with pytest.raises(LayerNotFound):
        await read(shelf, blob)

    assert await shelf.blobs.find(shelf.grant, DIGEST) is None
    with pytest.raises(LayerNotFound):
        await shelf.blobs.get(shelf.grant, DIGEST)
    assert await read(shelf, await shelf.push(CONTENT)) == CONTENT
    await shelf.check()


async def test_a_read_that_fails_once_takes_nothing_away(databases: Databases, tmp_path: Path) -> None:
    files = Shelf(databases, tmp_path).files

    def damaged() -> Exception:
        return ContentDamaged(message="A layer could not be read")

    for error in (damaged, None):
        store = FaultyBlobStore(files) if error is None else FaultyBlobStore(files, error=error)
        shelf = await Shelf(databases, tmp_path, blobs=store, files=files).open(f"app-{error is None}")
        blob = await shelf.push(CONTENT)
        store.fail_at = store.calls + 1

        with pytest.raises(Unavailable):
            await read(shelf, blob)
        assert await read(shelf, blob) == CONTENT
        assert await shelf.blobs.find(shelf.grant, DIGEST) is not None
    await files.close()


@pytest.mark.parametrize("how", ["gone", "short"])
async def test_a_push_of_what_is_there_heals_it_where_its_bytes_are_gone(shelf: Shelf, how: str) -> None:
    grants = [shelf.grant, await shelf.create("another")]
    blob = await shelf.push(CONTENT, grant=grants[0])
    damage(file_of(shelf, blob), how)

    healed = await shelf.push(CONTENT[:1000], CONTENT[1000:], grant=grants[1])

    assert healed.location != blob.location
    for grant in grants:
        found = await shelf.blobs.get(grant, DIGEST)
        assert await shelf.read(found) == CONTENT
    await shelf.check()


async def test_looking_costs_a_push_one_question_and_only_where_the_content_is_there(
    databases: Databases, tmp_path: Path
) -> None:
    files = Shelf(databases, tmp_path).files
    store = FaultyBlobStore(files)
    shelf = await Shelf(databases, tmp_path, blobs=store, files=files).open()
    calls = []
    for _ in range(2):
        before = store.calls
        await shelf.push(CONTENT)
        calls.append(store.calls - before)

    assert calls[1] == calls[0] + 1
    await files.close()


async def test_a_store_that_is_away_says_nothing_about_blobs(databases: Databases, tmp_path: Path) -> None:
    files = Shelf(databases, tmp_path).files
    store = FaultyBlobStore(files)
    shelf = await Shelf(databases, tmp_path, blobs=store, files=files).open()
    blob = await shelf.push(CONTENT)
    damage(file_of(shelf, blob), "gone")
    store.fail_at = store.calls + 2  # the look after the read

    with pytest.raises(ContentDamaged):
        await read(shelf, blob)

    assert await shelf.blobs.find(shelf.grant, DIGEST) is not None
    await files.close()
