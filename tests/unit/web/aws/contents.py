"""Small images, pushed and listed through the AWS API, for the tests of images and layers."""

import hashlib
import json
from typing import Any

from openecr.testing.aws import AwsClient

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
UNKNOWN = "sha256:" + "0" * 64
NO_UPLOAD = "00000000-0000-4000-8000-000000000000"


def digest_of(content: str | bytes) -> str:
    return "sha256:" + hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def manifest(*layers: bytes, config: bytes = b"{}", **fields: Any) -> str:
    def described(media_type: str, content: bytes) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}

    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": described(CONFIG, config),
        "layers": [described(LAYER, each) for each in layers],
    }
    return json.dumps(document | fields)


def index(*manifests: str) -> str:
    entries = [{"mediaType": IMAGE, "digest": digest_of(each), "size": len(each)} for each in manifests]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


async def upload(ecr: AwsClient, content: bytes, *, part_bytes: int = 1 << 20) -> str:
    """Upload a layer in parts, as ECR's own clients do."""
    started = await ecr.call("initiate_layer_upload", repositoryName="app")
    for start in range(0, len(content), part_bytes):
        part = content[start : start + part_bytes]
        await ecr.call(
            "upload_layer_part",
            repositoryName="app",
            uploadId=started["uploadId"],
            partFirstByte=start,
            partLastByte=start + len(part) - 1,
            layerPartBlob=part,
        )
    completed = await ecr.call(
        "complete_layer_upload",
        repositoryName="app",
        uploadId=started["uploadId"],
        layerDigests=[digest_of(content)],
    )
    digest: str = completed["layerDigest"]
    return digest


async def push(ecr: AwsClient, *layers: bytes, tag: str | None = None, **fields: Any) -> str:
    """Push an image and return its manifest."""
    for content in (b"{}", *layers):
        found = await ecr.call(
            "batch_check_layer_availability", repositoryName="app", layerDigests=[digest_of(content)]
        )
        if found["layers"][0]["layerAvailability"] == "UNAVAILABLE":
            await upload(ecr, content)
    document = manifest(*layers, **fields)
    tagged = {} if tag is None else {"imageTag": tag}
    await ecr.call("put_image", repositoryName="app", imageManifest=document, **tagged)
    return document


async def pages(ecr: AwsClient, operation: str, member: str, **parameters: Any) -> list[Any]:
    """Follow the tokens to the end."""
    found: list[Any] = []
    while True:
        page = await ecr.call(operation, repositoryName="app", **parameters)
        found += page[member]
        if "nextToken" not in page:
            return found
        parameters["nextToken"] = page["nextToken"]
