"""The two ways in which a scenario reaches a server: calls in this process, or a program on a port."""

import base64
import http.client
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import boto3
from anyio.from_thread import BlockingPortal, start_blocking_portal
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from sqlalchemy import select

from openecr.application.scrubbing import ScrubReport
from openecr.store.scrubbing import list_stored
from openecr.store.statements import Statement
from openecr.store.tables import MANIFESTS
from openecr.testing.aws import content_of
from openecr.testing.server import InProcessServer, in_process
from openecr.web.messages import FileBody, Request, Response, StreamBody
from tests.running import RunningServer, running_server
from tests.scenario.storages import Flags, Setup, Storages

T = TypeVar("T")

ACCOUNT = "000000000000"
REGION = "us-east-1"
_MANIFESTS = Statement(select(MANIFESTS.c.content))
_KEY_PARTS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response, its header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Driver(Protocol):
    """What a scenario needs of a server."""

    def http(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send one request as it is; a `host` header names another registry."""
        ...

    def client(
        self, service: str = "ecr", *, region: str = REGION, key: tuple[str, ...] | None = None
    ) -> Any:
        """Return a boto3 client with the default account's root key, or another `key` (id, secret, session token)."""
        ...


def authorization(ecr: Any) -> str:
    """Return the Authorization header of the registry for the caller of a client."""
    token: str = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return f"Basic {token}"


def basic(user: str, password: str) -> str:
    """Return a Basic Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class WireDriver:
    """Speaks to a server that runs as a program."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server

    def http(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.getheaders()},
            body=content,
        )

    def client(
        self, service: str = "ecr", *, region: str = REGION, key: tuple[str, ...] | None = None
    ) -> Any:
        """Return a boto3 client."""
        changes: dict[str, Any] = {"region_name": region}
        if key is not None:
            changes |= dict(zip(_KEY_PARTS, key, strict=False))
        return self.server.client(service, **changes)


async def _chunks(body: bytes) -> Any:
    if body:
        yield body


class InProcessDriver:
    """Calls the application in this process; a boto3 client's requests are taken before they are sent."""

    def __init__(self, server: InProcessServer, portal: BlockingPortal) -> None:
        self.server = server
        self._portal = portal

    def http(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Hand one request to the application."""
        pairs = {name.lower(): value for name, value in (headers or {}).items()}
        pairs.setdefault("host", "localhost:5050")
        pairs.setdefault("content-length", str(len(body)))
        return self._portal.call(self._handle, method, path, pairs, body)

    def call(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Call the application in its loop."""
        return self._portal.call(function, *arguments)

    def collect(self, *, days: float) -> None:
        """Let days pass, collecting before and after, then turn the clock back for those who sign with it."""
        collection, clock = self.server.parts.collection, self.server.clock
        for _ in range(2):
            clock.move(seconds=days * 86_400)
            self.call(collection.collect)
        clock.move(seconds=-2 * days * 86_400)

    def stores(self, content: bytes) -> bool:
        """Tell whether the blob store holds a blob. Whatever it holds must be a blob's: nothing is left behind."""
        blobs, locations = self._portal.call(self._stored)
        assert locations <= set(blobs)
        return sha256(content).hexdigest() in {blobs[location] for location in locations}

    async def _stored(self) -> tuple[dict[str, str], set[str]]:
        """Digests of the blobs that the database knows, by location, and all locations where something is."""
        scrubbing = self.server.parts.scrubbing
        rows = await scrubbing._database.scan(partial(list_stored, after=0, limit=1000))
        blobs = {blob.location: blob.digest.encoded for blob in rows}
        return blobs, {location async for location in scrubbing._store.iterate()}

    def all_stored(self) -> list[bytes]:
        """Return all manifests as their rows hold them, and all blobs as the store does."""
        return self._portal.call(self._all_stored)

    async def _all_stored(self) -> list[bytes]:
        scrubbing = self.server.parts.scrubbing
        found = await scrubbing._database.scan(
            lambda connection: [bytes(row[0]) for row in connection.fetch_all(_MANIFESTS)]
        )
        blobs, _ = await self._stored()
        for location in blobs:
            size_bytes = await scrubbing._store.size(location) or 0
            chunks = [bytes(chunk) async for chunk in scrubbing._store.open(location, 0, size_bytes)]
            found.append(b"".join(chunks))
        return found

    def lose(self, content: bytes) -> None:
        """Take a blob's bytes away behind the server's back, wherever they are, and let that be found out."""
        self._portal.call(self._lose, sha256(content).hexdigest())

    async def _lose(self, encoded: str) -> None:
        scrubbing = self.server.parts.scrubbing
        blobs, _ = await self._stored()
        locations = [location for location, digest in blobs.items() if digest == encoded]
        await scrubbing._store.remove(locations)
        report = ScrubReport()
        while await scrubbing.step(report):
            pass
        assert f"sha256:{encoded}" in report.lost
        assert locations

    async def _handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        path, _, query = target.partition("?")
        response = await self.server.handle(
            Request(
                method=method,
                path=path,
                query=query,
                host=headers["host"],
                scheme="http",
                client_address="127.0.0.1",
                headers=tuple(headers.items()),
                body=_chunks(body),
            )
        )
        content = b"" if method == "HEAD" else await _content(response)
        return Answer(status=response.status, headers=dict(response.headers), body=content)

    def client(
        self, service: str = "ecr", *, region: str = REGION, key: tuple[str, ...] | None = None
    ) -> Any:
        """Return a boto3 client whose requests go to the application."""
        used = key or self.server.root_key
        client = boto3.client(
            service,
            region_name=region,
            endpoint_url="http://localhost:5050",
            aws_access_key_id=used[0],
            aws_secret_access_key=used[1],
            aws_session_token=used[2] if key and key[2:] else None,
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.meta.events.register(f"before-send.{service}", self._send)
        return client

    def _send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        parts = urlsplit(request.url)
        body: Any = request.body or b""  # the stubs know less than what botocore sends
        prepared: Any = request.headers
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value)
            for name, value in prepared.items()
        }
        answer = self.http(
            request.method or "POST",
            parts.path + (f"?{parts.query}" if parts.query else ""),
            headers={**headers, "host": parts.netloc},
            body=body.encode() if isinstance(body, str) else bytes(body),
        )
        answered: Any = dict(answer.headers)
        return AWSResponse(request.url, answer.status, answered, _Raw(answer.body))


class _Raw:
    """What botocore reads a response from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        """Yield the body once."""
        yield self._content

    def read(self, *_: Any) -> bytes:
        """Return the body."""
        return self._content


async def _content(response: Response) -> bytes:
    match response.body:
        case bytes() as content:
            return content
        case FileBody():
            return await content_of(response)
        case StreamBody(chunks=chunks):
            return b"".join([chunk async for chunk in chunks])


@contextmanager
def in_process_driver(folder: Path, **options: Any) -> Iterator[InProcessDriver]:
    """Run a server in a loop of its own, in a thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(in_process(folder, **options)) as server,
    ):
        yield InProcessDriver(server, portal)


@contextmanager
def opened_driver(setup: Setup, storages: Storages, folder: Path) -> Iterator[Driver]:
    """Run a server of two regions."""
    regions = ("us-east-1", "eu-west-1")
    with storages.opened(setup.storage) as flags:
        if setup.reach == "in process":
            with in_process_driver(folder, regions=regions, flags=flags) as in_process:
                yield in_process
        else:
            options = [word for region in regions for word in ("--region", region)]
            with running_server(folder, options=options, settings=variables(flags)) as server:
                yield WireDriver(server)


def variables(flags: Flags) -> dict[str, str]:
    """Return settings as the variables that a server program reads."""
    return {f"OPENECR_{name.upper()}": value for name, value in flags.items()}
