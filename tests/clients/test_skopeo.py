"""skopeo against a running server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import images, texts
from tests.clients.commands import Shell
from tests.clients.plain_registry import holds_exactly
from tests.requirements import require_tool
from tests.running import RunningServer


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool("skopeo")
    require_tool("zstd")


@pytest.fixture(scope="module", autouse=True)
def login(tools: None, server: RunningServer, shell: Shell) -> None:
    command = ("skopeo", "login", "--tls-verify=false", "--username", "AWS", "--password-stdin", server.host)
    assert "Login Succeeded!" in shell.run(*command, stdin=server.password())


def copy_in(shell: Shell, layout: Path, name: str, target: str, *options: str) -> None:
    shell.run(
        *("skopeo", "copy", "--dest-tls-verify=false", "--preserve-digests", *options),
        *(f"oci:{layout}:{name}", f"docker://{target}"),
    )


def copy_out(shell: Shell, source: str, layout: Path, *options: str) -> dict[str, bytes]:
    shell.run(
        *("skopeo", "copy", "--src-tls-verify=false", "--preserve-digests", *options),
        *(f"docker://{source}", f"oci:{layout}:pulled"),
    )
    return images.read_layout(layout)


@pytest.mark.parametrize("make_image", [images.debian_image, images.mixed_image, images.heavy_image])
def test_an_image_comes_back_as_it_was_pushed(
    server: RunningServer, shell: Shell, tmp_path: Path, make_image: Callable[[], images.Image]
) -> None:
    name = f"skopeo/{make_image.__name__}"
    uri = server.create_repository(name)
    image = make_image()
    copy_in(shell, images.write_layout(tmp_path / "made", ("made", image)), "made", f"{uri}:v1")
    assert copy_out(shell, f"{uri}:v1", tmp_path / "pulled") == image.contents()
    assert holds_exactly(server, name, "v1", image)


def test_an_index_is_copied_with_all_its_platforms(
    server: RunningServer, shell: Shell, tmp_path: Path
) -> None:
    uri = server.create_repository("skopeo/index")
    index = images.multi_platform_index()
    copy_in(shell, images.write_layout(tmp_path / "made", ("made", index)), "made", f"{uri}:v1", "--all")
    assert holds_exactly(server, "skopeo/index", "v1", index)
    assert copy_out(shell, f"{uri}:v1", tmp_path / "pulled", "--all") == index.contents()


def test_a_client_for_another_platform_gets_that_platform(
    server: RunningServer, shell: Shell, tmp_path: Path
) -> None:
    uri = server.create_repository("skopeo/platforms")
    index = images.multi_platform_index()
    copy_in(shell, images.write_layout(tmp_path / "made", ("made", index)), "made", f"{uri}:v1", "--all")
    asked = ("skopeo", "--override-arch", "arm64", "inspect", "--tls-verify=false", "--config", "--raw")
    config = shell.run(*asked, f"docker://{uri}:v1")
    assert config.encode() == index.images[1].config


def test_an_image_is_copied_between_repositories(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    source, target = server.create_repository("skopeo/source"), server.create_repository("skopeo/target")
    index = images.multi_platform_index()
    copy_in(shell, images.write_layout(tmp_path / "made", ("made", index)), "made", f"{source}:v1", "--all")
    shell.run(
        *("skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"),
        *(f"docker://{source}:v1", f"docker://{target}:v2"),
    )
    assert holds_exactly(server, "skopeo/target", "v2", index)


def test_tags_are_listed_in_order(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    uri = server.create_repository("skopeo/tags")
    layout = images.write_layout(tmp_path / "made", ("made", images.debian_image()))
    for tag in ("v2", "latest", "v10"):
        copy_in(shell, layout, "made", f"{uri}:{tag}")
    answer = json.loads(shell.run("skopeo", "list-tags", "--tls-verify=false", f"docker://{uri}"))
    assert answer["Tags"] == ["latest", "v10", "v2"]


def test_a_deleted_image_is_gone_and_can_be_pushed_again(
    server: RunningServer, shell: Shell, tmp_path: Path
) -> None:
    uri = server.create_repository("skopeo/deleted")
    image = images.debian_image()
    layout = images.write_layout(tmp_path / "made", ("made", image))
    copy_in(shell, layout, "made", f"{uri}:v1")
    shell.run("skopeo", "delete", "--tls-verify=false", f"docker://{uri}:v1")
    said = shell.fail("skopeo", "inspect", "--tls-verify=false", f"docker://{uri}:v1")
    assert texts.UNKNOWN_REFERENCE in said
    copy_in(shell, layout, "made", f"{uri}:v1")
    assert holds_exactly(server, "skopeo/deleted", "v1", image)


def test_an_unknown_repository_is_named_in_ecrs_words(
    server: RunningServer, shell: Shell, tmp_path: Path
) -> None:
    layout = images.write_layout(tmp_path / "made", ("made", images.debian_image()))
    target = f"docker://{server.host}/skopeo/nowhere:v1"
    said = shell.fail("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:made", target)
    assert texts.unknown_repository("skopeo/nowhere") in said
    said = shell.fail("skopeo", "inspect", "--tls-verify=false", target)
    assert texts.unknown_repository("skopeo/nowhere") in said


def test_a_wrong_password_is_refused(server: RunningServer, shell: Shell) -> None:
    command = ("skopeo", "login", "--tls-verify=false", "--username", "AWS", "--password-stdin", server.host)
    fresh = Shell(shell.home / "wrong-password")
    assert "Login Succeeded!" not in fresh.fail(*command, stdin="not-the-password")


def test_the_servers_own_authority_is_enough_for_https(
    tls_server: RunningServer, tls_shell: Shell, tmp_path: Path
) -> None:
    uri = tls_server.create_repository("skopeo/tls")
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "ca.crt").write_bytes(tls_server.ca_file.read_bytes())
    login = ("skopeo", "login", "--cert-dir", str(trust), "--username", "AWS", "--password-stdin")
    tls_shell.run(*login, tls_server.host, stdin=tls_server.password())
    image = images.debian_image()
    layout = images.write_layout(tmp_path / "made", ("made", image))
    tls_shell.run("skopeo", "copy", "--dest-cert-dir", str(trust), f"oci:{layout}:made", f"docker://{uri}:v1")
    assert holds_exactly(tls_server, "skopeo/tls", "v1", image)
