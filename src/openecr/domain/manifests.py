"""Manifests: the documents that describe images, parsed from the exact bytes that were pushed.

Sources: OCI image-spec 1.1 (manifest.md, image-index.md, descriptor.md), Docker image manifest v2 schema 2, and its
schema 1, which ECR still takes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Never, cast

from openecr.domain.digests import Digest
from openecr.domain.errors import InvalidManifest, ManifestTooLarge

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SIGNED_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

IMAGE_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
SCHEMA_1_TYPES = frozenset({DOCKER_SCHEMA_1, DOCKER_SIGNED_SCHEMA_1})
_SUPPORTED = IMAGE_TYPES | INDEX_TYPES | SCHEMA_1_TYPES

_SCHEMA_1_LAYER = "application/vnd.docker.container.image.rootfs.diff+x-gtar"
_FOREIGN_PREFIXES = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)

MANIFEST_MAX_BYTES = 4 * 1024 * 1024
REFERENCES_MAX = 1_000
_DEPTH_MAX = 64
_SIZE_MAX = 2**63 - 1
_MEDIA_TYPE_MAX_CHARACTERS = 255
_TOLD_CHARACTERS = 200
_SURROGATE = re.compile("[\ud800-\udfff]")


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


def parse(
    content: bytes,
    declared_media_type: str | None,
    *,
    max_bytes: int = MANIFEST_MAX_BYTES,
    max_references: int = REFERENCES_MAX,
) -> Manifest:
    """Parse a manifest. Raises InvalidManifest, ManifestTooLarge.

    `declared_media_type` is what came beside the bytes, without parameters; it must agree with the body's own
    `mediaType`. `max_references` bounds the layers, and the manifests, that one document names.
    """
    if len(content) > max_bytes:
        raise ManifestTooLarge(limit_bytes=max_bytes)
    document = _load(content)
    media_type = _media_type(document, declared_media_type)
    for name in ("layers", "manifests", "fsLayers"):
        if len(_as_list(document.get(name)) or ()) > max_references:
            raise InvalidManifest(detail=f"{name} has more than {max_references} entries")
    if media_type in SCHEMA_1_TYPES:
        return _schema_1(document, media_type)
    _check_schema_version(document, 2)
    is_index = media_type in INDEX_TYPES
    config = None if is_index else _descriptor(document.get("config"), "config")
    subject = document.get("subject")
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


def _schema_1(document: Mapping[str, Any], media_type: str) -> Manifest:
    """Schema 1 has no config, says no sizes, and names the same empty layer again and again."""
    _check_schema_version(document, 1)
    digests: dict[Digest, None] = {}
    for each in _as_list(document.get("fsLayers")) or ():
        layer = _as_object(each) or {}
        digests[_digest(layer.get("blobSum"), "fsLayers")] = None
    return Manifest(
        media_type=media_type,
        artifact_type=None,
        subject=None,
        blobs=tuple(
            Descriptor(media_type=_SCHEMA_1_LAYER, digest=digest, size_bytes=0) for digest in digests
        ),
        children=(),
        annotations={},
    )


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


def _check_schema_version(document: Mapping[str, Any], expected: int) -> None:
    version = document.get("schemaVersion")
    if isinstance(version, bool) or not isinstance(version, int) or version != expected:
        raise InvalidManifest(detail=f"schemaVersion must be {expected}")


def _media_type(document: Mapping[str, Any], declared: str | None) -> str:
    in_body = document.get("mediaType")
    if in_body is not None and not isinstance(in_body, str):
        raise InvalidManifest(detail="mediaType must be a string")
    if declared and in_body and declared != in_body:
        raise InvalidManifest(detail=f"mediaType is {_told(in_body)} but {_told(declared)} was declared")
    found = declared or in_body or _sniff(document)
    if found not in _SUPPORTED:
        raise InvalidManifest(detail=f"the media type {_told(found)} is not supported")
    # CVE-2021-41190: clients that look at different members would see different images.
    kinds = [{"config", "layers"}, {"manifests"}, {"fsLayers"}]
    if sum(not kind.isdisjoint(document) for kind in kinds) > 1:
        raise InvalidManifest(detail="a manifest is either an image or an index")
    if "manifests" not in document and found in INDEX_TYPES:
        raise InvalidManifest(detail="manifests is missing")
    return found


def _sniff(document: Mapping[str, Any]) -> str:
    if "manifests" in document:
        return OCI_INDEX
    if "config" in document and "layers" in document:
        return OCI_MANIFEST
    if "fsLayers" in document:
        return DOCKER_SIGNED_SCHEMA_1 if "signatures" in document else DOCKER_SCHEMA_1
    raise InvalidManifest(detail="the media type cannot be told")


def _told(text: str) -> str:
    """Return what a caller wrote as a text that any answer can hold."""
    return ascii(text[:_TOLD_CHARACTERS])


def _artifact_type(document: Mapping[str, Any], config: Descriptor | None) -> str | None:
    """The manifest's own, else the type of its config (distribution-spec 1.1, "Listing referrers")."""
    artifact_type = document.get("artifactType")
    if artifact_type is None or artifact_type == "":
        return None if config is None else config.media_type
    return _check_media_type(artifact_type, "artifactType")


def _annotations(document: Mapping[str, Any]) -> dict[str, str]:
    if document.get("annotations") is None:
        return {}
    annotations = _as_object(document["annotations"])
    if annotations is None or not all(map(_is_text, (*annotations, *annotations.values()))):
        raise InvalidManifest(detail="annotations must be strings by name")
    return annotations


def _is_text(value: object) -> bool:
    """Tell whether this is a string of whole characters: JSON can write halves of a pair, which no encoding takes."""
    return isinstance(value, str) and _SURROGATE.search(value) is None


def _descriptors(document: Mapping[str, Any], name: str) -> tuple[Descriptor, ...]:
    """Programs written in Go say null for an empty list."""
    found = document.get(name)
    listed = [] if found is None else _as_list(found)
    if listed is None:
        raise InvalidManifest(detail=f"{name} must be a list")
    return tuple(_descriptor(each, name) for each in listed)


def _descriptor(value: object, where: str) -> Descriptor:
    document = _as_object(value)
    if document is None:
        raise InvalidManifest(detail=f"a descriptor in {where} is missing or no object")
    size = document.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _SIZE_MAX:
        raise InvalidManifest(detail=f"a size in {where} is not a number of bytes")
    media_type = _check_media_type(document.get("mediaType"), where)
    return Descriptor(
        media_type=media_type,
        digest=_digest(document.get("digest"), where),
        size_bytes=size,
        is_foreign=media_type.startswith(_FOREIGN_PREFIXES) and bool(_as_list(document.get("urls"))),
    )


def _digest(value: object, where: str) -> Digest:
    digest = Digest.find(value) if isinstance(value, str) else None
    if digest is None:
        raise InvalidManifest(detail=f"a digest in {where} is malformed or of an unsupported algorithm")
    return digest


def _check_media_type(value: object, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MEDIA_TYPE_MAX_CHARACTERS:
        raise InvalidManifest(detail=f"a media type in {where} is missing or too long")
    if ";" in value or not value.isprintable():
        raise InvalidManifest(detail=f"a media type in {where} has parameters or control characters")
    return value
