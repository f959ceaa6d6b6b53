"""The sealed format: whatever is not exactly what was sealed there is found out before a byte of it leaves."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openecr.engines.sealing import (
    EXTENTS_MAX,
    KEY_BYTES,
    NONCE_BYTES,
    OVERHEAD_BYTES,
    SEGMENT_BYTES,
    Damaged,
    Extent,
    ExtentSealer,
    Layout,
    SealedContent,
    StreamOpener,
    UnknownFormat,
    decode,
    encode,
    stored_size,
    wanted,
)

KEY = bytes(range(KEY_BYTES))
OTHER_KEY = bytes(range(1, KEY_BYTES + 1))
STORED = SEGMENT_BYTES + OVERHEAD_BYTES
EDGES = (1, 2, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES, 2 * SEGMENT_BYTES + 5)

sizes = st.one_of(st.sampled_from(EDGES), st.integers(1, 3 * SEGMENT_BYTES))


def content_of(size_bytes: int, seed: int = 0) -> bytes:
    return hashlib.shake_256(seed.to_bytes(8, "big")).digest(size_bytes)


def id_of(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()[:24]


class Nonces:
    """Random nonces as counted ones, all of which are kept."""

    def __init__(self) -> None:
        self.drawn: list[bytes] = []

    def __call__(self, size_bytes: int) -> bytes:
        nonce = os.urandom(size_bytes)
        self.drawn.append(nonce)
        return nonce


def cut(content: bytes, positions: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(position % (len(content) + 1) for position in positions), len(content)]
    return [content[start:stop] for start, stop in itertools.pairwise(bounds)]


def seal(
    chunks: Sequence[bytes],
    *,
    key: bytes = KEY,
    extent_id: bytes = id_of(0),
    draw: Callable[[int], bytes] = os.urandom,
) -> bytes:
    sealer = ExtentSealer(key, extent_id, draw)
    return b"".join([*(piece for chunk in chunks for piece in sealer.update([chunk])), *sealer.end()])


@dataclass
class Blob:
    """Sealed content of several extents, with what was sealed."""

    content: bytes
    stored: bytearray
    layout: Layout
    key: bytes = KEY

    @classmethod
    def of(cls, sizes: Sequence[int], *, first: int = 0, key: bytes = KEY) -> "Blob":
        contents = [content_of(size, seed) for seed, size in enumerate(sizes, first)]
        extents = [Extent(id_of(seed), size) for seed, size in enumerate(sizes, first)]
        stored = b"".join(
            seal([content], key=key, extent_id=extent.id)
            for content, extent in zip(contents, extents, strict=True)
        )
        return cls(b"".join(contents), bytearray(stored), Layout(extents), key)

    def open(self) -> list[bytes | None]:
        """What each segment gives; None: nothing, it is found to be damaged, into whatever memory it is opened."""
        opener = SealedContent(self.layout, self.key)
        found: list[bytes | None] = []
        for segment in self.layout.segments(0, self.layout.size_bytes):
            stored = memoryview(bytes(self.stored[segment.stored_start : segment.stored_stop]))
            into = bytearray(segment.size_bytes)
            try:
                opener.open_into(segment, stored, memoryview(into))
            except Damaged:
                with pytest.raises(Damaged):
                    opener.open(segment, stored)
                found.append(None)
            else:
                assert opener.open(segment, stored) == into
                found.append(bytes(into))
        return found

    def read(self, start: int, stop: int, cuts: Iterable[int] = ()) -> bytes:
        opener = StreamOpener(SealedContent(self.layout, self.key), start, stop)
        stream = bytes(self.stored[opener.stored_start : opener.stored_stop])
        read = [piece for chunk in cut(stream, cuts) for piece in opener.update([chunk])]
        opener.end()
        return b"".join(read)


# --- what was sealed is opened ---------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(size=sizes, cuts=st.lists(st.integers(0, 1 << 20), max_size=8))
def test_content_is_opened_as_it_was_sealed_however_it_came(size: int, cuts: list[int]) -> None:
    content = content_of(size)
    stored = seal(cut(content, cuts))
    blob = Blob(content, bytearray(stored), Layout([Extent(id_of(0), size)]))

    assert len(stored) == stored_size(size) == blob.layout.stored_size_bytes
    assert b"".join(filter(None, blob.open())) == content


@settings(max_examples=60)
@given(
    sizes=st.lists(sizes, min_size=1, max_size=3),
    bounds=st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 20)),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=4),
)
@example(sizes=[1, SEGMENT_BYTES, 1], bounds=(0, 2), cuts=[])
def test_any_range_is_read_from_its_segments_alone(
    sizes: list[int], bounds: tuple[int, int], cuts: list[int]
) -> None:
    blob = Blob.of(sizes)
    start = min(bounds) % blob.layout.size_bytes
    stop = min(max(*bounds, start + 1), blob.layout.size_bytes)
    segments = list(blob.layout.segments(start, stop))
    for position in range(0, len(blob.stored), 4096):
        if not segments[0].stored_start <= position < segments[-1].stored_stop:
            blob.stored[position] ^= 1

    assert blob.read(start, stop, cuts) == blob.content[start:stop]
    opener = SealedContent(blob.layout, KEY)
    pieces = (
        wanted(each, opener.open(each, blob.stored[each.stored_start : each.stored_stop]), start, stop)
        for each in segments
    )
    assert b"".join(pieces) == blob.content[start:stop]


def test_no_content_seals_to_nothing() -> None:
    assert seal([]) == seal([b""]) == b""
    assert stored_size(0) == 0
    assert decode(encode([])).size_bytes == 0


@given(sizes=st.lists(st.integers(1, 1 << 40), min_size=1, max_size=20), where=st.integers(0, 1 << 60))
def test_segments_follow_each_other_without_a_gap(sizes: list[int], where: int) -> None:
    layout = Layout([Extent(id_of(number), size) for number, size in enumerate(sizes)])
    assert layout.only == (layout.segment_at(0) if len(sizes) == 1 and sizes[0] <= SEGMENT_BYTES else None)
    position = where % layout.size_bytes
    segment = layout.segment_at(position)

    assert segment.start <= position < segment.stop
    assert layout.size_bytes == sum(sizes)
    assert layout.stored_size_bytes == sum(map(stored_size, sizes))
    if segment.stop < layout.size_bytes:
        following = layout.segment_at(segment.stop)
        assert (following.start, following.stored_start) == (segment.stop, segment.stored_stop)
        assert segment.is_last == (following.extent_id != segment.extent_id) == (following.index == 0)
    else:
        assert segment.is_last
        assert segment.stored_stop == layout.stored_size_bytes


@pytest.mark.parametrize("position", [-1, 10, 11])
def test_there_is_no_segment_outside_of_the_content(position: int) -> None:
    with pytest.raises(IndexError):
        Layout([Extent(id_of(0), 10)]).segment_at(position)


# --- anything else is found out --------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(sizes=st.lists(sizes, min_size=1, max_size=2), bit=st.integers(0, 1 << 26))
def test_a_flipped_bit_is_found_out_in_its_segment(sizes: list[int], bit: int) -> None:
    blob = Blob.of(sizes)
    position = bit % (8 * len(blob.stored))
    blob.stored[position // 8] ^= 1 << (position % 8)

    for segment, found in zip(blob.layout.segments(0, blob.layout.size_bytes), blob.open(), strict=True):
        is_hit = segment.stored_start <= position // 8 < segment.stored_stop
        assert found == (None if is_hit else blob.content[segment.start : segment.stop])


def test_every_bit_of_a_segment_counts() -> None:
    blob = Blob.of([5])
    for position in range(8 * len(blob.stored)):
        blob.stored[position // 8] ^= 1 << (position % 8)
        assert blob.open() == [None]
        blob.stored[position // 8] ^= 1 << (position % 8)
    assert blob.open() == [blob.content]


@settings(max_examples=40)
@given(size=st.integers(1, 3 * SEGMENT_BYTES), kept=st.integers(0, 3 * STORED))
def test_what_is_cut_short_is_found_out(size: int, kept: int) -> None:
    blob = Blob.of([size])
    kept %= len(blob.stored)
    opener = StreamOpener(SealedContent(blob.layout, KEY), 0, size)

    given_out = b"".join(opener.update([bytes(blob.stored[:kept])]))

    assert blob.content.startswith(given_out)
    assert len(given_out) == kept // STORED * SEGMENT_BYTES
    with pytest.raises(Damaged):
        opener.end()


def test_a_header_that_says_less_than_was_sealed_opens_nothing_of_the_last_segment() -> None:
    blob = Blob.of([2 * SEGMENT_BYTES])
    blob.layout = Layout([Extent(id_of(0), SEGMENT_BYTES)])

    assert blob.open() == [None]


def test_a_header_that_says_more_than_was_sealed_opens_nothing_of_the_last_segment() -> None:
    blob = Blob.of([2 * SEGMENT_BYTES])
    blob.stored += blob.stored[-STORED:]
    blob.layout = Layout([Extent(id_of(0), 3 * SEGMENT_BYTES)])

    assert blob.open() == [blob.content[:SEGMENT_BYTES], None, None]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_reordered_segments_are_found_out(order: tuple[int, ...]) -> None:
    blob = Blob.of([3 * SEGMENT_BYTES])
    pieces = [blob.stored[number * STORED : (number + 1) * STORED] for number in order]
    blob.stored = bytearray(b"".join(pieces))

    for number, found in enumerate(blob.open()):
        assert (found is None) == (order[number] != number)


def test_segments_of_another_extent_or_blob_are_found_out() -> None:
    blob, other, foreign = Blob.of([10, 10]), Blob.of([10, 10], first=2), Blob.of([10, 10], key=OTHER_KEY)
    middle = len(blob.stored) // 2
    swapped = Blob(blob.content, blob.stored[middle:] + blob.stored[:middle], blob.layout)

    assert swapped.open() == [None, None]
    assert Blob(blob.content, other.stored, blob.layout).open() == [None, None]
    assert Blob(blob.content, foreign.stored, blob.layout).open() == [None, None]


def test_another_key_opens_nothing() -> None:
    blob = Blob.of([SEGMENT_BYTES + 1])
    blob.key = OTHER_KEY

    assert blob.open() == [None, None]


def test_nothing_of_a_damaged_segment_leaves_a_stream() -> None:
    blob = Blob.of([3 * SEGMENT_BYTES])
    blob.stored[2 * STORED - 1] ^= 1
    opener = StreamOpener(SealedContent(blob.layout, KEY), 0, len(blob.content))

    assert opener.update([bytes(blob.stored[:STORED])]) == [blob.content[:SEGMENT_BYTES]]
    with pytest.raises(Damaged):
        opener.update([bytes(blob.stored[STORED:])])


def test_bytes_behind_the_end_of_a_stream_are_found_out() -> None:
    blob = Blob.of([10])
    opener = StreamOpener(SealedContent(blob.layout, KEY), 0, 10)
    opener.update([bytes(blob.stored), b"more"])

    with pytest.raises(Damaged):
        opener.end()


# --- nonces ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    uploads=st.lists(
        st.tuples(st.integers(0, 3), sizes, st.lists(st.integers(0, 1 << 20), max_size=5), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_no_nonce_repeats_under_one_key_whatever_is_written_again(
    uploads: list[tuple[int, int, list[int], bool]],
) -> None:
    """Chunks of any cut, writers that stop in the middle, and writers that begin again where one has been."""
    nonces = Nonces()
    stored: list[bytes] = []
    for number, size, cuts, stops in uploads:
        chunks = cut(content_of(size, number), cuts)
        sealer = ExtentSealer(KEY, id_of(number), nonces)
        pieces = [piece for chunk in chunks for piece in sealer.update([chunk])]
        pieces += [] if stops else sealer.end()
        stored += pieces[::2]

    assert stored == nonces.drawn, "each segment has a nonce of its own, drawn for it, and stored with it"
    assert len(set(stored)) == len(stored)
    assert all(len(nonce) == NONCE_BYTES for nonce in stored)


def test_the_same_content_at_the_same_place_never_looks_the_same() -> None:
    one, other = seal([b"content"]), seal([b"content"])

    assert one[:NONCE_BYTES] != other[:NONCE_BYTES]
    assert one[NONCE_BYTES:] != other[NONCE_BYTES:]


def test_a_segment_is_what_the_documentation_says() -> None:
    content = content_of(SEGMENT_BYTES + 3)
    stored = seal([content])
    associated = b"\x01\x01" + (1).to_bytes(8, "big") + id_of(0)
    nonce, rest = stored[STORED : STORED + NONCE_BYTES], stored[STORED + NONCE_BYTES :]

    assert AESGCM(KEY).decrypt(nonce, rest, associated) == content[SEGMENT_BYTES:]


# --- headers ---------------------------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(1, 1 << 50), max_size=50))
def test_a_header_is_read_as_it_was_written(sizes: list[int]) -> None:
    extents = [Extent(id_of(number), size) for number, size in enumerate(sizes)]

    assert decode(encode(extents)).extents == tuple(extents)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"a later format",
        encode([])[:-1],
        b"\x92\x02\x90",  # version 2
        encode([Extent(id_of(0), 1)]) + b"\x00",
        encode([Extent(id_of(0), 0)]),
        encode([Extent(id_of(0), -1)]),
        encode([Extent(id_of(0), (1 << 50) + 1)]),
        encode([Extent(b"short", 1)]),
        encode([Extent(b"l" * 33, 1)]),
        encode([Extent(id_of(0), 1), Extent(id_of(0), 1)]),
        b"\x92\x01\xdd\xff\xff\xff\xff",
        encode([Extent(id_of(0), 1)] * EXTENTS_MAX),
        bytes(1 << 20),
    ],
    ids=lambda header: hashlib.md5(header).hexdigest()[:8],
)
def test_what_is_no_header_is_told(header: bytes) -> None:
    with pytest.raises(UnknownFormat):
        decode(header)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_told(header: bytes) -> None:
    try:
        layout = decode(header)
    except UnknownFormat:
        return
    assert decode(encode(layout.extents)).extents == layout.extents


def test_the_longest_header_fits() -> None:
    extents = [Extent(number.to_bytes(32, "big"), 1 << 50) for number in range(EXTENTS_MAX)]

    assert len(decode(encode(extents)).extents) == EXTENTS_MAX
