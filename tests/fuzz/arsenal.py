"""What the fuzzed server holds from the start, and what requests are made of that name it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

KEPT = "kept/app"
"""Whatever is asked, this repository is only ever read."""

FUZZED = ("fuzz/app", "fuzz/other", "fuzz/new")

LAYERS = tuple(f"layer {number}".encode() * 50 for number in range(3))
CONFIG = b'{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}'
HELLO = b"hello"
BLOBS = (*LAYERS, CONFIG, b"{}", HELLO)

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
SCHEMA_1 = f"{DOCKER}distribution.manifest.v1+prettyjws"
MEDIA_TYPES = (
    f"{OCI}manifest.v1+json",
    f"{OCI}index.v1+json",
    f"{DOCKER}distribution.manifest.v2+json",
    f"{DOCKER}distribution.manifest.list.v2+json",
    f"{DOCKER}distribution.manifest.v1+json",
    SCHEMA_1,
)


def digest(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def _descriptor(media_type: str, content: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}


def _image(family: str, config_type: str, layer_type: str, **more: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": family,
        "config": _descriptor(config_type, CONFIG),
        "layers": [_descriptor(layer_type, layer) for layer in LAYERS],
        **more,
    }


def _write(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A manifest that is well formed."""

    name: str
    media_type: str
    document: dict[str, Any]

    @property
    def content(self) -> bytes:
        """Return its bytes."""
        return _write(self.document)


def _samples() -> Sequence[Sample]:
    oci_image = _image(MEDIA_TYPES[0], f"{OCI}config.v1+json", f"{OCI}layer.v1.tar+gzip")
    docker_image = _image(
        MEDIA_TYPES[2], f"{DOCKER}container.image.v1+json", f"{DOCKER}image.rootfs.diff.tar.gzip"
    )
    subject = _descriptor(MEDIA_TYPES[0], _write(oci_image))
    artifact = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPES[0],
        "artifactType": "application/vnd.example",
        "config": _descriptor("application/vnd.oci.empty.v1+json", b"{}", data="e30="),
        "layers": [_descriptor("application/octet-stream", HELLO, urls=["https://example.com/"])],
        "subject": subject,
        "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    }
    platform = {"architecture": "arm64", "os": "linux", "variant": "v8", "os.features": ["a"]}
    index = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPES[1],
        "manifests": [{**subject, "platform": platform}],
    }
    docker_list = {
        "schemaVersion": 2,
        "mediaType": MEDIA_TYPES[3],
        "manifests": [_descriptor(MEDIA_TYPES[2], _write(docker_image), platform=platform)],
    }
    schema_1 = {
        "schemaVersion": 1,
        "name": KEPT,
        "tag": "old",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": digest(layer)} for layer in LAYERS],
        "history": [{"v1Compatibility": '{"id": "a"}'} for _ in LAYERS],
        "signatures": [{"header": {"alg": "ES256"}, "signature": "AAAA", "protected": "AAAA"}],
    }
    return (
        Sample(name="image", media_type=MEDIA_TYPES[0], document=oci_image),
        Sample(name="docker", media_type=MEDIA_TYPES[2], document=docker_image),
        Sample(name="artifact", media_type=MEDIA_TYPES[0], document=artifact),
        Sample(name="index", media_type=MEDIA_TYPES[1], document=index),
        Sample(name="list", media_type=MEDIA_TYPES[3], document=docker_list),
        Sample(name="old", media_type=SCHEMA_1, document=schema_1),
    )


SAMPLES = _samples()
