"""Layers: asked about, uploaded in parts, and downloaded by URL. Config blobs are layers here as well."""

from collections.abc import AsyncIterator
from typing import Any

from openecr.application.uploads import FinishRules
from openecr.domain.blobs import LayerFailure, LayerStatus
from openecr.domain.digests import ALGORITHMS, Digest
from openecr.domain.errors import InvalidParameter, LayerNotFound
from openecr.web.aws.call import Call, Output, Services

PART_SIZE_BYTES = 10 * 1024 * 1024
"""What InitiateLayerUpload advises. The model allows twice as much."""

DOWNLOADS_PATH = "/layers/"
"""Where download URLs lead; their seal comes next."""

_CHUNK_BYTES = 1024 * 1024


async def batch_check_layer_availability(services: Services, call: Call) -> Output:
    """Tell which layers this repository holds; what it does not is no failure."""
    found, failures = await services.blobs.check(call.grant, call.parameters["layerDigests"])
    return {
        "layers": [_layer(each) for each in found],
        "failures": [_failure(each) for each in failures],
    }


async def initiate_layer_upload(services: Services, call: Call) -> Output:
    """Open an upload."""
    upload = await services.uploads.start(call.grant)
    return {"uploadId": upload.id, "partSize": PART_SIZE_BYTES}


async def upload_layer_part(services: Services, call: Call) -> Output:
    """Take the next part; both ends of its range are in it."""
    parameters = call.parameters
    first_byte, last_byte = parameters["partFirstByte"], parameters["partLastByte"]
    if last_byte < first_byte:
        raise InvalidParameter(
            parameter="partLastByte", constraint="must be greater than or equal to partFirstByte"
        )
    upload = await services.uploads.append(
        call.grant,
        parameters["uploadId"].lower(),
        _chunks(parameters["layerPartBlob"]),
        first_byte=first_byte,
        length_bytes=last_byte - first_byte + 1,
    )
    return {**_upload_members(call), "lastByteReceived": upload.received_bytes - 1}


async def complete_layer_upload(services: Services, call: Call) -> Output:
    """Close an upload: one of the digests must be the one of its bytes."""
    blob = await services.uploads.finish(
        call.grant,
        call.parameters["uploadId"].lower(),
        _served_digests(call.parameters["layerDigests"]),
        chunks=None,
        first_byte=None,
        rules=FinishRules.AWS,
    )
    return {**_upload_members(call), "layerDigest": str(blob.digest)}


async def get_download_url_for_layer(services: Services, call: Call) -> Output:
    """Return a URL of this server that gives the layer for an hour, as long as the caller may have it."""
    repository = call.grant.require_repository()
    text = call.parameters["layerDigest"]
    digest = Digest.find(text)
    if digest is None:
        raise LayerNotFound(
            digest=text, repository_name=repository.name, registry_id=repository.registry.account_id
        )
    session = await services.sessions.carry(call.caller)
    token = await services.blobs.download_link(call.grant, digest, session)
    endpoint = services.hosts.endpoint(repository.registry)
    return {"downloadUrl": f"{endpoint}{DOWNLOADS_PATH}{token}", "layerDigest": text}


def _served_digests(texts: list[str]) -> list[Digest]:
    """Return the digests that can match at all, sha256 first: that is the one ECR answers."""
    found = (Digest.find(text) for text in dict.fromkeys(texts))
    return sorted(
        (digest for digest in found if digest is not None),
        key=lambda digest: ALGORITHMS.index(digest.algorithm),
    )


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _CHUNK_BYTES):
        yield content[start : start + _CHUNK_BYTES]


def _upload_members(call: Call) -> dict[str, Any]:
    repository = call.grant.require_repository()
    return {
        "registryId": repository.registry.account_id,
        "repositoryName": repository.name,
        "uploadId": call.parameters["uploadId"],
    }


def _layer(status: LayerStatus) -> dict[str, Any]:
    return {
        "layerDigest": status.digest,
        "layerAvailability": status.availability.value,
        "layerSize": status.size_bytes,
        "mediaType": status.media_type,
    }


def _failure(failure: LayerFailure) -> dict[str, Any]:
    return {
        "layerDigest": failure.digest,
        "failureCode": failure.code.value,
        "failureReason": failure.reason,
    }
