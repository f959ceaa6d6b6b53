"""The driver for Granian's native interface (RSGI).

It translates requests and responses, counts what is in flight and can cancel it, and watches for disconnects: Granian's
`send_bytes` neither raises nor yields after one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import structlog

from openecr.web.files import INLINE_BYTES, Sink, opened, read_cached, send_file
from openecr.web.messages import FileBody, Request, Response, StreamBody

_LOG = structlog.get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

DRAIN_BYTES = 64 * 1024 * 1024
"""How much of an unread body is thrown away after an early answer. Many clients send all before they read anything: they
would meet a broken connection where a refusal was said."""

_DRAIN_SECONDS = 10
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PLAIN_TEXT = ("content-type", "text/plain; charset=utf-8")
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
        """Start an answer that is sent in chunks."""
        ...


class _Body:
    """The request's bytes. Granian gives them out once, so the iterator is asked for at the first use and kept."""

    __slots__ = ("_chunks", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._chunks: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._exchange.__aiter__()
        return await self._chunks.__anext__()


class RsgiApplication:
    """What Granian calls. `stop` ends what is still in flight."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    async def __rsgi__(self, scope: Scope, protocol: Exchange) -> None:
        """Answer one request."""
        task = asyncio.current_task()
        assert task is not None
        self._in_flight.add(task)
        self._idle.clear()
        try:
            await self._serve(scope, protocol)
        finally:
            self._in_flight.discard(task)
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
        body = _Body(protocol)
        headers = tuple(scope.headers.items())
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
        await _send(request, response, protocol)
        if request.method in _BODY_METHODS:
            await _drain(request, body)


async def _drain(request: Request, body: AsyncIterator[bytes]) -> None:
    """Take what is left of a body once it is answered; of a larger one nothing, which ends the connection."""
    if request.received_bytes == 0 and request.header("expect") is not None:
        return  # who asked whether to go on has the answer and sends nothing
    declared = request.content_length
    remaining = DRAIN_BYTES if declared is None else declared - request.received_bytes
    if remaining > DRAIN_BYTES:
        return
    taken = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in body:
                taken += len(chunk)
                if taken >= remaining:
                    return


async def _send(request: Request, response: Response, protocol: Exchange) -> None:
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
        await _send_stream(protocol.response_stream(response.status, headers), body, protocol)


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
    stream = protocol.response_stream(status, headers)
    gone = asyncio.ensure_future(protocol.client_disconnect())  # noqa: TID251 -- ends below, in any case
    try:
        await send_file(descriptor, body.start, body.stop, stream, gone)
    finally:
        gone.cancel()


async def _send_stream(stream: Sink, body: StreamBody, protocol: Exchange) -> None:
    gone = asyncio.ensure_future(protocol.client_disconnect())  # noqa: TID251 -- ends below, in any case
    try:
        async for chunk in body.chunks:
            if gone.done():
                return
            await stream.send_bytes(chunk)
            await asyncio.sleep(0)  # send_bytes may never yield
    finally:
        gone.cancel()
        close = getattr(body.chunks, "aclose", None)
        if close is not None:
            await close()
