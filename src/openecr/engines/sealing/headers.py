"""What stands in a blob's row about its sealed bytes: the version of the format, and the extents."""

from collections.abc import Sequence
from typing import Any

import msgspec

from openecr.engines.sealing.layouts import VERSION, Extent, Layout

EXTENTS_MAX = 10_000
HEADER_MAX_BYTES = 512 * 1024
_ID_MIN_BYTES = 16
_ID_MAX_BYTES = 32
_SIZE_MAX_BYTES = 1 << 50

_DECODER = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, int]]])
_ENCODER = msgspec.msgpack.Encoder()


class UnknownFormat(ValueError):
    """These bytes are no header of a version that is known here."""


def encode(extents: Sequence[Extent]) -> bytes:
    """Return the header of a blob: `[1, [[id, size], ...]]` in MessagePack."""
    assert len(extents) <= EXTENTS_MAX
    listed: list[Any] = [(each.id, each.size_bytes) for each in extents]
    return _ENCODER.encode((VERSION, listed))


def decode(header: bytes) -> Layout:
    """Read a header. Raises UnknownFormat."""
    if len(header) > HEADER_MAX_BYTES:
        raise UnknownFormat("longer than a header is")
    try:
        version, listed = _DECODER.decode(header)
    except msgspec.MsgspecError as error:
        raise UnknownFormat(str(error)) from None
    if version != VERSION:
        raise UnknownFormat(f"version {version}")
    if len(listed) > EXTENTS_MAX:
        raise UnknownFormat("more extents than a blob has")
    for extent_id, size_bytes in listed:
        if not (_ID_MIN_BYTES <= len(extent_id) <= _ID_MAX_BYTES and 0 < size_bytes <= _SIZE_MAX_BYTES):
            raise UnknownFormat("an extent that cannot be")
    if len({extent_id for extent_id, _ in listed}) < len(listed):
        raise UnknownFormat("an extent stands twice")
    return Layout([Extent(extent_id, size_bytes) for extent_id, size_bytes in listed])
