"""buildah against a running server: it builds an image from nothing and pushes it in every form."""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import images, texts
from tests.clients.commands import Shell
from tests.clients.logins import log_in
from tests.clients.plain_registry import PlainRegistry
from tests.requirements import require_root
from tests.running import RunningServer

INSECURE = "--tls-verify=false"
ZSTD = f"{images.OCI_LAYER}+zstd"
GZIP = f"{images.OCI_LAYER}+gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildah:
    """The buildah command over a store that only this module uses."""

    shell: Shell
    store: Path

    def run(self, *arguments: str) -> str:
        """Run `buildah ...`, which must succeed; gives the last line."""
        return self.shell.run(*self.command(*arguments)).strip()

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The whole command line."""
        places = ("--root", str(self.store / "root"), "--runroot", str(self.store / "run"))
        return ("buildah", *places, "--storage-driver", "vfs", *arguments)

    def build(self, name: str, base: str, **files: str) -> None:
        """Build an image of a few files in `/etc` over a base, as `name`."""
        container = self.run("from", INSECURE, base)
        for file, content in files.items():
            (self.shell.home / file).write_text(content)
            self.run("copy", container, file, f"/etc/{file}")
        self.run("config", "--cmd", "/bin/none", "--label", f"files={len(files)}", container)
        self.run("commit", "--rm", container, name)


@pytest.fixture(scope="module")
def buildah(server: RunningServer, shell: Shell) -> Iterator[Buildah]:
    require_root()
    log_in(shell, server, "buildah")
    with tempfile.TemporaryDirectory(prefix="buildah-", ignore_cleanup_errors=True) as store:
        yield Buildah(shell=shell, store=Path(store))


@pytest.mark.quirk("any-layer-type")
@pytest.mark.parametrize(
    ("options", "manifest_type", "layer_type"),
    [
        (("--format", "oci"), images.OCI_MANIFEST, GZIP),
        (("--format", "docker"), images.DOCKER_MANIFEST, images.DOCKER_LAYER),
        (("--format", "oci", "--compression-format", "zstd"), images.OCI_MANIFEST, ZSTD),
        (("--format", "oci", "--compression-format", "zstd:chunked"), images.OCI_MANIFEST, ZSTD),
    ],
)
def test_an_image_built_from_nothing_is_pushed_and_pulled(
    server: RunningServer, buildah: Buildah, options: tuple[str, ...], manifest_type: str, layer_type: str
) -> None:
    name = f"buildah/{'-'.join(re.sub('[^a-z]+', '', word) for word in options)}"
    uri = server.create_repository(name)
    buildah.build(f"{uri}:v1", "scratch", motd=f"pushed as {name}")
    buildah.run("push", INSECURE, *options, f"{uri}:v1")
    with PlainRegistry(server) as registry:
        answer = registry.manifest(name, "v1")
        assert answer.headers["content-type"] == manifest_type
        assert [layer["mediaType"] for layer in answer.document()["layers"]] == [layer_type]
    buildah.run("rmi", f"{uri}:v1")
    buildah.run("pull", INSECURE, f"{uri}:v1")


def test_an_image_is_built_over_one_that_is_pulled(server: RunningServer, buildah: Buildah) -> None:
    base, uri = server.create_repository("buildah/base"), server.create_repository("buildah/over")
    with PlainRegistry(server) as registry:
        image = images.make_image([images.gzip_layer(images.files_archive({"etc/base": b"is here"}))])
        registry.push("buildah/base", "v1", image)
    buildah.build(f"{uri}:v1", f"{base}:v1", motd="over it")
    buildah.run("push", INSECURE, "--format", "oci", f"{uri}:v1")
    with PlainRegistry(server) as registry:
        pushed = registry.manifest("buildah/over", "v1").document()
        assert len(pushed["layers"]) == 2
        config = json.loads(registry.blob("buildah/over", pushed["config"]["digest"]))
    assert config["rootfs"]["diff_ids"][0] == image.layers[0].diff_id


def test_a_list_of_images_is_pushed_with_them(server: RunningServer, buildah: Buildah) -> None:
    uri = server.create_repository("buildah/list")
    buildah.run("manifest", "create", "several")
    for architecture in ("amd64", "arm64"):
        buildah.build(f"{uri}:{architecture}", "scratch", processor=architecture)
        add = ("--arch", architecture, "--os", "linux")
        buildah.run("manifest", "add", *add, "several", f"{uri}:{architecture}")
    buildah.run("manifest", "push", INSECURE, "--all", "several", f"docker://{uri}:v1")
    with PlainRegistry(server) as registry:
        children = registry.manifest("buildah/list", "v1").document()["manifests"]
        assert [child["platform"]["architecture"] for child in children] == ["amd64", "arm64"]
        assert [registry.manifest("buildah/list", child["digest"]).status for child in children] == [200, 200]


def test_an_unknown_repository_is_named_in_ecrs_words(server: RunningServer, buildah: Buildah) -> None:
    buildah.build("lost", "scratch", motd="for nowhere")
    push = buildah.command("push", INSECURE, "lost", f"docker://{server.host}/buildah/nowhere:v1")
    assert texts.unknown_repository("buildah/nowhere") in buildah.shell.fail(*push)
