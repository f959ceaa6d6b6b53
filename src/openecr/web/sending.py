"""Sending responses through Granian's side of a request: bytes, files, sealed files and streams.

Every way has a bound on what is held in memory for a client that reads slowly, and ends when the client has gone.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Protocol

import structlog

from openecr.engines.sealing import Damaged, SealedContent
from openecr.web.files import (
    INLINE_BYTES,
    Sink,
    open_cached,
    read_cached,
    sealed_pieces,
    send_file,
    send_sealed,
)
from openecr.web.messages import FileBody, Response, StreamBody
from openecr.web.pipes import PIPE_MAX_BYTES, ReaderStalled, send_paced
from openecr.web.pumps import send_pumped

_LOG = structlog.get_logger(__name__)

STREAM_MAX_BYTES = PIPE_MAX_BYTES
"""What is no longer than this is handed to Granian as fast as it can be read: so much memory may a client hold for
each request in flight (one on an HTTP/1 connection, a hundred on one of HTTP/2)."""

_PLAIN_TEXT = ("content-type", "text/plain; charset=utf-8")
_NOT_FOUND = Response(status=404, headers=(_PLAIN_TEXT,), body=b"Not found\n")
_NO_CONTENT_STATUSES = frozenset({204, 304})


class Exchange(Protocol):
    """Granian's side of one request."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the request's body; ends silently at a disconnect."""
        ...

    async def client_disconnect(self) -> None:
        """Return when the client has gone."""
        ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer with bytes."""
        ...

    def response_empty(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Answer without a body."""
        ...

    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Sink:
        """Start an answer that is sent in chunks, all of which are held until the client has read them."""
        ...

    def response_file(self, status: int, headers: list[tuple[str, str]], file: str) -> None:
        """Answer with a file, as fast as the client reads; 404 where it cannot be opened."""
        ...

    def response_file_range(
        self, status: int, headers: list[tuple[str, str]], file: str, start: int, end: int
    ) -> None:
        """Answer with bytes [start, end) of a file in the same way."""
        ...


async def send(method: str, response: Response, protocol: Exchange, idle_seconds: float) -> None:
    """Send a response. `idle_seconds` is how long a client may take nothing of it."""
    headers = list(response.headers)
    body = response.body
    if method == "HEAD":
        _add_length(headers, body)
        protocol.response_empty(response.status, headers)
    elif isinstance(body, bytes):
        send_bytes(response.status, headers, body, protocol)
    elif isinstance(body, FileBody):
        await _send_file(response.status, headers, body, protocol, idle_seconds)
    else:
        _add_length(headers, body)
        await _send_stream(response.status, headers, body, protocol, idle_seconds)


def send_bytes(status: int, headers: list[tuple[str, str]], body: bytes, protocol: Exchange) -> None:
    """Answer with bytes."""
    if body or status not in _NO_CONTENT_STATUSES:
        _add_length(headers, body)
        protocol.response_bytes(status, headers, body)
    else:
        protocol.response_empty(status, headers)


def _add_length(headers: list[tuple[str, str]], body: bytes | FileBody | StreamBody) -> None:
    if not any(name == "content-length" for name, _ in headers):
        headers.append(("content-length", str(_size_bytes(body))))


def _size_bytes(body: bytes | FileBody | StreamBody) -> int:
    match body:
        case bytes():
            return len(body)
        case FileBody():
            return body.stop - body.start
        case StreamBody():
            return body.size_bytes


async def _send_file(
    status: int, headers: list[tuple[str, str]], body: FileBody, protocol: Exchange, idle_seconds: float
) -> None:
    answer = _Answer(status, headers, body, protocol)
    try:
        descriptor = os.open(body.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        _LOG.error("the file of a blob is missing", file=body.path.name)
        await answer.fail()
        return
    except OSError as error:
        _LOG.error("the file of a blob cannot be read", file=body.path.name, error=str(error))
        send_bytes(503, [_PLAIN_TEXT], b"The registry's storage failed. Try again.\n", protocol)
        return
    try:
        if not _has_its_length(descriptor, body):
            _LOG.error("the file of a blob has another length", file=body.path.name)
            await answer.fail()
        elif body.sealed is None:
            await _send_opened(status, headers, body, descriptor, protocol)
        else:
            await _send_sealed(answer, body.sealed, descriptor, protocol, idle_seconds)
    finally:
        os.close(descriptor)


def _has_its_length(descriptor: int, body: FileBody) -> bool:
    size_bytes = os.fstat(descriptor).st_size
    return (
        size_bytes >= body.stop if body.sealed is None else size_bytes == body.sealed.layout.stored_size_bytes
    )


async def _send_opened(
    status: int, headers: list[tuple[str, str]], body: FileBody, descriptor: int, protocol: Exchange
) -> None:
    if body.stop - body.start <= INLINE_BYTES:
        content = read_cached(descriptor, body.start, body.stop)
        if content is not None:
            send_bytes(status, headers, content, protocol)
            return
    _add_length(headers, body)
    if body.stop - body.start > STREAM_MAX_BYTES:
        protocol.response_file_range(status, headers, str(body.path), body.start, body.stop)
        return
    stream = protocol.response_stream(status, headers)
    gone = asyncio.ensure_future(protocol.client_disconnect())  # noqa: TID251 -- ends below, in any case
    try:
        await send_file(descriptor, body.start, body.stop, stream, gone)
    finally:
        gone.cancel()


class _Answer:
    """An answer of sealed content, which can be another one until its first bytes have been opened."""

    def __init__(
        self, status: int, headers: list[tuple[str, str]], body: FileBody, protocol: Exchange
    ) -> None:
        self.body = body
        self._status = status
        self._headers = headers
        self._protocol = protocol
        self._has_begun = False

    def whole(self, content: bytes) -> None:
        """Answer with everything at once."""
        self._has_begun = True
        send_bytes(self._status, self._headers, content, self._protocol)

    def stream(self) -> Sink:
        """Begin to answer in chunks."""
        self._has_begun = True
        _add_length(self._headers, self.body)
        return self._protocol.response_stream(self._status, self._headers)

    def file(self, path: str) -> None:
        """Answer with what can be read there."""
        self._has_begun = True
        _add_length(self._headers, self.body)
        self._protocol.response_file(self._status, self._headers, path)

    async def fail(self) -> None:
        """Have it looked into; say what is found, where nothing was said yet. What has begun ends short."""
        failed = self.body.failed
        response = _NOT_FOUND if failed is None else await failed()
        if not self._has_begun and isinstance(response.body, bytes):
            send_bytes(response.status, list(response.headers), response.body, self._protocol)


async def _send_sealed(
    answer: _Answer, sealed: SealedContent, descriptor: int, protocol: Exchange, idle_seconds: float
) -> None:
    body = answer.body
    gone: asyncio.Future[None] | None = None
    try:
        if body.stop - body.start <= INLINE_BYTES:
            content = open_cached(descriptor, sealed, body.start, body.stop)
            if content is not None:
                answer.whole(content)
                return
        gone = asyncio.ensure_future(protocol.client_disconnect())  # noqa: TID251 -- ends below, in any case
        if body.stop - body.start <= STREAM_MAX_BYTES:
            await send_sealed(descriptor, sealed, body.start, body.stop, begin=answer.stream, gone=gone)
            return
        own = os.dup(descriptor)  # the thread's
        await send_pumped(
            answer.file,
            sealed_pieces(own, sealed, body.start, body.stop),
            partial(os.close, own),
            gone,
            idle_seconds=idle_seconds,
        )
    except ReaderStalled:
        _LOG.info("a client stopped reading", size_bytes=body.stop - body.start)
    except Damaged as damage:
        _LOG.error("a blob is damaged", file=body.path.name, damage=str(damage))
        await answer.fail()
    finally:
        if gone is not None:
            gone.cancel()


async def _send_stream(
    status: int,
    headers: list[tuple[str, str]],
    body: StreamBody,
    protocol: Exchange,
    idle_seconds: float,
) -> None:
    gone = asyncio.ensure_future(protocol.client_disconnect())  # noqa: TID251 -- ends below, in any case
    try:
        if body.size_bytes > STREAM_MAX_BYTES:
            start = partial(protocol.response_file, status, headers)
            await send_paced(start, body.chunks, gone, idle_seconds=idle_seconds)
        else:
            await _send_chunks(protocol.response_stream(status, headers), body, gone)
    except ReaderStalled:
        _LOG.info("a client stopped reading", size_bytes=body.size_bytes)
    finally:
        gone.cancel()
        close = getattr(body.chunks, "aclose", None)
        if close is not None:
            await close()


async def _send_chunks(stream: Sink, body: StreamBody, gone: "asyncio.Future[None]") -> None:
    async for chunk in body.chunks:
        if gone.done():
            return
        await stream.send_bytes(chunk)
        await asyncio.sleep(0)  # send_bytes may never yield
