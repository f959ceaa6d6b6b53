"""Our own request and response, which every face speaks and every driver translates."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from openecr.domain.errors import BodyTooLarge, UploadInterrupted
from openecr.engines.sealing import SealedContent

Headers = tuple[tuple[str, str], ...]
"""Lower-case names and values, in wire order, repeated ones repeated."""

_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


class Body(Protocol):
    """The bytes of a request as they arrive. Iterate at most once."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what arrives; ends silently where the client went away. Raises BodyStalled where it says nothing."""
        ...


@dataclass(slots=True, kw_only=True)
class Request:
    """One HTTP request. `path` is percent-decoded, `query` is raw, `host` is the Host header or :authority."""

    method: str
    path: str
    query: str
    host: str
    scheme: str
    client_address: str
    headers: Headers
    body: Body
    request_id: str = ""
    received_bytes: int = field(default=0, init=False)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, by its lower-case name."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_values(self, name: str) -> tuple[str, ...]:
        """Return every value of a repeated header."""
        return tuple(value for key, value in self.headers if key == name)

    @property
    def content_length(self) -> int | None:
        """Return the declared length of the body, or None if it is chunked or the header is malformed."""
        value = self.header("content-length")
        return int(value) if value is not None and _CONTENT_LENGTH.fullmatch(value) else None

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body. Raises UploadInterrupted where it ends before its declared length, BodyStalled."""
        async for chunk in self.body:
            self.received_bytes += len(chunk)
            yield chunk
        declared = self.content_length
        if declared is not None and self.received_bytes < declared:
            raise UploadInterrupted

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole body. Raises BodyTooLarge over the limit (unread, where the length is declared)."""
        declared = self.content_length
        if declared is not None and declared > limit_bytes:
            raise BodyTooLarge(limit_bytes=limit_bytes)
        content = bytearray()
        async for chunk in self.stream():
            content += chunk
            if len(content) > limit_bytes:
                raise BodyTooLarge(limit_bytes=limit_bytes)
        return bytes(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBody:
    """Bytes [start, stop) of a file, sent by the HTTP server itself; of a sealed one, of its content."""

    path: Path
    start: int
    stop: int
    sealed: SealedContent | None = None
    failed: "Callable[[], Awaitable[Response]] | None" = None
    """Looks into bytes that are not there, or damaged, and returns what to answer where nothing was said yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBody:
    """Chunks whose total length is `size_bytes`."""

    chunks: AsyncIterator[bytes]
    size_bytes: int


@dataclass(slots=True, kw_only=True)  # not frozen: a frozen one takes three times as long to make
class Response:
    """One HTTP response. Content-Length is added by the driver unless it is among the headers (HEAD)."""

    status: int
    headers: Headers = ()
    body: bytes | FileBody | StreamBody = b""

    def with_headers(self, headers: Iterable[tuple[str, str]]) -> "Response":
        """Return the same response with more headers."""
        return Response(status=self.status, headers=(*self.headers, *headers), body=self.body)


def redirect_to(url: str, headers: Headers) -> Response:
    """Send a client on to where a body is, with the same method and range (RFC 9110, section 15.4.8).

    Nobody may keep the answer: the URL ends, and whoever asks again is decided on again.
    """
    return Response(status=307, headers=(*headers, ("cache-control", "no-store"), ("location", url)))
