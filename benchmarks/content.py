"""The same content for both servers, pushed over the registry protocol."""

import hashlib
import http.client
import json
import random
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from benchmarks.servers import Target

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_KIB = 1024
BLOB_SIZES = {"1 KiB": _KIB, "10 KiB": 10 * _KIB, "1 MiB": 1024 * _KIB, "100 MiB": 100 * 1024 * _KIB}
REPOSITORIES = 1_000
BLOBS = "bench/blobs"
TAGS = (200, 10_000)


def digest_of(content: bytes) -> str:
    """Return the sha256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Pusher:
    """Pushes blobs and manifests on one connection."""

    def __init__(self, target: Target) -> None:
        self._connection = (
            http.client.HTTPSConnection(
                target.host, target.port, timeout=120, context=ssl._create_unverified_context()
            )
            if target.is_tls
            else http.client.HTTPConnection(target.host, target.port, timeout=120)
        )
        self._headers = {"Authorization": target.authorization} if target.authorization else {}

    def _call(
        self, method: str, path: str, body: bytes, kind: str, expected: int
    ) -> http.client.HTTPResponse:
        headers = {**self._headers, "Content-Type": kind, "Content-Length": str(len(body))}
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status != expected:
            message = f"{method} {path}: {response.status} {text[:500]!r}"
            raise RuntimeError(message)
        return response

    def blob(self, repository: str, content: bytes) -> str:
        """Push one blob and return its digest."""
        digest = digest_of(content)
        location = self._call("POST", f"/v2/{repository}/blobs/uploads/", b"", "", 202).headers["Location"]
        parts = urlsplit(location)
        query = f"{parts.query}&" if parts.query else ""
        self._call("PUT", f"{parts.path}?{query}digest={digest}", content, "application/octet-stream", 201)
        return digest

    def image(self, repository: str, tag: str) -> None:
        """Push a manifest of one small layer and a config."""
        config = b"{}"
        layer = repository.encode()
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.blob(repository, config),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": self.blob(repository, layer),
                    "size": len(layer),
                }
            ],
        }
        self._call(
            "PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(document).encode(), MANIFEST_TYPE, 201
        )


def repository_names() -> list[str]:
    """Return the names of the repositories that hold one image each."""
    return [f"bench/app-{number:04d}" for number in range(REPOSITORIES)]


def tagged(count: int) -> str:
    """Return the name of the repository with so many tags."""
    return f"bench/tags-{count}"


def fill_images(target: Target, create: Callable[[str], None]) -> None:
    """Push one small image to each of a thousand repositories."""
    names = repository_names()

    def images(some: list[str]) -> None:
        pusher = Pusher(target)
        for name in some:
            create(name)
            pusher.image(name, "v1")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(images, [names[start::4] for start in range(4)]))


def fill_blobs(target: Target, create: Callable[[str], None]) -> dict[str, str]:
    """Push the blobs, and return the digest of each by its size's name."""
    create(BLOBS)
    pusher = Pusher(target)
    seeded = random.Random(1)  # the same bytes for every server
    return {name: pusher.blob(BLOBS, seeded.randbytes(size)) for name, size in BLOB_SIZES.items()}
