"""An AWS client without a network: botocore itself, whose requests are handed to a handler in this process."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import anyio.from_thread
import anyio.to_thread
import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from openecr.web.files import sealed_pieces
from openecr.web.messages import FileBody, Request, Response

ENDPOINT = "http://localhost:5050"
REQUEST_ID = "6f1d0a3c-3f0e-4c57-9f43-0a4d5b0f9a11"

_CHUNK_BYTES = 64 * 1024

Handler = Callable[[Request], Awaitable[Response]]


class AwsClient:
    """Calls operations of one service as one caller, from asynchronous code."""

    def __init__(
        self,
        handle: Handler,
        key: tuple[str, str],
        *,
        service: str = "ecr",
        region: str = "us-east-1",
        session_token: str | None = None,
        checks_parameters: bool = False,
    ) -> None:
        """`key` is an access key's id and secret. Without `checks_parameters` the server sees what is malformed."""
        self._handle = handle
        access_key_id, secret = key
        # The published stubs know a literal for each service; the service is a parameter here.
        create: Any = _session().create_client
        self.client: Any = create(
            service,
            region_name=region,
            endpoint_url=ENDPOINT,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret,
            aws_session_token=session_token,
            config=Config(parameter_validation=checks_parameters, retries={"total_max_attempts": 1}),
        )
        self.client.meta.events.register(f"before-send.{service}", self._send)

    async def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call an operation by botocore's name for it (`create_repository`). Raises ClientError."""
        method = functools.partial(getattr(self.client, operation), **parameters)
        return await anyio.to_thread.run_sync(method)

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Take a request before it leaves; runs in the thread of `call`."""
        headers, status, content = anyio.from_thread.run(self._answer, request)
        answered: Any = headers
        raw: Any = _Raw(content)
        return AWSResponse(request.url, status, answered, raw)

    async def _answer(self, request: AWSPreparedRequest) -> tuple[dict[str, str], int, bytes]:
        response = await self._handle(translated(request))
        return dict(response.headers), response.status, await content_of(response)


class _Raw:
    """What botocore reads a response from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        """Yield the body once."""
        yield self._content


@functools.cache
def _session() -> botocore.session.Session:
    """One session: it keeps the service models that it has read."""
    return botocore.session.Session()


def translated(signed: AWSPreparedRequest) -> Request:
    """Return botocore's signed request as a driver would hand it to us."""
    parts = urlsplit(signed.url)
    body: Any = signed.body or b""
    content: bytes = body.encode() if isinstance(body, str) else bytes(body)
    fields: Any = signed.headers.items()
    headers = {
        str(name).lower(): value.decode() if isinstance(value, bytes) else str(value)
        for name, value in fields
    }
    headers |= {"host": parts.netloc, "content-length": str(len(content))}
    return Request(
        method=str(signed.method),
        path=parts.path or "/",
        query=parts.query,
        host=parts.netloc,
        scheme=parts.scheme,
        client_address="127.0.0.1",
        headers=tuple(headers.items()),
        body=chunks_of(content),
        request_id=REQUEST_ID,
    )


async def chunks_of(content: bytes) -> AsyncIterator[bytes]:
    """Yield a body as it arrives: in chunks."""
    for start in range(0, len(content), _CHUNK_BYTES):
        yield content[start : start + _CHUNK_BYTES]


async def content_of(response: Response) -> bytes:
    """Return the bytes of a response, whatever kind of body it has."""
    body = response.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, FileBody):
        return await anyio.to_thread.run_sync(_read, body)
    return b"".join([chunk async for chunk in body.chunks])


def _read(body: FileBody) -> bytes:
    with body.path.open("rb") as file:
        if body.sealed is not None:
            return b"".join(map(bytes, sealed_pieces(file.fileno(), body.sealed, body.start, body.stop)))
        file.seek(body.start)
        return file.read(body.stop - body.start)
