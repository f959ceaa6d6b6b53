"""Manifests: the documents that describe images, parsed from the exact bytes that were pushed.

Sources: OCI image-spec 1.1 (manifest.md, image-index.md, descriptor.md), Docker image manifest v2 schema 2.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Never, cast

from openecr.domain.digests import Digest
from openecr.domain.errors import InvalidManifest, ManifestTooLarge

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

IMAGE_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})

EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
_FOREIGN_PREFIXES = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)

MANIFEST_MAX_BYTES = 4 * 1024 * 1024
REFERENCES_MAX = 1_000
_DEPTH_MAX = 64
_SIZE_MAX = 2**63 - 1
_MEDIA_TYPE_MAX_CHARACTERS = 255
_SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a manifest says of something it refers to."""

    media_type: str
    digest: Digest
    size_bytes: int
    is_foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A parsed manifest. `blobs` are config and layers; `children` the manifests of an index."""

    media_type: str
    artifact_type: str | None
    subject: Digest | None
    blobs: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    annotations: Mapping[str, str]

    @property
    def is_index(self) -> bool:
        """Tell whether this is a list of manifests."""
        return self.media_type in INDEX_TYPES

    @property
    def size_bytes(self) -> int:
        """Return config and layers added up, repeated ones as often as listed."""
        return min(sum(blob.size_bytes for blob in self.blobs), _SIZE_MAX)


def parse(content: bytes, declared_media_type: str | None) -> Manifest:
    """Parse a manifest. Raises InvalidManifest, ManifestTooLarge.

    `declared_media_type` is what came beside the bytes; it must agree with the body's own `mediaType`.
    """
    if len(content) > MANIFEST_MAX_BYTES:
        raise ManifestTooLarge(limit_bytes=MANIFEST_MAX_BYTES)
    document = _load(content)
    media_type = _media_type(document, declared_media_type)
    if document.get("schemaVersion") != _SCHEMA_VERSION:
        raise InvalidManifest(detail="schemaVersion must be 2")
    subject = document.get("subject")
    is_index = media_type in INDEX_TYPES
    config = None if is_index else _descriptor(_required(document, "config"), "config")
    return Manifest(
        media_type=media_type,
        artifact_type=_artifact_type(document, config),
        subject=None if subject is None else _descriptor(subject, "subject").digest,
        blobs=() if config is None else (config, *_descriptors(document, "layers")),
        children=_descriptors(document, "manifests") if is_index else (),
        annotations=_annotations(document),
    )


def annotations_of(content: bytes) -> dict[str, str]:
    """Return the annotations of a manifest that was stored, so is known to parse."""
    return _annotations(json.loads(content))


def _load(content: bytes) -> dict[str, Any]:
    try:
        value: object = json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(detail=str(error)[:200]) from None
    document = _as_object(value)
    if document is None:
        raise InvalidManifest(detail="a manifest is a JSON object")
    if _depth(document) > _DEPTH_MAX:
        raise InvalidManifest(detail=f"nested deeper than {_DEPTH_MAX}")
    return document


def _as_object(value: object) -> dict[str, Any] | None:
    """Return a JSON object as what it is, or None for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _as_list(value: object) -> list[object] | None:
    """Return a JSON array as what it is, or None for anything else."""
    return cast("list[object]", value) if isinstance(value, list) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two parsers may choose different ones of two equal keys, so neither is taken."""
    document = dict(pairs)
    if len(document) != len(pairs):
        message = "a key stands twice in one object"
        raise ValueError(message)
    return document


def _refuse_constant(name: str) -> Never:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _depth(document: dict[str, Any]) -> int:
    level: list[object] = [document]
    depth = 0
    while level and depth <= _DEPTH_MAX:
        depth += 1
        level = [inner for each in level for inner in _members(each)]
    return depth


def _members(value: object) -> list[object]:
    """Return the objects and arrays directly inside one."""
    document = _as_object(value)
    inside = list(document.values()) if document is not None else _as_list(value) or []
    return [each for each in inside if isinstance(each, dict | list)]


def _media_type(document: Mapping[str, Any], declared: str | None) -> str:
    in_body = document.get("mediaType")
    if in_body is not None and not isinstance(in_body, str):
        raise InvalidManifest(detail="mediaType must be a string")
    if declared and in_body and declared != in_body:
        raise InvalidManifest(detail=f"mediaType is {in_body[:200]} but {declared[:200]} was declared")
    found = declared or in_body or _sniff(document)
    if found not in IMAGE_TYPES | INDEX_TYPES:
        raise InvalidManifest(detail=f"the media type {found[:200]} is not supported")
    if ("layers" in document or "config" in document) and "manifests" in document:
        raise InvalidManifest(detail="a manifest is either an image or an index")
    return found


def _sniff(document: Mapping[str, Any]) -> str:
    if "manifests" in document:
        return OCI_INDEX
    if "config" in document and "layers" in document:
        return OCI_MANIFEST
    raise InvalidManifest(detail="the media type cannot be told")


def _artifact_type(document: Mapping[str, Any], config: Descriptor | None) -> str | None:
    artifact_type = document.get("artifactType")
    if artifact_type is not None:
        return _check_media_type(artifact_type, "artifactType")
    return None if config is None else config.media_type


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    if document.get("annotations") is None:
        return {}
    annotations = _as_object(document["annotations"])
    if annotations is None or not all(isinstance(value, str) for value in annotations.values()):
        raise InvalidManifest(detail="annotations must be strings by name")
    return annotations


def _required(document: Mapping[str, Any], name: str) -> object:
    if document.get(name) is None:
        raise InvalidManifest(detail=f"{name} is missing")
    return document[name]


def _descriptors(document: Mapping[str, Any], name: str) -> tuple[Descriptor, ...]:
    found = document.get(name)
    if found is None and name == "layers":
        return ()
    listed = _as_list(found)
    if listed is None:
        raise InvalidManifest(detail=f"{name} must be a list")
    if len(listed) > REFERENCES_MAX:
        raise InvalidManifest(detail=f"{name} has more than {REFERENCES_MAX} entries")
    return tuple(_descriptor(each, name) for each in listed)


def _descriptor(value: object, where: str) -> Descriptor:
    document = _as_object(value)
    if document is None:
        raise InvalidManifest(detail=f"a descriptor in {where} must be an object")
    digest, size = document.get("digest"), document.get("size")
    parsed = Digest.find(digest) if isinstance(digest, str) else None
    if parsed is None:
        raise InvalidManifest(detail=f"a digest in {where} is malformed or of an unsupported algorithm")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _SIZE_MAX:
        raise InvalidManifest(detail=f"a size in {where} is not a number of bytes")
    media_type = _check_media_type(document.get("mediaType"), where)
    return Descriptor(
        media_type=media_type,
        digest=parsed,
        size_bytes=size,
        is_foreign=media_type.startswith(_FOREIGN_PREFIXES) and bool(_as_list(document.get("urls"))),
    )


def _check_media_type(value: object, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MEDIA_TYPE_MAX_CHARACTERS:
        raise InvalidManifest(detail=f"a media type in {where} is missing or too long")
    if ";" in value or not value.isprintable():
        raise InvalidManifest(detail=f"a media type in {where} has parameters or control characters")
    return value
