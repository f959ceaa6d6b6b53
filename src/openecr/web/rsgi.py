"""The driver for Granian's native interface (RSGI).

It translates requests and responses, counts what is in flight and can cancel it, and bounds what Granian does not:
headers, the time between two chunks of a body, and what is held in memory for a client that reads slowly. It watches
for disconnects, since Granian's `send_bytes` neither raises nor yields after one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import structlog

from openecr.domain.errors import BodyStalled
from openecr.web.messages import Headers, Request, Response
from openecr.web.sending import Exchange, send, send_bytes

_LOG = structlog.get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]

HEADERS_MAX_BYTES = 64 * 1024
"""Names and values together. Granian bounds an HTTP/1 head by its read buffer, which has to be larger, and the number
of headers by 100."""

DRAIN_BYTES = 64 * 1024 * 1024
"""How much of an unread body is thrown away after an early answer. Many clients send all before they read anything:
they would meet a broken connection where a refusal was said."""

_DRAIN_SECONDS = 10
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PLAIN_TEXT = ("content-type", "text/plain; charset=utf-8")
_HEADERS_TOO_LARGE = f"The request's headers are larger than {HEADERS_MAX_BYTES} bytes\n".encode()
_CLOSE = ("connection", "close")


class Scope(Protocol):
    """What Granian tells of a request."""

    method: str
    path: str
    query_string: str
    authority: str | None
    client: str
    scheme: str
    headers: Any


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
            send_bytes(431, [_PLAIN_TEXT, _CLOSE], _HEADERS_TOO_LARGE, protocol)
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
        await send(request.method, response, protocol, self._idle_seconds)
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
    with suppress(TimeoutError, BodyStalled):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for chunk in body:
                taken += len(chunk)
                if taken >= remaining:
                    return
