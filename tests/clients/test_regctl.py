"""regctl (and so the Go library of regsync and regbot) against a running server."""

import json
from pathlib import Path

import pytest

from tests.clients import artifacts, images
from tests.clients.commands import Shell
from tests.clients.images import MEBIBYTE
from tests.clients.logins import log_in
from tests.clients.plain_registry import PlainRegistry, holds_exactly
from tests.clients.wire import wire_to
from tests.running import RunningServer


@pytest.fixture(scope="module", autouse=True)
def login(server: RunningServer, shell: Shell) -> None:
    log_in(shell, server, "regctl")


@pytest.fixture(scope="module")
def index(server: RunningServer, login: None) -> images.Index:
    """An image for two platforms with a signature of each kind, pushed as `regctl/source:v1`."""
    made = images.multi_platform_index(tool="regctl")
    server.create_repository("regctl/source")
    with PlainRegistry(server) as registry:
        registry.push_index("regctl/source", "v1", made)
        subject = images.descriptor(made.media_type, made.manifest)
        artifacts.notation_signature(subject).push(registry, "regctl/source")
        tag = artifacts.cosign_tag(made.digest, "sig")
        artifacts.cosign_signature("MEUC").push(registry, "regctl/source", tag)
    return made


def test_an_image_is_copied_with_its_signatures(
    server: RunningServer, shell: Shell, index: images.Index
) -> None:
    target = server.create_repository("regctl/copied")
    options = ("--referrers", "--digest-tags")
    shell.run("regctl", "image", "copy", *options, f"{server.host}/regctl/source:v1", f"{target}:v2")
    assert holds_exactly(server, "regctl/copied", "v2", index)
    tags = shell.run("regctl", "tag", "ls", target).split()
    assert tags == [artifacts.cosign_tag(index.digest, "sig"), "v2"]
    said = json.loads(shell.run("regctl", "artifact", "list", "--format", "{{json .}}", f"{target}:v2"))
    assert [each["artifactType"] for each in said["descriptors"]] == [artifacts.NOTATION]


@pytest.mark.quirk("regctl-mounts-without-a-source")
@pytest.mark.parametrize(("setting", "uploads"), [("DISABLED", 3), ("ENABLED", 0)])
def test_layers_that_another_repository_has_are_mounted_where_the_account_wants_it(
    server: RunningServer, shell: Shell, tmp_path: Path, setting: str, uploads: int
) -> None:
    image = images.make_image(
        [images.gzip_layer(images.files_archive({"etc/mounted": f"{setting} {n}".encode()})) for n in (1, 2)]
    )
    server.create_repository(f"regctl/has/{setting.lower()}")
    server.create_repository(f"regctl/gets/{setting.lower()}")
    with PlainRegistry(server) as registry:
        registry.push(f"regctl/has/{setting.lower()}", "v1", image)
    layout = images.write_layout(tmp_path / "made", ("v1", image))
    server.client().put_account_setting(name="BLOB_MOUNTING", value=setting)
    try:
        with wire_to(server) as wire:
            log_in(shell, server, "regctl", host=wire.host)
            target = f"{wire.host}/regctl/gets/{setting.lower()}:v1"
            shell.run("regctl", "image", "copy", f"ocidir://{layout}:v1", target)
            assert wire.asked("POST", "mount="), "regctl did not try to mount"
            assert not wire.asked("POST", "from=")
            assert len(wire.asked("PUT", "/blobs/")) == uploads
    finally:
        server.client().put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
    assert holds_exactly(server, f"regctl/gets/{setting.lower()}", "v1", image)


def test_a_layer_is_uploaded_in_chunks(server: RunningServer, shell: Shell) -> None:
    server.create_repository("regctl/chunked")
    content = images.random_archive(3 * MEBIBYTE, 31)
    (shell.home / "layer").write_bytes(content)
    with wire_to(server) as wire:
        log_in(shell, server, "regctl", host=wire.host)
        sizes = ("--blob-chunk", str(MEBIBYTE), "--blob-max", str(MEBIBYTE))
        shell.run("regctl", "registry", "set", "--skip-check", *sizes, wire.host)
        shell.run("sh", "-c", f"regctl blob put {wire.host}/regctl/chunked < layer")
        ranges = [asked.headers["content-range"] for asked in wire.asked("PATCH")]
    assert ranges[:2] == [f"0-{MEBIBYTE - 1}", f"{MEBIBYTE}-{2 * MEBIBYTE - 1}"]
    with PlainRegistry(server) as registry:
        assert registry.blob("regctl/chunked", images.digest_of(content)) == content


def test_blobs_and_manifests_are_read_and_looked_for(
    server: RunningServer, shell: Shell, index: images.Index, tmp_path: Path
) -> None:
    source, image = f"{server.host}/regctl/source", index.images[0]
    assert shell.run("regctl", "blob", "get", source, image.config_digest).encode() == image.config
    head = ("regctl", "blob", "head", "--format", "{{.GetDescriptor.Size}}", source, image.config_digest)
    assert shell.run(*head).strip() == str(len(image.config))
    assert shell.run("regctl", "manifest", "head", f"{source}:v1").strip() == index.digest
    raw = shell.run("regctl", "manifest", "get", "--format", "raw-body", f"{source}@{image.digest}")
    assert raw.encode() == image.manifest
    platform = ("regctl", "image", "digest", "--platform", "linux/arm64", f"{source}:v1")
    assert shell.run(*platform).strip() == index.images[1].digest


def test_an_image_is_changed_in_its_repository(
    server: RunningServer, shell: Shell, index: images.Index
) -> None:
    target = server.create_repository("regctl/changed")
    shell.run("regctl", "image", "copy", f"{server.host}/regctl/source:v1", f"{target}:v1")
    change = ("--label", "changed=yes", "--annotation", "[*]org.example=changed")
    shell.run("regctl", "image", "mod", "--create", f"{target}:v2", *change, f"{target}:v1")
    for platform in ("linux/amd64", "linux/arm64"):
        config = json.loads(shell.run("regctl", "image", "config", "--platform", platform, f"{target}:v2"))
        assert config["config"]["Labels"] == {"tool": "regctl", "changed": "yes"}
    assert holds_exactly(server, "regctl/changed", "v1", index)


def test_an_artifact_is_attached_and_fetched(
    server: RunningServer, shell: Shell, index: images.Index
) -> None:
    target = server.create_repository("regctl/artifact")
    shell.run("regctl", "image", "copy", f"{server.host}/regctl/source:v1", f"{target}:v1")
    put = ("--artifact-type", "application/vnd.example.sbom", "--annotation", "org.example=yes")
    shell.run("regctl", "artifact", "put", *put, "--subject", f"{target}:v1", stdin='{"packages":[]}')
    get = ("--subject", f"{target}:v1", "--filter-artifact-type", "application/vnd.example.sbom")
    assert shell.run("regctl", "artifact", "get", *get) == '{"packages":[]}'


def test_a_tag_is_deleted_and_its_image_stays(
    server: RunningServer, shell: Shell, index: images.Index
) -> None:
    target = server.create_repository("regctl/deleted")
    for tag in ("v1", "v2"):
        shell.run("regctl", "image", "copy", f"{server.host}/regctl/source:v1", f"{target}:{tag}")
    shell.run("regctl", "tag", "delete", f"{target}:v1")
    assert shell.run("regctl", "tag", "ls", target).split() == ["v2"]
    shell.run("regctl", "manifest", "delete", f"{target}@{index.digest}")
    assert shell.run("regctl", "tag", "ls", target).split() == []
    assert "not found" in shell.fail("regctl", "manifest", "get", f"{target}:v2")


def test_repositories_are_listed(server: RunningServer, shell: Shell, index: images.Index) -> None:
    assert "regctl/source" in shell.run("regctl", "repo", "ls", server.host).split()
