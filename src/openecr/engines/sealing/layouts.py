"""Where the bytes of some content are once they are sealed: arithmetic of extents and segments."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

SEGMENT_BYTES = 256 * 1024
"""Content of a segment; the last one of an extent may have less."""

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES
"""What a segment is longer than its content."""

VERSION = 1

_STORED_SEGMENT_BYTES = SEGMENT_BYTES + OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of content that one writer sealed. No two have one id, in whichever blob."""

    id: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Segment:
    """What is sealed as one: content bytes from `start` in the blob, stored bytes from `stored_start`."""

    extent_id: bytes
    index: int
    is_last: bool
    start: int
    size_bytes: int
    stored_start: int

    @property
    def stop(self) -> int:
        """Return where its content ends in the blob."""
        return self.start + self.size_bytes

    @property
    def stored_size_bytes(self) -> int:
        """Return its length as it is stored."""
        return self.size_bytes + OVERHEAD_BYTES

    @property
    def stored_stop(self) -> int:
        """Return where it ends as it is stored."""
        return self.stored_start + self.stored_size_bytes


def stored_size(size_bytes: int) -> int:
    """Return the length of an extent of so much content once it is sealed."""
    return size_bytes + OVERHEAD_BYTES * -(-size_bytes // SEGMENT_BYTES)


def associated_data(extent_id: bytes, index: int, *, is_last: bool) -> bytes:
    """Return what a segment's tag vouches for beside its content: which one it is, and whether it is the last."""
    return bytes((VERSION, is_last)) + index.to_bytes(8, "big") + extent_id


class Layout:
    """The extents of one blob, one after the other."""

    __slots__ = ("_extents", "_starts", "_stored_starts", "only")

    def __init__(self, extents: Sequence[Extent]) -> None:
        """Every extent has content."""
        self._extents = tuple(extents)
        self._starts = list(accumulate((each.size_bytes for each in extents), initial=0))
        stored = (stored_size(each.size_bytes) for each in extents)
        self._stored_starts = list(accumulate(stored, initial=0))
        self.only = self._only_segment()
        """The segment of content that is in one, else None: most blobs are small, and those are read most often."""

    def _only_segment(self) -> Segment | None:
        is_one = self.stored_size_bytes == self.size_bytes + OVERHEAD_BYTES
        return self.segment_at(0) if is_one else None

    @property
    def extents(self) -> tuple[Extent, ...]:
        """Return the extents in their order."""
        return self._extents

    @property
    def size_bytes(self) -> int:
        """Return the length of the content."""
        return self._starts[-1]

    @property
    def stored_size_bytes(self) -> int:
        """Return the length of what is stored."""
        return self._stored_starts[-1]

    def segment_at(self, position: int) -> Segment:
        """Return the segment that holds a byte of the content. Raises IndexError where there is none."""
        if not 0 <= position < self._starts[-1]:
            raise IndexError(position)
        number = bisect_right(self._starts, position) - 1
        extent = self._extents[number]
        index = (position - self._starts[number]) // SEGMENT_BYTES
        before = index * SEGMENT_BYTES
        return Segment(
            extent_id=extent.id,
            index=index,
            is_last=before + SEGMENT_BYTES >= extent.size_bytes,
            start=self._starts[number] + before,
            size_bytes=min(SEGMENT_BYTES, extent.size_bytes - before),
            stored_start=self._stored_starts[number] + index * _STORED_SEGMENT_BYTES,
        )

    def segments(self, start: int, stop: int) -> Iterator[Segment]:
        """Give the segments that hold bytes [start, stop) of the content, in order; they are one stored stretch."""
        position = start
        while position < stop:
            segment = self.segment_at(position)
            yield segment
            position = segment.stop
