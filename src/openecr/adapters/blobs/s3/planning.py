"""How a blob is put together from objects: what the server copies, and what passes through here.

Every part of a multipart upload but its last has at least 5 MiB. So larger objects are copied by the server, in ranges,
and smaller neighbours are read and sent together, filled up from the beginning of a larger one where they must be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openecr.adapters.blobs.s3.options import COPY_MAX_BYTES, MIB, PART_MIN_BYTES

GATHER_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [start, stop) of an object."""

    source: str
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """Return how many bytes these are."""
        return self.stop - self.start


Part = tuple[Piece, ...]
"""Bytes that become one part. The server copies one piece of at least 5 MiB; everything else is read and sent."""


def is_copied(part: Part) -> bool:
    """Tell whether the server copies a part."""
    return len(part) == 1 and part[0].size_bytes >= PART_MIN_BYTES


def plan(sources: Sequence[tuple[str, int]]) -> Iterator[Part]:
    """Give the parts of the objects, each with its length, in order."""
    gathered: list[Piece] = []
    gathered_bytes = 0
    for source, size_bytes in sources:
        start = 0
        while start < size_bytes:
            left = size_bytes - start
            is_large = left >= PART_MIN_BYTES
            if is_large and not gathered:
                stop = start + min(left, COPY_MAX_BYTES)
                yield (Piece(source, start, stop),)
            elif gathered_bytes >= (PART_MIN_BYTES if is_large else GATHER_BYTES):
                yield tuple(gathered)
                gathered, gathered_bytes = [], 0
                continue
            else:
                room = (PART_MIN_BYTES if is_large else GATHER_BYTES) - gathered_bytes
                stop = start + min(left, room)
                gathered.append(Piece(source, start, stop))
                gathered_bytes += stop - start
            start = stop
    if gathered:
        yield tuple(gathered)
