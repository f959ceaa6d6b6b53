"""A client's way to several servers of one registry, any of which may be gone, hang or be unable to serve."""

import http
import http.client
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.durability.callers import Unexpected
from tests.durability.histories import Found, Ticket
from tests.running import REGION, RunningServer

PATIENCE_SECONDS = 240.0
"""Longer than any deadline of the server: nobody goes away from a request that the server still works on."""

_TARGETS = {"ecr": "AmazonEC2ContainerRegistry_V20150921", "kms": "TrentService"}
_FULL = b"The registry's storage is full"


class Unanswered(OSError):
    """It is not known what became of a request: no answer came, or one that says that the server could not."""


class Wires:
    """One connection to each server, made again where it was lost. Used by one thread."""

    def __init__(
        self, servers: Sequence[RunningServer], authorization: str, credentials: Credentials, *, seed: str
    ) -> None:
        """`authorization` is for the OCI face, `credentials` sign for the other one."""
        self._servers = servers
        self._authorization = authorization
        self._credentials = credentials
        self._random = random.Random(seed)
        self._connections: dict[int, http.client.HTTPConnection] = {}
        self._answers = 0

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[Found, Ticket]:
        """Send one request to the OCI face of any server. Raises Unanswered."""
        number = self._random.randrange(len(self._servers))
        fields = {
            "Authorization": self._authorization,
            "Host": self._servers[number].host,
            **(headers or {}),
        }
        return self._send(number, method, path, body, fields)

    def get(self, path: str) -> Found:
        """Read something from any server. Raises Unanswered."""
        return self.ask("GET", path)[0]

    def call(
        self, operation: str, *, service: str = "ecr", **parameters: Any
    ) -> tuple[dict[str, Any], Ticket]:
        """Call an operation of any server's AWS face, which must succeed. Raises Unanswered."""
        number = self._random.randrange(len(self._servers))
        host = self._servers[number].host
        body = json.dumps(parameters).encode()
        headers = {
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"{_TARGETS[service]}.{operation}",
            "Host": host,
        }
        request = AWSRequest(method="POST", url=f"http://{host}/", data=body, headers=headers)
        SigV4Auth(self._credentials, service, REGION).add_auth(request)
        found, ticket = self._send(number, "POST", "/", body, dict(request.headers.items()))
        if found.status != http.HTTPStatus.OK:
            raise Unexpected(operation, found.status, found.body)
        document: dict[str, Any] = json.loads(found.body)
        return document, ticket

    def _send(
        self, number: int, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Found, Ticket]:
        connection = self._connections.get(number)
        if connection is None:
            connection = self._servers[number].connection(timeout_seconds=PATIENCE_SECONDS)
            self._connections[number] = connection
        try:
            connection.request(method, path, body, headers)
            with connection.getresponse() as response:
                content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Unanswered(repr(error)) from error
        fields = {name.lower(): value for name, value in response.getheaders()}
        found = Found(status=response.status, headers=fields, body=content)
        if found.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or _FULL in found.body:
            if b"internal error" in found.body.lower():
                raise Unexpected(
                    method, path, found.status, found.body
                )  # a fault is never an excuse for a bug
            raise Unanswered(f"{method} {path}: {found.status} {found.body[:200]!r}")
        self._answers += 1
        return found, (number, self._answers)
