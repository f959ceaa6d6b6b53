"""Small images for scenarios, pushed and pulled by hand."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tests.scenario.drivers import Answer, Driver

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def digest_of(content: bytes) -> str:
    """Return the sha256 digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True, slots=True)
class SmallImage:
    """One config and one layer."""

    config: bytes
    layer: bytes

    @classmethod
    def named(cls, text: str) -> "SmallImage":
        """Make an image that no other text makes."""
        return cls(
            config=json.dumps({"architecture": "amd64", "os": "linux", "about": text}).encode(),
            layer=text.encode(),
        )

    def manifest(self, **more: Any) -> bytes:
        """Return the manifest's bytes; `more` are further members."""
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {
                    "mediaType": CONFIG_TYPE,
                    "digest": digest_of(self.config),
                    "size": len(self.config),
                },
                "layers": [
                    {"mediaType": LAYER_TYPE, "digest": digest_of(self.layer), "size": len(self.layer)}
                ],
                **more,
            }
        ).encode()


class Registry:
    """A repository as a registry client sees it."""

    def __init__(self, driver: Driver, authorization: str, repository: str, host: str | None = None) -> None:
        self._driver = driver
        self._headers = {"authorization": authorization} | ({"host": host} if host else {})
        self.repository = repository

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request below `/v2/<repository>`; header names take `_` for `-`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._driver.http(
            method, f"/v2/{self.repository}{path}", headers={**self._headers, **more}, body=body
        )

    def start_upload(self) -> str:
        """Open an upload and return its path below the repository."""
        answer = self.call("POST", "/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.headers["location"].removeprefix(f"/v2/{self.repository}")

    def push_blob(self, content: bytes) -> str:
        """Upload one blob in one request after the session."""
        digest = digest_of(content)
        answer = self.call("PUT", f"{self.start_upload()}?digest={digest}", content)
        assert answer.status == 201, answer
        return digest

    def push(self, image: SmallImage, tag: str, **more: Any) -> str:
        """Push an image whole and return its digest."""
        self.push_blob(image.config)
        self.push_blob(image.layer)
        content = image.manifest(**more)
        answer = self.call("PUT", f"/manifests/{tag}", content, content_type=MANIFEST_TYPE)
        assert answer.status == 201, answer
        return digest_of(content)


def error_of(answer: Answer) -> tuple[int, str, str]:
    """Return status, code and message of a registry error."""
    error = json.loads(answer.body)["errors"][0]
    return answer.status, error["code"], error["message"]
