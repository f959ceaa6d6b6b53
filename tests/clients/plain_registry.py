"""The registry protocol spoken with nothing but the standard library, to see exactly what the server sends.

One object is one connection and belongs to one thread.
"""

import base64
import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.clients.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    Index,
    digest_of,
)
from tests.running import RunningServer

ACCEPTED = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class PlainRegistry:
    """A connection to the OCI face as the user `AWS`."""

    def __init__(self, server: RunningServer, password: str | None = None) -> None:
        """Connect to `server`; without a password one is fetched."""
        password = server.password() if password is None else password
        self._authorization = f"Basic {base64.b64encode(f'AWS:{password}'.encode()).decode()}"
        self._connection = server.connection()
        self._host = server.host

    def __enter__(self) -> Self:
        """Give the connection itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def request(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str
    ) -> Answer:
        """Send one request and read the whole answer; underscores in header names become dashes.

        A body in pieces is sent without saying how long it will be.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Authorization": self._authorization, "Host": self._host}
        self._connection.request(method, path, body, sent)
        response = self._connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=found, body=response.read())

    def manifest(self, repository_name: str, reference: str) -> Answer:
        """Fetch a manifest by tag or digest."""
        return self.request("GET", f"/v2/{repository_name}/manifests/{reference}", Accept=ACCEPTED)

    def blob(self, repository_name: str, digest: str) -> bytes:
        """Fetch a blob that must be there."""
        answer = self.request("GET", f"/v2/{repository_name}/blobs/{digest}")
        assert answer.status == http.HTTPStatus.OK, answer
        return answer.body

    def push_blob(self, repository_name: str, content: bytes) -> str:
        """Upload a blob in one PUT; gives its digest."""
        begun = self.request("POST", f"/v2/{repository_name}/blobs/uploads/", b"")
        assert begun.status == http.HTTPStatus.ACCEPTED, (begun, begun.body)
        digest = digest_of(content)
        location = begun.headers["location"]
        path = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        ended = self.request("PUT", path, content, Content_Type="application/octet-stream")
        assert ended.status == http.HTTPStatus.CREATED, (ended, ended.body)
        return digest

    def push_manifest(self, repository_name: str, reference: str, content: bytes, media_type: str) -> Answer:
        """Upload a manifest under a tag or its digest."""
        path = f"/v2/{repository_name}/manifests/{reference}"
        answer = self.request("PUT", path, content, Content_Type=media_type)
        assert answer.status == http.HTTPStatus.CREATED, (answer, answer.body)
        return answer

    def push(self, repository_name: str, tag: str, image: Image) -> None:
        """Upload all of an image, the manifest last."""
        for content in image.blobs().values():
            self.push_blob(repository_name, content)
        self.push_manifest(repository_name, tag, image.manifest, image.media_type)

    def push_index(self, repository_name: str, tag: str, index: Index) -> None:
        """Upload an image index, its children first."""
        for image in index.images:
            self.push(repository_name, image.digest, image)
        self.push_manifest(repository_name, tag, index.manifest, index.media_type)


def holds_exactly(server: RunningServer, repository_name: str, tag: str, image: Image | Index) -> bool:
    """Whether the tag names this image, and every byte below it is what was made."""
    with PlainRegistry(server) as registry:
        named = registry.manifest(repository_name, tag)
        assert named.status == http.HTTPStatus.OK, (named, named.body)
        assert named.headers["docker-content-digest"] == image.digest
        assert named.headers["content-type"] == image.media_type
        for part in image.images if isinstance(image, Index) else (image,):
            assert registry.manifest(repository_name, part.digest).body == part.manifest
            for digest, content in part.blobs().items():
                assert registry.blob(repository_name, digest) == content, digest
    return named.body == image.manifest
