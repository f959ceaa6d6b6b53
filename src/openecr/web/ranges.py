"""Byte ranges: of a download (RFC 9110, section 14) and of an upload's part. Pure: text in, numbers out.

An upload's Content-Range is the OCI specification's own ("Pushing a blob in chunks"), not RFC 9110's.
"""

import re
from dataclasses import dataclass

MAX_RANGES = 1024
"""A request for more ranges is answered with the whole blob.

A partial pull of a zstd:chunked layer asks for one range per missing file, 1,024 of them at most.
"""

_RANGE = re.compile(r"(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})", re.ASCII)
_CONTENT_RANGE = re.compile(
    r"(?:bytes[ =])?(?P<first>[0-9]{1,18})-(?P<last>[0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?", re.ASCII
)
_UNIT = "bytes="


class Unsatisfiable(Exception):
    """No byte of the blob is in any range that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes [start, stop); never empty."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """Return how many bytes it holds."""
        return self.stop - self.start

    def content_range(self, size_bytes: int) -> str:
        """Return the value of Content-Range for a blob of `size_bytes`."""
        return f"bytes {self.start}-{self.stop - 1}/{size_bytes}"


def parse_ranges(header: str, size_bytes: int) -> tuple[ByteRange, ...]:
    """Return the satisfiable ranges of a Range header, in its order; none means that the whole blob is the answer.

    The whole blob answers what is malformed, of another unit, of too many ranges, or of more bytes than the blob has.
    Raises Unsatisfiable; also for `500-0`, which RFC 9110 calls malformed and the conformance suite wants refused.
    """
    if not header.startswith(_UNIT):
        return ()
    specifications = header[len(_UNIT) :].split(",", MAX_RANGES)
    if len(specifications) > MAX_RANGES:
        return ()
    found: list[ByteRange] = []
    for specification in specifications:
        match = _RANGE.fullmatch(specification.strip(" \t"))
        if match is None or match[0] == "-":
            return ()
        byte_range = _resolve(match["first"], match["last"], size_bytes)
        if byte_range is not None:
            found.append(byte_range)
    if not found:
        raise Unsatisfiable
    if len(found) > 1 and sum(each.size_bytes for each in found) > size_bytes:
        return ()
    return tuple(found)


def _resolve(first: str, last: str, size_bytes: int) -> ByteRange | None:
    if first:
        start = int(first)
        stop = min(int(last) + 1, size_bytes) if last else size_bytes
    else:
        start, stop = max(size_bytes - int(last), 0), size_bytes
    return ByteRange(start=start, stop=stop) if start < stop else None


def parse_content_range(header: str) -> tuple[int, int] | None:
    """Return the first and the last byte, both inclusive, that an upload's part says it holds; None if malformed.

    The protocol's form is the bare `0-99`; RFC 9110's `bytes 0-99/100` is understood.
    """
    match = _CONTENT_RANGE.fullmatch(header.strip(" \t"))
    return None if match is None else (int(match["first"]), int(match["last"]))
