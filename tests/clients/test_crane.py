"""crane (and so the Go library beneath kaniko, cosign and ko) against a running server."""

import json
from pathlib import Path

import pytest

from tests.clients import images, texts
from tests.clients.commands import Shell
from tests.clients.plain_registry import holds_exactly
from tests.requirements import require_tool
from tests.running import RunningServer


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool("crane")


@pytest.fixture(scope="module", autouse=True)
def login(tools: None, server: RunningServer, shell: Shell) -> None:
    shell.run(
        *("crane", "auth", "login", "--username", "AWS", "--password-stdin", server.host),
        stdin=server.password(),
    )


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with the image that most tests push."""
    return images.write_layout(tmp_path_factory.mktemp("crane") / "made", ("made", images.debian_image()))


@pytest.fixture(scope="module")
def index_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with an image of two platforms."""
    return images.write_layout(
        tmp_path_factory.mktemp("crane") / "index", ("made", images.multi_platform_index())
    )


def test_an_image_comes_back_as_it_was_pushed(
    server: RunningServer, shell: Shell, layout: Path, tmp_path: Path
) -> None:
    uri = server.create_repository("crane/image")
    image = images.debian_image()
    assert image.digest in shell.run("crane", "push", str(layout), f"{uri}:v1")
    assert holds_exactly(server, "crane/image", "v1", image)
    shell.run("crane", "pull", "--format", "oci", f"{uri}:v1", str(tmp_path / "pulled"))
    assert images.read_layout(tmp_path / "pulled") == image.contents()
    shell.run("crane", "validate", "--remote", f"{uri}:v1")


def test_an_index_keeps_its_platforms(
    server: RunningServer, shell: Shell, index_layout: Path, tmp_path: Path
) -> None:
    uri = server.create_repository("crane/index")
    index = images.multi_platform_index()
    shell.run("crane", "push", "--index", str(index_layout), f"{uri}:layout")
    pushed = json.loads(shell.run("crane", "manifest", f"{uri}:layout"))
    assert index.digest in {child["digest"] for child in pushed["manifests"]}
    shell.run("crane", "tag", f"{uri}@{index.digest}", "v1")
    assert holds_exactly(server, "crane/index", "v1", index)
    config = shell.run("crane", "config", "--platform", "linux/arm64", f"{uri}:v1")
    assert config.strip().encode() == index.images[1].config
    shell.run("crane", "pull", "--format", "oci", f"{uri}:v1", str(tmp_path / "pulled"))
    assert images.read_layout(tmp_path / "pulled") == index.contents()


def test_an_image_is_copied_between_repositories(server: RunningServer, shell: Shell, layout: Path) -> None:
    source, target = server.create_repository("crane/source"), server.create_repository("crane/target")
    shell.run("crane", "push", str(layout), f"{source}:v1")
    shell.run("crane", "copy", f"{source}:v1", f"{target}:v2")
    assert holds_exactly(server, "crane/target", "v2", images.debian_image())


def test_tags_and_repositories_are_listed(server: RunningServer, shell: Shell, layout: Path) -> None:
    uri = server.create_repository("crane/listed")
    shell.run("crane", "push", str(layout), f"{uri}:v1")
    shell.run("crane", "tag", f"{uri}:v1", "stable")
    assert shell.run("crane", "ls", uri).split() == ["stable", "v1"]
    assert "crane/listed" in shell.run("crane", "catalog", server.host).split()


def test_a_layer_can_be_added_to_an_image(
    server: RunningServer, shell: Shell, layout: Path, tmp_path: Path
) -> None:
    uri = server.create_repository("crane/appended")
    shell.run("crane", "push", str(layout), f"{uri}:v1")
    added = tmp_path / "layer.tar"
    added.write_bytes(images.files_archive({"etc/added": b"yes"}))
    shell.run("crane", "append", "--base", f"{uri}:v1", "--new_layer", str(added), "--new_tag", f"{uri}:v2")
    shell.run("crane", "export", f"{uri}:v2", str(tmp_path / "whole.tar"))
    assert b"etc/added" in (tmp_path / "whole.tar").read_bytes()


def test_a_deleted_image_is_gone_and_can_be_pushed_again(
    server: RunningServer, shell: Shell, layout: Path
) -> None:
    uri = server.create_repository("crane/deleted")
    image = images.debian_image()
    shell.run("crane", "push", str(layout), f"{uri}:v1")
    shell.run("crane", "delete", f"{uri}@{image.digest}")
    assert "MANIFEST_UNKNOWN" in shell.fail("crane", "manifest", f"{uri}:v1")
    shell.run("crane", "push", str(layout), f"{uri}:v1")
    assert holds_exactly(server, "crane/deleted", "v1", image)


def test_an_unknown_repository_is_named_in_ecrs_words(
    server: RunningServer, shell: Shell, layout: Path
) -> None:
    said = shell.fail("crane", "push", str(layout), f"{server.host}/crane/nowhere:v1")
    assert f"NAME_UNKNOWN: {texts.unknown_repository('crane/nowhere')}" in said


def test_an_immutable_tag_is_not_moved(
    server: RunningServer, shell: Shell, layout: Path, index_layout: Path
) -> None:
    uri = server.create_repository("crane/immutable", imageTagMutability="IMMUTABLE")
    shell.run("crane", "push", str(layout), f"{uri}:v1")
    said = shell.fail("crane", "push", "--index", str(index_layout), f"{uri}:v1")
    assert f"TAG_INVALID: {texts.immutable_tag('crane/immutable', 'v1')}" in said
    assert holds_exactly(server, "crane/immutable", "v1", images.debian_image())


def test_a_wrong_password_is_refused(server: RunningServer, shell: Shell) -> None:
    fresh = Shell(shell.home / "wrong-password")
    fresh.run("crane", "auth", "login", "--username", "AWS", "--password", "not-the-password", server.host)
    assert "401 Unauthorized: Not Authorized" in fresh.fail("crane", "catalog", server.host)


def test_the_servers_own_authority_is_enough_for_https(
    tls_server: RunningServer, tls_shell: Shell, layout: Path
) -> None:
    uri = tls_server.create_repository("crane/tls")
    shell = Shell(tls_shell.home / "trusting", {"SSL_CERT_FILE": str(tls_server.ca_file)})
    login = ("crane", "auth", "login", "--username", "AWS", "--password-stdin", tls_server.host)
    shell.run(*login, stdin=tls_server.password())
    shell.run("crane", "push", str(layout), f"{uri}:v1")
    shell.run("crane", "validate", "--remote", f"{uri}:v1")
    assert holds_exactly(tls_server, "crane/tls", "v1", images.debian_image())
