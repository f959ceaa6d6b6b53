"""What every blob store promises. A test class per store inherits this and gives the fixture `store`."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openecr.domain.errors import ContentDamaged, Unavailable
from openecr.ports.blobs import BlobStore, PartWriter

LOCATION = "0" * 48
CONTENT = bytes(range(256)) * 41
LARGE = hashlib.shake_256(b"large").digest(3_500_001)
"""More than what a store may hold back in memory."""


def location(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:48]


def pieces_of(content: bytes, *cuts: int) -> list[bytes]:
    return [content[start:stop] for start, stop in pairwise([0, *cuts, len(content)])]


async def stored(store: BlobStore, where: str, *pieces: bytes) -> int:
    writer = await store.create_part(where)
    for piece in pieces:
        await writer.write(piece)
    return await writer.finish()


async def finished(writer: PartWriter, content: bytes) -> int:
    await writer.write(content)
    return await writer.finish()


async def content_of(store: BlobStore, where: str, start: int = 0, stop: int | None = None) -> bytes:
    if stop is None:
        stop = await store.size(where)
        assert stop is not None
    return b"".join([chunk async for chunk in store.open(where, start, stop)])


async def everything(store: BlobStore) -> list[str]:
    return sorted([found async for found in store.iterate()])


class BlobStoreContract:
    """The suite."""

    @pytest.mark.parametrize(
        "pieces",
        [
            [],
            [b""],
            [b"x"],
            [CONTENT],
            pieces_of(CONTENT, 1, 2, 5000),
            [b"", CONTENT, b"", b"tail", b""],
            [LARGE],
            pieces_of(LARGE, 1, 2_000_000, 2_000_001),
            pieces_of(LARGE, *range(65_536, len(LARGE), 65_536)),
            pieces_of(CONTENT, *range(1, len(CONTENT), 2)),
        ],
        ids=lambda pieces: f"{len(pieces)} pieces of {sum(map(len, pieces))}",
    )
    async def test_a_finished_part_is_read_as_it_was_written(
        self, store: BlobStore, pieces: Sequence[bytes]
    ) -> None:
        whole = b"".join(pieces)

        assert await stored(store, LOCATION, *pieces) == len(whole)
        assert await store.size(LOCATION) == len(whole)
        assert await content_of(store, LOCATION) == whole

    @pytest.mark.parametrize("content", [b"", CONTENT, LARGE], ids=len)
    async def test_a_tap_sees_every_byte_once_and_in_order(self, store: BlobStore, content: bytes) -> None:
        one, other = hashlib.sha256(), hashlib.sha512()
        writer = await store.create_part(LOCATION, [one.update, other.update])
        for piece in pieces_of(content, *range(100_000, len(content), 100_000)):
            await writer.write(piece)
        await writer.finish()

        assert one.digest() == hashlib.sha256(content).digest()
        assert other.digest() == hashlib.sha512(content).digest()

    async def test_any_range_is_read(self, store: BlobStore) -> None:
        await stored(store, LOCATION, LARGE)

        for start, stop in [(0, 1), (0, 0), (5, 5), (1, 2), (262_143, 262_145), (3_500_000, 3_500_001)]:
            assert await content_of(store, LOCATION, start, stop) == LARGE[start:stop]
        assert await content_of(store, LOCATION, 17, 3_000_000) == LARGE[17:3_000_000]

    async def test_what_is_not_there_has_no_size_and_cannot_be_read(self, store: BlobStore) -> None:
        assert await store.size(LOCATION) is None
        with pytest.raises(ContentDamaged):
            await content_of(store, LOCATION, 0, 1)

    async def test_a_read_behind_the_end_is_told(self, store: BlobStore) -> None:
        await stored(store, LOCATION, b"abc")

        for start, stop in ((0, 4), (2, 4), (3, 4), (7, 9)):
            with pytest.raises(ContentDamaged):
                await content_of(store, LOCATION, start, stop)

    async def test_a_location_is_never_written_twice(self, store: BlobStore) -> None:
        await stored(store, LOCATION, b"first")

        with pytest.raises(Unavailable):
            await stored(store, LOCATION, b"second")
        assert await content_of(store, LOCATION) == b"first"

    @pytest.mark.parametrize("content", [b"", CONTENT, LARGE], ids=len)
    async def test_what_is_aborted_takes_nothing_of_somebody_else_along(
        self, store: BlobStore, content: bytes
    ) -> None:
        await stored(store, LOCATION, b"first")

        writer = await store.create_part(LOCATION)
        with pytest.raises(Unavailable):
            await finished(writer, content)
        await writer.abort()
        await (await store.create_part(LOCATION)).abort()

        assert await content_of(store, LOCATION) == b"first"

    async def test_a_copy_is_there_when_it_is_finished(self, store: BlobStore) -> None:
        for number, ends in enumerate((True, False)):
            writer = await store.create_copy(location(number))
            await writer.write(LARGE)
            assert await store.size(location(number)) is None
            if ends:
                assert await writer.finish() == len(LARGE)
            else:
                await writer.abort()

        assert await everything(store) == [location(0)]
        assert await content_of(store, location(0)) == LARGE

    @pytest.mark.parametrize("content", [b"", CONTENT, LARGE], ids=len)
    async def test_an_aborted_part_leaves_nothing(self, store: BlobStore, content: bytes) -> None:
        writer = await store.create_part(LOCATION)
        await writer.write(content)
        await writer.abort()

        assert await store.size(LOCATION) is None
        assert await everything(store) == []

    async def test_parts_are_assembled_in_their_order_and_stay(self, store: BlobStore) -> None:
        pieces = pieces_of(LARGE, 1, 1, 2_000_000)
        parts = [location(number) for number in range(len(pieces))]
        for part, piece in zip(parts, pieces, strict=True):
            await stored(store, part, piece)

        kept = await store.assemble(parts, LOCATION)

        assert kept == LOCATION
        assert await content_of(store, LOCATION) == LARGE
        assert await everything(store) == sorted([*parts, LOCATION])
        assert [await content_of(store, part) for part in parts] == pieces

    async def test_a_single_part_is_the_blob_already(self, store: BlobStore) -> None:
        await stored(store, location(1), CONTENT)

        kept = await store.assemble([location(1)], LOCATION)

        assert kept == location(1)
        assert await everything(store) == [location(1)]

    async def test_no_parts_make_an_empty_blob(self, store: BlobStore) -> None:
        assert await store.assemble([], LOCATION) == LOCATION
        assert await store.size(LOCATION) == 0

    async def test_nothing_is_assembled_of_a_part_that_is_not_there(self, store: BlobStore) -> None:
        await stored(store, location(1), CONTENT)

        with pytest.raises(Unavailable):
            await store.assemble([location(1), location(2)], LOCATION)
        assert await store.size(LOCATION) is None

    async def test_what_is_removed_is_gone_and_may_be_removed_again(self, store: BlobStore) -> None:
        await stored(store, location(1), CONTENT)
        await stored(store, location(2), CONTENT)

        assert not await store.remove([location(1), location(3)])
        await store.remove([location(1)])
        await store.remove([])

        assert await everything(store) == [location(2)]

    async def test_everything_that_is_stored_is_listed(self, store: BlobStore) -> None:
        written = sorted(location(number) for number in range(40))
        for where in written:
            await stored(store, where, b"x")

        assert await everything(store) == written

    async def test_a_path_leads_to_the_bytes_themselves(self, store: BlobStore) -> None:
        await stored(store, LOCATION, CONTENT)

        path = store.path(LOCATION)

        assert path is None or path.read_bytes() == CONTENT

    async def test_parts_are_written_side_by_side(self, store: BlobStore) -> None:
        contents = {location(number): bytes([number]) * 1_500_000 for number in range(12)}

        async with anyio.create_task_group() as group:
            for where, content in contents.items():
                group.start_soon(stored, store, where, *pieces_of(content, 400_000, 1_100_000))

        assert {where: await content_of(store, where) for where in contents} == contents

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # every example has its location
    @given(
        pieces=st.lists(st.binary(max_size=3000), max_size=8),
        bounds=st.tuples(st.integers(0, 4000), st.integers(0, 4000)),
    )
    async def test_any_pieces_read_in_any_range_are_what_was_written(
        self, fresh_location: "FreshLocation", store: BlobStore, pieces: list[bytes], bounds: tuple[int, int]
    ) -> None:
        where = fresh_location()
        whole = b"".join(pieces)
        start, stop = sorted(min(bound, len(whole)) for bound in bounds)

        assert await stored(store, where, *pieces) == len(whole)
        assert await content_of(store, where, start, stop) == whole[start:stop]


class FreshLocation:
    """Gives locations that were never used."""

    def __init__(self) -> None:
        self._number = 1_000

    def __call__(self) -> str:
        self._number += 1
        return location(self._number)
