"""A client of the registry face without a network: requests go in as the driver makes them, answers come out whole."""

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openecr.domain.digests import Digest
from openecr.web.files import sealed_pieces
from openecr.web.messages import FileBody, Request, Response
from openecr.web.oci.pipeline import RegistryFace

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
REQUEST_ID = "6f1d0a3c-3f0e-4c57-9f43-0a4d5b0f9a11"
EMPTY_CONFIG = b"{}"


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return str(Digest.of(content, algorithm))


def basic(password: str, user: str = "AWS") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def image(*layers: bytes, **fields: Any) -> bytes:
    """The bytes of an image manifest over an empty config and these layers."""
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", EMPTY_CONFIG),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
    }
    return json.dumps(content | fields).encode()


def index(*manifests: bytes, **fields: Any) -> bytes:
    """The bytes of an index over these manifests."""
    content: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "manifests": [descriptor(IMAGE_MANIFEST, manifest) for manifest in manifests],
    }
    return json.dumps(content | fields).encode()


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


async def _bytes_of(response: Response) -> bytes:
    body = response.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, FileBody):
        with body.path.open("rb") as file:
            if body.sealed is not None:
                return b"".join(map(bytes, sealed_pieces(file.fileno(), body.sealed, body.start, body.stop)))
            return file.read()[body.start : body.stop]
    content = b"".join([chunk async for chunk in body.chunks])
    assert len(content) == body.size_bytes
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client sees."""

    status: int
    headers: Mapping[str, str]
    repeated: Sequence[tuple[str, str]]
    content: bytes

    @property
    def document(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.content)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, code and message of an error."""
        (error,) = self.document["errors"]
        return self.status, error["code"], error["message"]


class Client:
    """Asks the face as one caller; `authorization` None is anonymous."""

    def __init__(
        self, face: RegistryFace, authorization: str | None, *, host: str = "localhost:5050"
    ) -> None:
        self.face = face
        self.authorization = authorization
        self.host = host

    async def ask(
        self,
        method: str,
        target: str,
        content: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        length: int | None = -1,
    ) -> Answer:
        """Send a request. `length`: -1 declares the true one, None leaves it out, another number lies."""
        path, _, query = target.partition("?")
        fields = [(name.lower(), value) for name, value in (headers or {}).items()]
        if self.authorization is not None:
            fields.append(("authorization", self.authorization))
        if length is not None:
            fields.append(("content-length", str(len(content) if length == -1 else length)))

        async def body() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 1000):
                yield content[start : start + 1000]

        request = Request(
            method=method,
            path=path,
            query=query,
            host=self.host,
            scheme="http",
            client_address="127.0.0.1",
            headers=tuple(fields),
            body=body(),
            request_id=REQUEST_ID,
        )
        response = await self.face.handle(request)
        return Answer(
            status=response.status,
            headers=dict(response.headers),
            repeated=response.headers,
            content=b"" if method == "HEAD" else await _bytes_of(response),
        )

    async def push_blob(self, name: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob at once and give its digest."""
        digest = digest_of(content, algorithm)
        answer = await self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer
        return digest

    async def push_image(self, name: str, tag: str, *layers: bytes, **fields: Any) -> bytes:
        """Push an image with its blobs and give its manifest."""
        for content in (EMPTY_CONFIG, *layers):
            await self.push_blob(name, content)
        manifest = image(*layers, **fields)
        answer = await self.put_manifest(name, tag, manifest)
        assert answer.status == 201, answer
        return manifest

    async def put_manifest(
        self, name: str, reference: str, manifest: bytes, media_type: str = IMAGE_MANIFEST
    ) -> Answer:
        """Push a manifest alone."""
        return await self.ask(
            "PUT", f"/v2/{name}/manifests/{reference}", manifest, headers={"content-type": media_type}
        )

    async def start(self, name: str) -> str:
        """Open an upload session and give its location."""
        answer = await self.ask("POST", f"/v2/{name}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.headers["location"]
