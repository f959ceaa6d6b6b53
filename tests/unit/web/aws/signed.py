"""Signed requests that a test bends on their way, and raw ones, for the tests of the pipeline."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from openecr.testing.aws import REQUEST_ID, AwsClient, chunks_of, content_of
from openecr.web.messages import Request, Response
from tests.unit.web.aws.conftest import House

TARGET = "AmazonEC2ContainerRegistry_V20150921."

Bend = Callable[[Request], Request]


class Wiretap:
    """Bends each request after it was signed, and keeps each answer."""

    def __init__(self, house: House, bend: Bend = lambda request: request) -> None:
        self._house = house
        self._bend = bend
        self.answers: list[Response] = []

    async def handle(self, request: Request) -> Response:
        answer = await self._house.face.handle(self._bend(request))
        self.answers.append(answer)
        return answer

    def client(self, service: str = "ecr", **options: Any) -> AwsClient:
        """Return a client of the default account whose requests pass here."""
        return AwsClient(self.handle, options.pop("key", self._house.key), service=service, **options)


async def attempt(
    house: House, bend: Bend = lambda request: request, *, service: str = "ecr", **options: Any
) -> tuple[int, str, str]:
    """Ask for something harmless; return status, code and message of the refusal."""
    tap = Wiretap(house, bend)
    operation = "get_caller_identity" if service == "sts" else "describe_repositories"
    try:
        await tap.client(service, **options).call(operation)
    except ClientError as error:
        told = error.response["Error"]
        return error.response["ResponseMetadata"]["HTTPStatusCode"], told["Code"], told["Message"]
    return 200, "", ""


async def signed_call(
    house: House, operation: str, body: bytes, *, prefix: str = TARGET
) -> tuple[Response, bytes]:
    """Send any body under any target, properly signed; return the answer and its bytes."""

    def write(params: dict[str, Any], **_: Any) -> None:
        params["body"] = body
        params["headers"]["X-Amz-Target"] = prefix + operation

    return await _sent(house, "ecr", "DescribeRepositories", write)


async def signed_form(house: House, form: bytes, *, service: str = "sts") -> tuple[Response, bytes]:
    """Send any form, properly signed for a service; return the answer and its bytes."""

    def write(params: dict[str, Any], **_: Any) -> None:
        params["body"] = form

    return await _sent(house, service, {"sts": "GetCallerIdentity", "iam": "ListUsers"}[service], write)


async def _sent(
    house: House, service: str, operation: str, write: Callable[..., None]
) -> tuple[Response, bytes]:
    tap = Wiretap(house)
    client = tap.client(service)
    client.client.meta.events.register(f"before-call.{service}.{operation}", write)
    with suppress(ClientError):
        await client.call(xform_name(operation))
    (answer,) = tap.answers
    return answer, await content_of(answer)


def with_header(name: str, change: Callable[[str], str | None]) -> Bend:
    """Return what rewrites a header, or takes it away."""

    def bend(request: Request) -> Request:
        headers = [(key, change(value) if key == name else value) for key, value in request.headers]
        return replace(request, headers=tuple((key, value) for key, value in headers if value is not None))

    return bend


def without_header(name: str) -> Bend:
    """Return what takes a header away."""
    return with_header(name, lambda _: None)


def with_body(content: bytes) -> Bend:
    """Return what puts another body into a request."""

    def bend(request: Request) -> Request:
        resized = with_header("content-length", lambda _: str(len(content)))(request)
        return replace(resized, body=chunks_of(content))

    return bend


class ForbiddenBody:
    """A body that nobody may read."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")


def unsigned(
    method: str = "POST",
    *,
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    content: bytes = b"",
) -> Request:
    """Return a request of nobody."""
    return Request(
        method=method,
        path="/",
        query=query,
        host="localhost:5050",
        scheme="http",
        client_address="127.0.0.1",
        headers=(("host", "localhost:5050"), ("content-length", str(len(content))), *headers),
        body=chunks_of(content),
        request_id=REQUEST_ID,
    )
