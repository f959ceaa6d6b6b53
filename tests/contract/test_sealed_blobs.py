"""Blobs are sealed where they are stored, and read as they came, whoever wrote which part of them."""

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys
from openecr.domain.blobs import StoredBlob
from openecr.domain.digests import Digest
from openecr.domain.errors import ContentDamaged, Unavailable, UploadInterrupted
from openecr.engines.sealing import SEGMENT_BYTES, decode, stored_size
from tests.contract.databases import Databases
from tests.contract.shelves import Shelf, chunks_of, digests_of, interrupted_after

CONTENT = hashlib.shake_256(b"content").digest(2 * SEGMENT_BYTES + 1000)
DIGEST = Digest.of(CONTENT)


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.check()
    await shelf.files.close()


@dataclass
class Processes:
    """Servers over the same data, of other settings or keys."""

    shelf: Shelf

    def uploads_in_clear(self) -> None:
        """Let uploads begin as they do where encryption is switched off."""
        self.shelf.data_keys = DataKeys(keys=self.shelf.keys, ids=SystemIds(), encrypts=False)
        self.shelf.uploads = self.shelf.another_process()

    def uploads_sealed(self) -> None:
        self.shelf.data_keys = DataKeys(keys=self.shelf.keys, ids=SystemIds(), encrypts=True)
        self.shelf.uploads = self.shelf.another_process()

    def contents(self, **keys: bytes) -> Contents:
        """Another process's, with its own ring."""
        ring = MasterKeyRing({int(number[1:]): key for number, key in keys.items()})
        data_keys = DataKeys(keys=ring, ids=SystemIds(), encrypts=True)
        return Contents(store=self.shelf.store, data_keys=data_keys)


@pytest.fixture
def processes(shelf: Shelf) -> Processes:
    return Processes(shelf)


def file_of(shelf: Shelf, blob: StoredBlob) -> Path:
    path = shelf.files.path(blob.location)
    assert path is not None
    return path


async def read(contents: Contents, blob: StoredBlob) -> bytes:
    return b"".join([chunk async for chunk in contents.open(blob, 0, blob.size_bytes)])


async def test_nothing_of_the_content_is_stored_as_it_is(shelf: Shelf) -> None:
    blob = await shelf.push(CONTENT)
    stored = file_of(shelf, blob).read_bytes()

    assert len(stored) == stored_size(len(CONTENT))
    assert all(CONTENT[start : start + 16] not in stored for start in range(0, len(CONTENT), 1009))
    assert blob.size_bytes == len(CONTENT)
    assert await shelf.read(blob) == CONTENT


async def test_what_is_pushed_twice_is_stored_once_under_its_first_key(shelf: Shelf) -> None:
    other = await shelf.create("other")
    first = await shelf.push(CONTENT)

    assert await shelf.push(CONTENT, grant=other) == first
    assert await shelf.blobs.get(other, DIGEST) == first


async def test_two_blobs_have_two_keys(shelf: Shelf) -> None:
    one, other = await shelf.push(b"one"), await shelf.push(b"other")
    assert one.header is not None
    assert other.header is not None
    assert one.sealed_key is not None
    assert other.sealed_key is not None

    keys = {
        shelf.data_keys.of_blob(blob.digest, blob.header or b"", blob.sealed_key or b"")
        for blob in (one, other)
    }
    assert len(keys) == 2


async def test_each_part_of_an_upload_is_an_extent(shelf: Shelf) -> None:
    pieces = (CONTENT[:1], CONTENT[1 : SEGMENT_BYTES + 2], CONTENT[SEGMENT_BYTES + 2 :])
    blob = await shelf.push(*pieces)
    assert blob.header is not None

    assert [extent.size_bytes for extent in decode(blob.header).extents] == list(map(len, pieces))
    assert await shelf.read(blob) == CONTENT
    for start, stop in (
        (0, 1),
        (0, 2),
        (SEGMENT_BYTES - 5, SEGMENT_BYTES + 900),
        (len(CONTENT) - 1, len(CONTENT)),
    ):
        chunks = [chunk async for chunk in shelf.blobs.open(blob, start, stop)]
        assert b"".join(chunks) == CONTENT[start:stop]


async def test_an_empty_blob_is_sealed_and_read(shelf: Shelf) -> None:
    blob = await shelf.push()

    assert blob.header is not None
    assert file_of(shelf, blob).read_bytes() == await shelf.read(blob) == b""


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_another_process_goes_on_with_an_upload(shelf: Shelf, algorithm: str) -> None:
    upload = await shelf.uploads.start(shelf.grant)
    half = len(CONTENT) // 2
    await shelf.uploads.append(shelf.grant, upload.id, chunks_of(CONTENT[:half]))
    other = shelf.another_process()
    await other.append(shelf.grant, upload.id, chunks_of(CONTENT[half:]))

    blob = await shelf.another_process().finish(
        shelf.grant, upload.id, digests_of(CONTENT, algorithm=algorithm)
    )

    assert await shelf.read(blob) == CONTENT


async def test_what_was_interrupted_goes_on_where_it_stopped(shelf: Shelf) -> None:
    upload = await shelf.uploads.start(shelf.grant)
    with pytest.raises(UploadInterrupted):
        await shelf.uploads.append(shelf.grant, upload.id, interrupted_after(CONTENT[: SEGMENT_BYTES + 5]))
    rest = chunks_of(CONTENT[SEGMENT_BYTES + 5 :])

    blob = await shelf.another_process().finish(shelf.grant, upload.id, [DIGEST], chunks=rest)

    assert await shelf.read(blob) == CONTENT


async def test_uploads_that_began_in_clear_stay_so_and_those_that_began_sealed_too(
    shelf: Shelf, processes: Processes
) -> None:
    processes.uploads_in_clear()
    clear = await shelf.uploads.start(shelf.grant)
    await shelf.uploads.append(shelf.grant, clear.id, chunks_of(b"in "))
    processes.uploads_sealed()
    sealed = await shelf.uploads.start(shelf.grant)
    await shelf.uploads.append(shelf.grant, sealed.id, chunks_of(b"sea"))
    blob = await shelf.uploads.finish(
        shelf.grant, clear.id, digests_of(b"in clear"), chunks=chunks_of(b"clear")
    )
    processes.uploads_in_clear()
    other = await shelf.uploads.finish(
        shelf.grant, sealed.id, digests_of(b"sealed"), chunks=chunks_of(b"led")
    )

    assert (blob.header, blob.sealed_key) == (None, None)
    assert file_of(shelf, blob).read_bytes() == b"in clear"
    assert other.header is not None
    assert (await shelf.read(blob), await shelf.read(other)) == (b"in clear", b"sealed")


@pytest.mark.parametrize("begin", [Processes.uploads_in_clear, Processes.uploads_sealed])
async def test_lost_content_is_healed_in_the_way_of_the_day(
    shelf: Shelf, processes: Processes, begin: Callable[[Processes], None]
) -> None:
    for way in (Processes.uploads_in_clear, Processes.uploads_sealed):
        way(processes)
        await shelf.push(CONTENT)
        await shelf.lose(DIGEST)
    begin(processes)

    blob = await shelf.push(CONTENT)

    assert await shelf.blobs.get(shelf.grant, DIGEST) == blob
    assert (blob.header is None) == (begin is Processes.uploads_in_clear)
    assert await shelf.read(blob) == CONTENT


@pytest.mark.parametrize("position", [0, 11, 12, SEGMENT_BYTES, SEGMENT_BYTES + 30, -1])
async def test_nothing_of_a_damaged_segment_is_read(shelf: Shelf, position: int) -> None:
    blob = await shelf.push(CONTENT)
    file = file_of(shelf, blob)
    stored = bytearray(file.read_bytes())
    stored[position] ^= 1
    file.write_bytes(stored)
    given: list[bytes] = []

    async def read_on() -> None:
        async for chunk in shelf.blobs.open(blob, 0, len(CONTENT)):
            given.append(chunk)  # noqa: PERF401 -- what came before it fails

    with pytest.raises(ContentDamaged):
        await read_on()

    assert CONTENT.startswith(b"".join(given))
    assert len(b"".join(given)) <= position % len(stored) // (SEGMENT_BYTES + 28) * SEGMENT_BYTES
    stored[position] ^= 1
    file.write_bytes(stored)


async def test_bytes_that_are_cut_short_are_unreadable(shelf: Shelf) -> None:
    blob = await shelf.push(CONTENT)
    file = file_of(shelf, blob)
    stored = file.read_bytes()
    file.write_bytes(stored[: SEGMENT_BYTES + 28])

    with pytest.raises(Unavailable):
        await shelf.read(blob)
    file.write_bytes(stored)


async def test_rows_whose_keys_were_exchanged_are_unreadable(shelf: Shelf) -> None:
    one, other = await shelf.push(b"one"), await shelf.push(b"two")
    for digest, header, key in (
        (one.digest, one.header, other.sealed_key),
        (one.digest, other.header, other.sealed_key),
        (other.digest, one.header, other.sealed_key),
        (one.digest, one.header, None),
        (one.digest, one.header, b"no key"),
    ):
        blob = StoredBlob(
            blob_id=1, digest=digest, size_bytes=3, location=one.location, header=header, sealed_key=key
        )
        with pytest.raises(Unavailable):
            await read(shelf.contents, blob)


async def test_a_ring_opens_what_an_older_key_of_it_has_sealed_and_nothing_else(
    shelf: Shelf, processes: Processes
) -> None:
    blob = await shelf.push(CONTENT)
    newer = processes.contents(k1=b"k" * MASTER_KEY_BYTES, k2=b"n" * MASTER_KEY_BYTES)
    foreign = processes.contents(k1=b"f" * MASTER_KEY_BYTES)

    assert await read(newer, blob) == CONTENT
    with pytest.raises(Unavailable):
        await read(foreign, blob)
