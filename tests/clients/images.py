"""Real images for the client tests: Debian packages of this machine, packed into layers.

The same machine gives the same bytes each time: entries are sorted and carry no times or owners. Manifests,
configs and layers are kept whole in memory, so that a test can compare what was pulled with what was made.
"""

import dataclasses
import functools
import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

BASE_PACKAGES = ("base-files", "dash", "libc6")
"""Enough of Debian for a shell to run in a container."""
TOOL_PACKAGES = ("grep", "sed", "hostname")

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer as a registry holds it, with the file system archive that it unpacks to."""

    media_type: str
    content: bytes = field(repr=False)
    archive: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """The digest of the compressed bytes."""
        return digest_of(self.content)

    @property
    def diff_id(self) -> str:
        """The digest of the archive."""
        return digest_of(self.archive)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image for one platform: its manifest, its config and its layers."""

    architecture: str
    manifest: bytes = field(repr=False)
    config: bytes = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)
    media_type: str = OCI_MANIFEST

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        """The digest of the config: what docker calls the image's id."""
        return digest_of(self.config)

    def contents(self) -> dict[str, bytes]:
        """Everything that the image consists of, by digest."""
        return {self.digest: self.manifest, **self.blobs()}

    def blobs(self) -> dict[str, bytes]:
        """Config and layers by digest."""
        return {self.config_digest: self.config, **{layer.digest: layer.content for layer in self.layers}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One name for the same image on several platforms."""

    manifest: bytes = field(repr=False)
    images: tuple[Image, ...] = field(repr=False)
    media_type: str = OCI_INDEX

    @property
    def digest(self) -> str:
        """The digest of the index itself."""
        return digest_of(self.manifest)

    def contents(self) -> dict[str, bytes]:
        """The index and everything below it, by digest."""
        found = {self.digest: self.manifest}
        for image in self.images:
            found.update(image.contents())
        return found


def digest_of(content: bytes) -> str:
    """The sha256 digest in the registries' notation."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def canonical(document: Mapping[str, Any]) -> bytes:
    """A document as the bytes that are pushed."""
    return json.dumps(document, indent=2, sort_keys=True).encode()


@functools.cache
def package_archive(*packages: str) -> bytes:
    """The files of installed Debian packages as one file system archive."""
    listed = subprocess.run(
        ["/usr/bin/dpkg-query", "--listfiles", *packages],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    paths = {real_path(line) for line in listed.stdout.splitlines() if line.startswith("/") and line != "/."}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(path for path in paths if os.path.lexists(path)):
            archive.add(path, arcname=path.lstrip("/"), recursive=False, filter=anonymous)
    return written.getvalue()


def real_path(path: str) -> str:
    """The path with its folder's symbolic links followed, since `/bin` and `/lib` are links into `/usr`."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - a Path would lose nothing but speed


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The entry without what differs from machine to machine."""
    entry.mtime = 0
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def files_archive(files: Mapping[str, bytes]) -> bytes:
    """An archive of a few files."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


@functools.cache
def random_archive(size_bytes: int, seed: int) -> bytes:
    """One file that no compression makes smaller."""
    return files_archive({"srv/noise": random.Random(seed).randbytes(size_bytes)})


@functools.cache
def gzip_layer(archive: bytes, level: int = 1) -> Layer:
    """The archive as the layer that most builders make; level 0 stores noise without working on it."""
    return Layer(
        media_type=f"{OCI_LAYER}+gzip", content=gzip.compress(archive, level, mtime=0), archive=archive
    )


def zstd_layer(archive: bytes) -> Layer:
    """The archive as the layer that newer builders make."""
    packed = subprocess.run(
        ["/usr/bin/zstd", "-1", "--stdout"], input=archive, capture_output=True, timeout=60, check=True
    )
    return Layer(media_type=f"{OCI_LAYER}+zstd", content=packed.stdout, archive=archive)


def make_image(layers: Iterable[Layer], *, architecture: str = "amd64", **labels: str) -> Image:
    """An OCI image that would run a shell; labels make it another image with the same layers."""
    layers = tuple(layers)
    config = canonical(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
    )
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, config),
            "layers": [descriptor(layer.media_type, layer.content) for layer in layers],
        }
    )
    return Image(architecture=architecture, manifest=manifest, config=config, layers=layers)


def as_docker(image: Image) -> Image:
    """The same image in the form that docker gave images before there was OCI's; its layers must be gzip's."""
    document = json.loads(image.manifest)
    document["mediaType"] = DOCKER_MANIFEST
    document["config"]["mediaType"] = DOCKER_CONFIG
    for layer in document["layers"]:
        layer["mediaType"] = DOCKER_LAYER
    return dataclasses.replace(image, manifest=canonical(document), media_type=DOCKER_MANIFEST)


def make_index(*images: Image) -> Index:
    """An image index over images of several platforms."""
    children = [
        {
            **descriptor(image.media_type, image.manifest),
            "platform": {"architecture": image.architecture, "os": "linux"},
        }
        for image in images
    ]
    manifest = canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})
    return Index(manifest=manifest, images=images)


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    """What a manifest says of a thing that it needs."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def debian_image(**labels: str) -> Image:
    """Two layers of Debian and one small file."""
    layers = [gzip_layer(package_archive(*BASE_PACKAGES)), gzip_layer(package_archive(*TOOL_PACKAGES))]
    return make_image([*layers, gzip_layer(files_archive({"etc/motd": b"welcome\n"}))], **labels)


def mixed_image(**labels: str) -> Image:
    """A gzip layer and a zstd layer."""
    layers = [gzip_layer(package_archive(*BASE_PACKAGES)), zstd_layer(package_archive(*TOOL_PACKAGES))]
    return make_image(layers, **labels)


def heavy_image(size_bytes: int = 64 * MEBIBYTE, seed: int = 7) -> Image:
    """A Debian layer and a large one of noise."""
    return make_image(
        [gzip_layer(package_archive(*BASE_PACKAGES)), gzip_layer(random_archive(size_bytes, seed), 0)]
    )


def multi_platform_index(**labels: str) -> Index:
    """The same image for two processors."""
    return make_index(
        *(
            make_image(
                [
                    gzip_layer(package_archive(*BASE_PACKAGES)),
                    gzip_layer(files_archive({"etc/processor": architecture.encode()})),
                ],
                architecture=architecture,
                **labels,
            )
            for architecture in ("amd64", "arm64")
        )
    )


def write_layout(folder: Path, *named: tuple[str, Image | Index]) -> Path:
    """Write an OCI image layout, which skopeo, crane and oras read; each image gets the name before it."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    for name, item in named:
        for digest, content in item.contents().items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(content)
        annotations = {"org.opencontainers.image.ref.name": name}
        entries.append({**descriptor(item.media_type, item.manifest), "annotations": annotations})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (folder / "index.json").write_bytes(canonical(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def read_layout(folder: Path) -> dict[str, bytes]:
    """All that an OCI image layout holds, by digest."""
    return {f"sha256:{path.name}": path.read_bytes() for path in (folder / "blobs" / "sha256").iterdir()}


def write_docker_archive(path: Path, image: Image, *names: str) -> Path:
    """Write what `docker save` would, for `docker load` and `podman load`."""
    config_name = f"{image.config_digest.removeprefix('sha256:')}.json"
    layer_names = [f"{layer.diff_id.removeprefix('sha256:')}.tar" for layer in image.layers]
    listing = [{"Config": config_name, "RepoTags": list(names), "Layers": layer_names}]
    with tarfile.open(path, mode="w") as archive:
        add_file(archive, config_name, image.config)
        for name, layer in zip(layer_names, image.layers, strict=True):
            add_file(archive, name, layer.archive)
        add_file(archive, "manifest.json", json.dumps(listing).encode())
    return path


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to an archive that is being written."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
