"""The driver for Granian's native interface (RSGI).

It translates requests and responses, counts what is in flight and can cancel it, and bounds what Granian does not:
headers, the time between two chunks of a body, and what is held in memory for a client that reads slowly. It watches
for disconnects, since Granian's `send_bytes` neither raises nor yields after one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import structlog

from openecr.domain.errors import BodyStalled
from openecr.web.files import INLINE_BYTES, Sink, opened, read_cached, send_file
from openecr.web.messages import FileBody, Headers, Request, Response, StreamBody
from openecr.web.pipes import PIPE_MAX_BYTES, ReaderStalled, send_paced

_LOG = structlog.get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

HEADERS_MAX_BYTES = 64 * 1024
"""Names and values together. Granian bounds an HTTP/1 head by its read buffer, which has to be larger, and the number
of headers by 100."""

STREAM_MAX_BYTES = PIPE_MAX_BYTES
"""What is no longer than this is handed to Granian as fast as it can be read: so much memory may a client hold for
each request in flight (one on an HTTP/1 connection, a hundred on one of HTTP/2)."""

DRAIN_BYTES = 64 * 1024 * 1024
"""How much of an unread body is thrown away after an early answer. Many clients send all before they read anything:
they would meet a broken connection where a refusal was said."""

_DRAIN_SECONDS = 10
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PLAIN_TEXT = ("content-type", "text/plain; charset=utf-8")
_HEADERS_TOO_LARGE = f"The request's headers are larger than {HEADERS_MAX_BYTES} bytes\n".encode()
_CLOSE = ("connection", "close")
_NO_CONTENT_STATUSES = frozenset({204, 304})


class Scope(Protocol):
    """What Granian tells of a request."""

    method: str
    path: str
    query_string: str
    authority: str | None
    client: str
    scheme: str
    headers: Any


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


class _Body:
    """The request's bytes. Granian gives them out once, so the iterator is asked for at the first use and kept."""

    __slots__ = ("_chunks", "_exchange", "_has_stalled", "_idle_seconds")

    def __init__(self, exchange: Exchange, idle_seconds: float) -> None:
        self._exchange = exchange
        self._idle_seconds = idle_seconds
        self._chunks: AsyncIterator[bytes] | None = None
        self._has_stalled = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._has_stalled:
            raise StopAsyncIteration
        if self._chunks is None:
            self._chunks = self._exchange.__aiter__()
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._chunks.__anext__()
        except TimeoutError:
            self._has_stalled = True
            raise BodyStalled from None


class RsgiApplication:
    """What Granian calls. `stop` ends what is still in flight."""

    def __init__(self, handler: Handler, *, idle_seconds: float) -> None:
        """`idle_seconds` is how long a client may neither send nor take anything of a body."""
        self._handler = handler
        self._idle_seconds = idle_seconds
        self._in_flight: dict[asyncio.Task[Any], str] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def clients(self) -> set[str]:
        """Return the addresses, with ports, of the clients whose requests are in flight."""
        return set(self._in_flight.values())

    async def __rsgi__(self, scope: Scope, protocol: Exchange) -> None:
        """Answer one request."""
        task = asyncio.current_task()
        assert task is not None
        self._in_flight[task] = scope.client
        self._idle.clear()
        try:
            await self._serve(scope, protocol)
        finally:
            del self._in_flight[task]
            if not self._in_flight:
                self._idle.set()

    async def stop(self, *, patience_seconds: float, cancel_seconds: float) -> int:
        """Wait for what is in flight, then cancel the rest and wait for that; return how many were cancelled."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), patience_seconds)
        stuck = tuple(self._in_flight)
        for task in stuck:
            task.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), cancel_seconds)
        return len(stuck)

    async def _serve(self, scope: Scope, protocol: Exchange) -> None:
        headers: Headers = tuple(scope.headers.items())
        if sum(len(name) + len(value) for name, value in headers) > HEADERS_MAX_BYTES:
            _LOG.info("a request's headers were too large", client=scope.client)
            _send_bytes(431, [_PLAIN_TEXT, _CLOSE], _HEADERS_TOO_LARGE, protocol)
            return
        body = _Body(protocol, self._idle_seconds)
        request = Request(
            method=scope.method,
            path=scope.path,
            query=scope.query_string,
            host=scope.authority or scope.headers.get("host") or "",
            scheme=scope.scheme,
            client_address=scope.client.rpartition(":")[0],
            headers=headers,
            body=body,
        )
        response = await self._handler(request)
        await self._send(request, response, protocol)
        if request.method in _BODY_METHODS:
            await _drain(request, body)

    async def _send(self, request: Request, response: Response, protocol: Exchange) -> None:
        headers = list(response.headers)
        body = response.body
        if request.method == "HEAD":
            _add_length(headers, body)
            protocol.response_empty(response.status, headers)
        elif isinstance(body, bytes):
            _send_bytes(response.status, headers, body, protocol)
        elif isinstance(body, FileBody):
            await _send_file(response.status, headers, body, protocol)
        else:
            _add_length(headers, body)
            await _send_stream(response.status, headers, body, protocol, self._idle_seconds)


async def _drain(request: Request, body: AsyncIterator[bytes]) -> None:
    """Take what is left of a body once it is answered; of a larger one nothing, which ends the connection."""
    if request.received_bytes == 0 and request.header("expect") is not None:
        return  # who asked whether to go on has the answer and sends nothing
    declared = request.content_length
    remaining = DRAIN_BYTES if declared is None else declared - request.received_bytes
    if remaining > DRAIN_BYTES:
        return
    taken = 0
    with suppress(TimeoutError, BodyStalled):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in body:
                taken += len(chunk)
                if taken >= remaining:
                    return


def _send_bytes(status: int, headers: list[tuple[str, str]], body: bytes, protocol: Exchange) -> None:
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


async def _send_file(status: int, headers: list[tuple[str, str]], body: FileBody, protocol: Exchange) -> None:
    try:
        with opened(body.path) as descriptor:
            await _send_opened(status, headers, body, descriptor, protocol)
    except FileNotFoundError:
        _LOG.exception("the file of a blob is missing", file=body.path.name)
        _send_bytes(404, [_PLAIN_TEXT], b"Not found\n", protocol)


async def _send_opened(
    status: int, headers: list[tuple[str, str]], body: FileBody, descriptor: int, protocol: Exchange
) -> None:
    if body.stop - body.start <= INLINE_BYTES:
        content = read_cached(descriptor, body.start, body.stop)
        if content is not None:
            _send_bytes(status, headers, content, protocol)
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
