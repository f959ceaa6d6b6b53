"""What is pushed beside images: attestations, build caches, charts, signatures, and referrers of every kind.

Each is shaped as the tool makes it that the function names, with content of our own.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.clients.images import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Image,
    Layer,
    canonical,
    descriptor,
    digest_of,
    files_archive,
    gzip_layer,
)
from tests.clients.plain_registry import PlainRegistry

OCI_EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
BUILDKIT_CACHE = "application/vnd.buildkit.cacheconfig.v0"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HELM_PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
COSIGN_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN_ENVELOPE = "application/vnd.dsse.envelope.v1+json"
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOTATION = "application/vnd.cncf.notary.signature"
JOSE = "application/jose+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A manifest, and the blobs that it needs by digest."""

    manifest: bytes = field(repr=False)
    blobs: tuple[bytes, ...] = field(repr=False)
    media_type: str = OCI_MANIFEST

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)

    @property
    def descriptor(self) -> dict[str, Any]:
        """What an index or a subject says of it."""
        return descriptor(self.media_type, self.manifest)

    def push(self, registry: PlainRegistry, repository_name: str, reference: str | None = None) -> None:
        """Upload blobs and manifest, by the manifest's digest unless a tag is given."""
        for content in self.blobs:
            registry.push_blob(repository_name, content)
        registry.push_manifest(repository_name, reference or self.digest, self.manifest, self.media_type)

    def is_held(self, registry: PlainRegistry, repository_name: str, reference: str) -> bool:
        """Whether the reference names this, and every byte of it is there."""
        named = registry.manifest(repository_name, reference)
        blobs = [registry.blob(repository_name, digest_of(content)) for content in self.blobs]
        return (named.body, blobs) == (self.manifest, list(self.blobs))


def artifact(
    config: tuple[str, bytes], layers: Iterable[tuple[str, bytes, dict[str, str]]], **fields: Any
) -> Artifact:
    """An artifact of a config and layers, each with its media type; the layers with annotations."""
    layers = list(layers)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(*config),
        "layers": [
            {**descriptor(media_type, content), **({"annotations": notes} if notes else {})}
            for media_type, content, notes in layers
        ],
        **fields,
    }
    blobs = (config[1], *(content for _, content, _ in layers))
    return Artifact(manifest=canonical(document), blobs=tuple(dict.fromkeys(blobs)))


def attestation(image: Image, predicate_type: str, *, is_artifact: bool) -> Artifact:
    """What BuildKit says of an image's making: as an image of its own, or lately as an artifact with a subject."""
    statement = json.dumps(
        {"predicateType": predicate_type, "subject": [{"digest": image.digest}], "predicate": {}}
    ).encode()
    layers = [(IN_TOTO, statement, {"in-toto.io/predicate-type": predicate_type})]
    if is_artifact:
        subject = descriptor(image.media_type, image.manifest)
        return artifact((OCI_EMPTY, b"{}"), layers, artifactType=IN_TOTO, subject=subject)
    rootfs = {"type": "layers", "diff_ids": [digest_of(statement)]}
    config = canonical({"architecture": "unknown", "os": "unknown", "rootfs": rootfs})
    return artifact((OCI_CONFIG, config), layers)


def attested_index(images: Iterable[Image], attestations: Iterable[Artifact]) -> Artifact:
    """The index that `docker buildx build --push` tags: images, and beside each its attestation."""
    entries: list[dict[str, Any]] = []
    for image, statement in zip(images, attestations, strict=True):
        platform = {"architecture": image.architecture, "os": "linux"}
        entries.append({**descriptor(image.media_type, image.manifest), "platform": platform})
        notes = {
            "vnd.docker.reference.digest": image.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        }
        nowhere = {"architecture": "unknown", "os": "unknown"}
        entries.append({**statement.descriptor, "annotations": notes, "platform": nowhere})
    index = canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return Artifact(manifest=index, blobs=(), media_type=OCI_INDEX)


def build_cache(layers: Iterable[Layer]) -> Artifact:
    """BuildKit's cache in the form that it has by default since 0.21: an image whose config is the cache's."""
    layers = list(layers)
    records = [{"layer": number, "digest": layer.digest} for number, layer in enumerate(layers)]
    config = canonical({"layers": [{"blob": layer.digest} for layer in layers], "records": records})
    return artifact((BUILDKIT_CACHE, config), [(layer.media_type, layer.content, {}) for layer in layers])


def old_build_cache(layers: Iterable[Layer]) -> Artifact:
    """BuildKit's cache in its first form: an index whose entries are layers and no manifests."""
    layers = list(layers)
    config = canonical({"layers": [{"blob": layer.digest} for layer in layers], "records": []})
    parts = [descriptor(layer.media_type, layer.content) for layer in layers]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    index = canonical({**document, "manifests": [*parts, descriptor(BUILDKIT_CACHE, config)]})
    blobs = (config, *(layer.content for layer in layers))
    return Artifact(manifest=index, blobs=blobs, media_type=OCI_INDEX)


def helm_chart(name: str, version: str) -> Artifact:
    """What `helm push` makes of a chart that was packed with its provenance."""
    about = {"apiVersion": "v2", "name": name, "version": version, "type": "application"}
    chart = gzip_layer(files_archive({f"{name}/Chart.yaml": json.dumps(about).encode()}))
    notes = {"org.opencontainers.image.title": name, "org.opencontainers.image.version": version}
    layers: list[tuple[str, bytes, dict[str, str]]] = [
        (HELM_CHART, chart.content, {}),
        (HELM_PROVENANCE, b"-----BEGIN PGP SIGNED MESSAGE-----\n", {}),
    ]
    return artifact((HELM_CONFIG, json.dumps(about).encode()), layers, annotations=notes)


def cosign_tag(digest: str, kind: str) -> str:
    """Where cosign keeps what belongs to an image: `sha256-<hex>.sig`, `.att`, `.sbom`."""
    return f"{digest.replace(':', '-')}.{kind}"


def cosign_signature(*signatures: str, media_type: str = COSIGN_PAYLOAD) -> Artifact:
    """An image with one layer for each signature; signing again adds one and moves the tag."""
    payloads = [
        canonical({"critical": {"type": "cosign container image signature"}, "by": by}) for by in signatures
    ]
    layers = [
        (media_type, payload, {"dev.cosignproject.cosign/signature": signature})
        for payload, signature in zip(payloads, signatures, strict=True)
    ]
    rootfs = {"type": "layers", "diff_ids": [digest_of(payload) for payload in payloads]}
    return artifact((OCI_CONFIG, canonical({"architecture": "", "os": "", "rootfs": rootfs})), layers)


def referrer(subject: dict[str, Any], artifact_type: str, content: bytes, **notes: str) -> Artifact:
    """What cosign 3 and BuildKit attach to an image: an artifact with an empty config."""
    layers: list[tuple[str, bytes, dict[str, str]]] = [(artifact_type, content, {})]
    empty = (OCI_EMPTY, b"{}")
    return artifact(empty, layers, artifactType=artifact_type, subject=subject, annotations=notes)


def notation_signature(subject: dict[str, Any]) -> Artifact:
    """What notation attaches to an image: its kind is told by the config's media type alone."""
    layers: list[tuple[str, bytes, dict[str, str]]] = [(JOSE, b'{"payload":"","signatures":[]}', {})]
    notes = {"io.cncf.notary.x509chain.thumbprint#S256": '["0a1b"]'}
    return artifact((NOTATION, b"{}"), layers, subject=subject, annotations=notes)


def fallback_tag(digest: str) -> str:
    """The tag under which clients keep an index of referrers where a registry has no call for them."""
    return digest.replace(":", "-")


def fallback_index(*referrers: Artifact) -> Artifact:
    """The index behind the fallback tag."""
    entries = [
        {**each.descriptor, "artifactType": json.loads(each.manifest).get("artifactType", NOTATION)}
        for each in referrers
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Artifact(manifest=canonical(document), blobs=(), media_type=OCI_INDEX)
