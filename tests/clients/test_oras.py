"""oras (and so the Go library beneath helm and notation) against a running server."""

import json
from pathlib import Path

import pytest

from tests.clients import images, texts
from tests.clients.commands import Shell
from tests.clients.plain_registry import PlainRegistry, holds_exactly
from tests.requirements import require_tool
from tests.running import RunningServer

SBOM_TYPE = "application/spdx+json"
SBOM = {"spdxVersion": "SPDX-2.3", "name": "debian", "packages": [{"name": "libc6"}]}
SIGNATURE_TYPE = "application/vnd.example.signature"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool("oras")


@pytest.fixture(scope="module", autouse=True)
def login(tools: None, server: RunningServer, shell: Shell) -> None:
    command = ("oras", "login", "--username", "AWS", "--password-stdin", server.host)
    assert "Login Succeeded" in shell.run(*command, stdin=server.password())


def pushed_image(server: RunningServer, name: str) -> images.Image:
    image = images.debian_image()
    server.create_repository(name)
    with PlainRegistry(server) as registry:
        registry.push(name, "v1", image)
    return image


def attach(shell: Shell, target: str, artifact_type: str = SBOM_TYPE) -> str:
    (shell.home / "sbom.json").write_text(json.dumps(SBOM))
    command = ("oras", "attach", "--format", "json", "--artifact-type", artifact_type)
    note = ("--annotation", "org.example.tool=tests")
    answer = json.loads(shell.run(*command, *note, target, f"sbom.json:{artifact_type}"))
    return str(answer["digest"])


def discovered(shell: Shell, target: str, *options: str) -> dict[str, str]:
    answer = json.loads(shell.run("oras", "discover", "--format", "json", *options, target))
    return {entry["digest"]: entry["artifactType"] for entry in answer.get("referrers", [])}


def test_files_come_back_as_they_were_pushed(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    uri = server.create_repository("oras/files")
    shell.home.joinpath("chart.tgz").write_bytes(b"a chart")
    shell.home.joinpath("empty").write_bytes(b"")
    shell.run("oras", "push", f"{uri}:v1,latest", "chart.tgz:application/x-chart", "empty:text/plain")
    shell.run("oras", "pull", "--output", str(tmp_path), f"{uri}:latest")
    assert (tmp_path / "chart.tgz").read_bytes() == b"a chart"
    assert (tmp_path / "empty").read_bytes() == b""
    assert shell.run("oras", "repo", "tags", uri).split() == ["latest", "v1"]


def test_an_sbom_is_attached_and_found(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    image = pushed_image(server, "oras/sbom")
    target = f"{server.host}/oras/sbom@{image.digest}"
    digest = attach(shell, f"{server.host}/oras/sbom:v1")
    assert discovered(shell, target, "--distribution-spec", "v1.1-referrers-api") == {digest: SBOM_TYPE}
    shell.run("oras", "pull", "--output", str(tmp_path), f"{server.host}/oras/sbom@{digest}")
    assert json.loads((tmp_path / "sbom.json").read_text()) == SBOM


def test_attaching_uses_the_referrers_call_and_no_tag(
    server: RunningServer, shell: Shell, tmp_path: Path
) -> None:
    image = pushed_image(server, "oras/no-tag")
    digest = attach(shell, f"{server.host}/oras/no-tag:v1")
    assert shell.run("oras", "repo", "tags", f"{server.host}/oras/no-tag").split() == ["v1"]
    answer = server.client().list_image_referrers(
        repositoryName="oras/no-tag", subjectId={"imageDigest": image.digest}
    )
    (referrer,) = answer["referrers"]
    assert (referrer["digest"], referrer["artifactType"]) == (digest, SBOM_TYPE)
    assert referrer["annotations"]["org.example.tool"] == "tests"


def test_referrers_are_filtered_by_their_type(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    image = pushed_image(server, "oras/filtered")
    target = f"{server.host}/oras/filtered@{image.digest}"
    sbom = attach(shell, target)
    signature = attach(shell, target, SIGNATURE_TYPE)
    assert discovered(shell, target) == {sbom: SBOM_TYPE, signature: SIGNATURE_TYPE}
    assert discovered(shell, target, "--artifact-type", SIGNATURE_TYPE) == {signature: SIGNATURE_TYPE}


def test_a_copy_takes_the_referrers_along(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    image = pushed_image(server, "oras/source")
    digest = attach(shell, f"{server.host}/oras/source:v1")
    target = server.create_repository("oras/target")
    shell.run("oras", "cp", "--recursive", f"{server.host}/oras/source:v1", f"{target}:v2")
    assert discovered(shell, f"{target}@{image.digest}") == {digest: SBOM_TYPE}
    assert holds_exactly(server, "oras/target", "v2", image)


def test_an_index_is_copied_out_of_a_layout(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    uri = server.create_repository("oras/index")
    index = images.multi_platform_index()
    layout = images.write_layout(tmp_path / "made", ("made", index))
    shell.run("oras", "cp", "--from-oci-layout", f"{layout}:made", f"{uri}:v1")
    assert holds_exactly(server, "oras/index", "v1", index)
    config = shell.run("oras", "manifest", "fetch-config", "--platform", "linux/arm64", f"{uri}:v1")
    assert config.encode() == index.images[1].config


def test_a_deleted_artifact_is_no_longer_found(server: RunningServer, shell: Shell, tmp_path: Path) -> None:
    image = pushed_image(server, "oras/deleted")
    target = f"{server.host}/oras/deleted@{image.digest}"
    digest = attach(shell, target)
    shell.run("oras", "manifest", "delete", "--force", f"{server.host}/oras/deleted@{digest}")
    assert discovered(shell, target) == {}
    assert attach(shell, target) in discovered(shell, target)


def test_an_unknown_repository_is_named_in_ecrs_words(server: RunningServer, shell: Shell) -> None:
    shell.home.joinpath("file").write_bytes(b"anything")
    said = shell.fail("oras", "push", f"{server.host}/oras/nowhere:v1", "file:text/plain")
    assert texts.unknown_repository("oras/nowhere") in said


def test_a_wrong_password_is_refused(server: RunningServer, shell: Shell) -> None:
    fresh = Shell(shell.home / "wrong-password")
    command = ("oras", "login", "--username", "AWS", "--password-stdin", server.host)
    assert "Login Succeeded" not in fresh.fail(*command, stdin="not-the-password")


def test_the_servers_own_authority_is_enough_for_https(
    tls_server: RunningServer, tls_shell: Shell, tmp_path: Path
) -> None:
    uri = tls_server.create_repository("oras/tls")
    trust = ("--plain-http=false", "--ca-file", str(tls_server.ca_file))
    login = ("oras", "login", *trust, "--username", "AWS", "--password-stdin", tls_server.host)
    tls_shell.run(*login, stdin=tls_server.password())
    tls_shell.home.joinpath("file").write_bytes(b"anything")
    tls_shell.run("oras", "push", *trust, f"{uri}:v1", "file:text/plain")
    tls_shell.run("oras", "pull", *trust, "--output", str(tmp_path), f"{uri}:v1")
    assert (tmp_path / "file").read_bytes() == b"anything"
