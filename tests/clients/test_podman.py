"""podman against a running server, with an image store of its own."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients import images, texts
from tests.clients.commands import Shell
from tests.clients.plain_registry import PlainRegistry, holds_exactly
from tests.requirements import require_root, require_tool
from tests.running import RunningServer

INSECURE = "--tls-verify=false"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool("podman")
    require_root()


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """The podman command over a store that only this module uses."""

    shell: Shell
    store: Path

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The whole command line for `podman ...`."""
        places = ("--root", str(self.store / "root"), "--runroot", str(self.store / "run"))
        return ("podman", *places, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", *arguments)

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run `podman ...`, which must succeed."""
        return self.shell.run(*self.command(*arguments), stdin=stdin)

    def image_id(self, name: str) -> str:
        """The id of a local image: the digest of its config."""
        return f"sha256:{self.run('image', 'inspect', '--format', '{{.Id}}', name).strip()}"


@pytest.fixture(scope="module")
def podman(server: RunningServer, shell: Shell) -> Iterator[Podman]:
    # Not in pytest's own folder: podman refuses a run folder whose path has more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as store:
        found = Podman(shell=shell, store=Path(store))
        login = ("login", INSECURE, "--username", "AWS", "--password-stdin", server.host)
        assert "Login Succeeded!" in found.run(*login, stdin=server.password())
        yield found


def test_an_image_comes_back_as_it_was_pushed(server: RunningServer, podman: Podman, tmp_path: Path) -> None:
    uri = server.create_repository("podman/image")
    image = images.debian_image()
    podman.run(
        "load", "--input", str(images.write_docker_archive(tmp_path / "image.tar", image, f"{uri}:v1"))
    )
    podman.run("push", INSECURE, f"{uri}:v1")
    podman.run("image", "rm", f"{uri}:v1")
    podman.run("pull", INSECURE, f"{uri}:v1")
    container = podman.run("create", "--network", "none", f"{uri}:v1").strip()
    podman.run("cp", f"{container}:/etc/motd", str(tmp_path / "motd"))
    assert (tmp_path / "motd").read_text() == "welcome\n"
    podman.run("rm", container)


def test_a_manifest_list_is_pushed_with_its_images(server: RunningServer, podman: Podman) -> None:
    uri = server.create_repository("podman/list")
    index = images.multi_platform_index()
    with PlainRegistry(server) as registry:
        registry.push_index("podman/list", "made", index)
    podman.run("manifest", "create", "several")
    podman.run("manifest", "add", INSECURE, "--all", "several", f"docker://{uri}:made")
    podman.run("manifest", "push", INSECURE, "--all", "several", f"docker://{uri}:again")
    with PlainRegistry(server) as registry:
        pushed = registry.manifest("podman/list", "again").document()
    assert {child["digest"] for child in pushed["manifests"]} == {image.digest for image in index.images}


def test_another_platform_can_be_pulled(server: RunningServer, podman: Podman) -> None:
    uri = server.create_repository("podman/platforms")
    index = images.multi_platform_index()
    with PlainRegistry(server) as registry:
        registry.push_index("podman/platforms", "v1", index)
    podman.run("pull", INSECURE, "--platform", "linux/arm64", f"{uri}:v1")
    assert podman.image_id(f"{uri}:v1") == index.images[1].config_digest


def test_zstd_layers_are_pushed_and_pulled(server: RunningServer, podman: Podman, tmp_path: Path) -> None:
    uri = server.create_repository("podman/zstd")
    # podman would mount layers that it pushed before, as it compressed them then.
    image = images.make_image([images.gzip_layer(images.package_archive("sed"))])
    archive = images.write_docker_archive(tmp_path / "image.tar", image, f"{uri}:v1")
    podman.run("load", "--input", str(archive))
    podman.run("push", INSECURE, "--compression-format", "zstd", "--format", "oci", f"{uri}:v1")
    with PlainRegistry(server) as registry:
        pushed = registry.manifest("podman/zstd", "v1").document()
    assert {layer["mediaType"] for layer in pushed["layers"]} == {f"{images.OCI_LAYER}+zstd"}
    podman.run("image", "rm", f"{uri}:v1")
    podman.run("pull", INSECURE, f"{uri}:v1")


def test_an_unknown_repository_is_named_in_ecrs_words(server: RunningServer, podman: Podman) -> None:
    said = podman.shell.fail(*podman.command("pull", INSECURE, f"{server.host}/podman/nowhere:v1"))
    assert texts.unknown_repository("podman/nowhere") in said


def test_the_servers_own_authority_is_enough_for_https(
    tls_server: RunningServer, tls_shell: Shell, podman: Podman, tmp_path: Path
) -> None:
    uri = tls_server.create_repository("podman/tls")
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "ca.crt").write_bytes(tls_server.ca_file.read_bytes())
    secure = Podman(shell=tls_shell, store=podman.store)
    login = ("login", "--cert-dir", str(trust), "--username", "AWS", "--password-stdin", tls_server.host)
    secure.run(*login, stdin=tls_server.password())
    index = images.multi_platform_index()
    with PlainRegistry(tls_server) as registry:
        registry.push_index("podman/tls", "v1", index)
    secure.run("pull", "--cert-dir", str(trust), "--platform", "linux/amd64", f"{uri}:v1")
    assert secure.image_id(f"{uri}:v1") == index.images[0].config_digest
    assert holds_exactly(tls_server, "podman/tls", "v1", index)
