"""Opening what was sealed: a segment at a time, nothing of it before its tag has been checked."""

from collections.abc import Iterable
from typing import TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openecr.engines.sealing.layouts import NONCE_BYTES, Layout, Segment, associated_data

Content = TypeVar("Content", bytes, bytearray, memoryview)


class Damaged(ValueError):
    """A segment is not what was sealed there, or the key is another one."""


class SealedContent:
    """A blob's layout with its key. Safe for use from several threads."""

    __slots__ = ("_cipher", "layout")

    def __init__(self, layout: Layout, key: bytes) -> None:
        self.layout = layout
        self._cipher = AESGCM(key)

    def open(self, segment: Segment, stored: bytes | bytearray | memoryview) -> bytes:
        """Return the content of a segment from exactly its stored bytes. Raises Damaged."""
        nonce, sealed, associated = _parts(segment, stored)
        try:
            return self._cipher.decrypt(nonce, sealed, associated)
        except InvalidTag:
            raise _changed(segment) from None

    def open_into(self, segment: Segment, stored: memoryview, content: memoryview) -> None:
        """Write the content of a segment, from exactly its stored bytes, into memory of exactly its length.

        Raises Damaged; what is there then is worth nothing.
        """
        nonce, sealed, associated = _parts(segment, stored)
        try:
            self._cipher.decrypt_into(nonce, sealed, associated, content)
        except InvalidTag:
            raise _changed(segment) from None


def _parts(segment: Segment, stored: bytes | bytearray | memoryview) -> tuple[memoryview, memoryview, bytes]:
    """Return nonce, sealed content with its tag, and associated data. Raises Damaged."""
    if len(stored) != segment.stored_size_bytes:
        raise Damaged(f"segment {segment.index} is cut short")
    view = memoryview(stored)
    associated = associated_data(segment.extent_id, segment.index, is_last=segment.is_last)
    return view[:NONCE_BYTES], view[NONCE_BYTES:], associated


def _changed(segment: Segment) -> Damaged:
    return Damaged(f"segment {segment.index} is not what was sealed")


class StreamOpener:
    """Opens bytes [start, stop) of the content from a stream of stored bytes, however it is cut.

    The stream is stored bytes [`stored_start`, `stored_stop`). Not safe for concurrent use.
    """

    def __init__(self, content: SealedContent, start: int, stop: int) -> None:
        """There is something between `start` and `stop`."""
        layout = content.layout
        self._content = content
        self._start = start
        self._stop = stop
        self._segments = layout.segments(start, stop)
        self._next: Segment | None = next(self._segments)
        self._held = bytearray()
        self.stored_start = self._next.stored_start
        self.stored_stop = layout.segment_at(stop - 1).stored_stop

    def update(self, chunks: Iterable[bytes]) -> list[bytes]:
        """Take stored bytes; return the content of the segments that are whole by now. Raises Damaged."""
        for chunk in chunks:
            self._held += chunk
        opened: list[bytes] = []
        position = 0
        with memoryview(self._held) as held:
            while (segment := self._next) is not None:
                end = position + segment.stored_size_bytes
                if end > len(held):
                    break
                clear = self._content.open(segment, bytes(held[position:end]))
                opened.append(wanted(segment, clear, self._start, self._stop))
                position = end
                self._next = next(self._segments, None)
        del self._held[:position]
        return opened

    def end(self) -> None:
        """Raise Damaged unless the stream has brought everything, and nothing more."""
        if self._next is not None or self._held:
            raise Damaged("what is stored has another length than what was sealed")


def wanted(segment: Segment, content: Content, start: int, stop: int) -> Content:
    """Return of a segment's content what is in bytes [start, stop) of the blob."""
    if start <= segment.start and segment.stop <= stop:
        return content
    return content[max(start - segment.start, 0) : stop - segment.start]
