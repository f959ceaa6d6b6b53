"""What builders, signers and chart tools push, in their shapes; other programs than the maker's read it back."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import artifacts, images
from tests.clients.artifacts import Artifact
from tests.clients.commands import Shell
from tests.clients.logins import log_in
from tests.clients.plain_registry import PlainRegistry
from tests.requirements import find_tool
from tests.running import RunningServer

counter = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def logins(server: RunningServer, shell: Shell) -> None:
    log_in(shell, server, "skopeo", "crane", "oras", "regctl")


@pytest.fixture
def name(server: RunningServer) -> str:
    """A repository that only this test knows."""
    made = f"artifacts/r{next(counter)}"
    server.create_repository(made)
    return made


@pytest.fixture
def registry(server: RunningServer) -> Iterator[PlainRegistry]:
    with PlainRegistry(server) as connected:
        yield connected


def referrers(registry: PlainRegistry, name: str, digest: str, kind: str = "") -> dict[str, Any]:
    """Descriptors by digest."""
    query = f"?artifactType={kind}" if kind else ""
    found = registry.request("GET", f"/v2/{name}/referrers/{digest}{query}").document()["manifests"]
    return {each["digest"]: each for each in found}


def push_attested(
    registry: PlainRegistry, name: str, *, is_artifact: bool
) -> tuple[Artifact, list[Artifact]]:
    """As `docker buildx build --push` does: every child by its digest, then the index by its tag."""
    made = images.multi_platform_index(built=str(is_artifact)).images
    provenance = "https://slsa.dev/provenance/v1"
    attestations = [artifacts.attestation(image, provenance, is_artifact=is_artifact) for image in made]
    for image, attestation in zip(made, attestations, strict=True):
        registry.push(name, image.digest, image)
        attestation.push(registry, name)
    index = artifacts.attested_index(made, attestations)
    index.push(registry, name, "v1")
    return index, attestations


@pytest.mark.quirk("buildkit-pushes-children-by-digest")
@pytest.mark.parametrize("is_artifact", [False, True])
def test_an_index_with_attestations_is_pushed_children_first(
    server: RunningServer, registry: PlainRegistry, name: str, shell: Shell, tmp_path: Path, is_artifact: bool
) -> None:
    index, attestations = push_attested(registry, name, is_artifact=is_artifact)
    assert index.is_held(registry, name, "v1")
    target = f"{server.host}/{name}"
    assert shell.run("crane", "ls", target).split() == ["v1"]
    copied = ("--src-tls-verify=false", f"docker://{target}:v1", f"oci:{tmp_path}/layout:v1")
    shell.run("skopeo", "copy", "--all", "--preserve-digests", *copied)
    held = images.read_layout(tmp_path / "layout")
    assert {index.digest, *(each.digest for each in attestations)} <= set(held)
    (detail,) = [
        each
        for each in server.client().describe_images(repositoryName=name)["imageDetails"]
        if "imageTags" in each
    ]
    assert detail["imageDigest"] == index.digest


@pytest.mark.quirk("buildkit-pushes-children-by-digest")
def test_children_of_an_index_go_to_a_repository_with_immutable_tags(
    server: RunningServer, registry: PlainRegistry, name: str
) -> None:
    server.client().put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    index, attestations = push_attested(registry, name, is_artifact=True)
    assert index.is_held(registry, name, "v1")
    # What was pushed once may be pushed again: children of the next index are often the same.
    for attestation in attestations:
        attestation.push(registry, name)


def test_an_attestation_with_a_subject_is_also_its_referrer(registry: PlainRegistry, name: str) -> None:
    index, attestations = push_attested(registry, name, is_artifact=True)
    children = json.loads(index.manifest)["manifests"]
    for image, attestation in zip(children[::2], attestations, strict=True):
        (found,) = referrers(registry, name, image["digest"], artifacts.IN_TOTO).values()
        assert (found["digest"], found["artifactType"]) == (attestation.digest, artifacts.IN_TOTO)


@pytest.mark.quirk("buildkit-pushes-children-by-digest")
@pytest.mark.parametrize("layers", [1, 0], ids=["a cache of one layer", "a cache without layers"])
def test_a_build_cache_comes_back_as_it_was_pushed(
    server: RunningServer, registry: PlainRegistry, name: str, shell: Shell, layers: int
) -> None:
    cache = artifacts.build_cache([images.gzip_layer(images.files_archive({"a": b"b"}))] * layers)
    cache.push(registry, name, "buildcache")
    assert cache.is_held(registry, name, "buildcache")
    assert shell.run("crane", "manifest", f"{server.host}/{name}:buildcache").encode() == cache.manifest


def test_a_build_cache_of_the_first_form_is_refused_as_by_ecr(registry: PlainRegistry, name: str) -> None:
    """Its index lists layers where manifests belong; builders are told `image-manifest=true` since."""
    cache = artifacts.old_build_cache([images.gzip_layer(images.files_archive({"a": b"b"}))])
    for content in cache.blobs:
        registry.push_blob(name, content)
    path = f"/v2/{name}/manifests/cache"
    answer = registry.request("PUT", path, cache.manifest, Content_Type=cache.media_type)
    assert 400 <= answer.status < 500
    assert answer.document()["errors"][0]["code"]


@pytest.mark.quirk("any-layer-type")
@pytest.mark.parametrize(
    "layer_type",
    [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.in-toto+json",
    ],
)
@pytest.mark.parametrize(
    "config_type",
    [artifacts.HELM_CONFIG, artifacts.OCI_EMPTY, artifacts.NOTATION, "application/vnd.wasm.config.v0+json"],
)
def test_no_media_type_of_a_config_or_a_layer_is_unknown(
    registry: PlainRegistry, name: str, layer_type: str, config_type: str
) -> None:
    made = artifacts.artifact((config_type, b"{}"), [(layer_type, b"bytes of some kind", {})])
    made.push(registry, name, "v1")
    assert made.is_held(registry, name, "v1")


@pytest.mark.quirk("helm-expects-not-found")
def test_a_chart_is_looked_for_by_digest_and_then_pushed(
    server: RunningServer, registry: PlainRegistry, name: str, shell: Shell, tmp_path: Path
) -> None:
    chart = artifacts.helm_chart("web", "1.2.3+build.5")
    path = f"/v2/{name}/manifests/{chart.digest}"
    assert registry.request("HEAD", path).status == 404
    tag = "1.2.3_build.5"  # a plus may not stand in a tag
    chart.push(registry, name, tag)
    assert registry.request("HEAD", path).headers["docker-content-digest"] == chart.digest
    (detail,) = server.client().describe_images(repositoryName=name)["imageDetails"]
    assert detail["artifactMediaType"] == artifacts.HELM_CONFIG
    shell.run("oras", "pull", "--output", str(tmp_path), f"{server.host}/{name}:{tag}")
    assert chart.is_held(registry, name, tag)


@pytest.mark.parametrize("program", ["oras", *(["helm"] if find_tool("helm") else [])])
def test_a_chart_goes_there_and_back(
    server: RunningServer, shell: Shell, tmp_path: Path, program: str
) -> None:
    """With the library beneath helm, and with helm itself where `.ci/tools helm` was run."""
    server.create_repository(f"artifacts/{program}/web")
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.2.3+build.5\n")
    target, packed = f"{server.host}/artifacts/{program}", "web-1.2.3+build.5.tgz"
    if program == "oras":
        (shell.home / packed).write_bytes(b"a chart")
        kinds = ("--artifact-type", artifacts.HELM_CONFIG, f"{packed}:{artifacts.HELM_CHART}")
        shell.run("oras", "push", f"{target}/web:1.2.3_build.5", *kinds)
        shell.run("oras", "pull", "--output", str(tmp_path), f"{target}/web:1.2.3_build.5")
    else:
        log_in(shell, server, program)
        shell.run(program, "package", str(folder))
        shell.run(program, "push", "--plain-http", packed, f"oci://{target}")
        place = ("--version", "1.2.3+build.5", "--destination", str(tmp_path))
        shell.run(program, "pull", "--plain-http", f"oci://{target}/web", *place)
    assert (tmp_path / packed).read_bytes() == (shell.home / packed).read_bytes()


@pytest.fixture
def image(registry: PlainRegistry, name: str) -> images.Image:
    """An image to be signed, pushed as `v1`."""
    made = images.make_image([images.gzip_layer(images.files_archive({"for": name.encode()}))])
    registry.push(name, "v1", made)
    return made


@pytest.mark.quirk("cosign-moves-its-tags")
def test_signatures_kept_by_tags_are_added_to(
    server: RunningServer, registry: PlainRegistry, name: str, image: images.Image, shell: Shell
) -> None:
    tag = artifacts.cosign_tag(image.digest, "sig")
    for signers in (["MEUC"], ["MEUC", "MEQD"]):
        signature = artifacts.cosign_signature(*signers)
        signature.push(registry, name, tag)
        assert signature.is_held(registry, name, tag)
    for kind in ("att", "sbom"):
        envelope = artifacts.cosign_signature("MEUC", media_type=artifacts.COSIGN_ENVELOPE)
        envelope.push(registry, name, artifacts.cosign_tag(image.digest, kind))
    tags = {"v1", *(artifacts.cosign_tag(image.digest, kind) for kind in ("sig", "att", "sbom"))}
    assert set(shell.run("crane", "ls", f"{server.host}/{name}").split()) == tags


@pytest.mark.quirk("cosign-moves-its-tags")
def test_immutable_tags_spare_signatures_where_a_filter_says_so(
    server: RunningServer, registry: PlainRegistry, name: str, image: images.Image
) -> None:
    tag = artifacts.cosign_tag(image.digest, "sig")
    artifacts.cosign_signature("MEUC").push(registry, name, tag)
    again = artifacts.cosign_signature("MEUC", "MEQD")
    for content in again.blobs:
        registry.push_blob(name, content)
    ecr, path = server.client(), f"/v2/{name}/manifests/{tag}"
    ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    refused = registry.request("PUT", path, again.manifest, Content_Type=again.media_type)
    assert (refused.status, refused.document()["errors"][0]["code"]) == (400, "TAG_INVALID")
    ecr.put_image_tag_mutability(
        repositoryName=name,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "sha256-*.sig"}],
    )
    again.push(registry, name, tag)
    assert again.is_held(registry, name, tag)


def test_signatures_kept_as_referrers_are_found_by_their_kind(
    server: RunningServer, registry: PlainRegistry, name: str, image: images.Image, shell: Shell
) -> None:
    subject = images.descriptor(image.media_type, image.manifest)
    bundle = artifacts.referrer(
        subject, artifacts.SIGSTORE_BUNDLE, b'{"bundle":1}', **{"dev.sigstore": "yes"}
    )
    notation = artifacts.notation_signature(subject)
    for each in (bundle, notation):
        each.push(registry, name)
    found = referrers(registry, name, image.digest)
    assert {key: each["artifactType"] for key, each in found.items()} == {
        bundle.digest: artifacts.SIGSTORE_BUNDLE,
        notation.digest: artifacts.NOTATION,
    }
    assert found[bundle.digest]["annotations"] == {"dev.sigstore": "yes"}
    target = f"{server.host}/{name}@{image.digest}"
    said = json.loads(shell.run("oras", "discover", "--format", "json", target))
    assert {each["digest"] for each in said["referrers"]} == {bundle.digest, notation.digest}
    said = json.loads(
        shell.run(
            *("regctl", "artifact", "list", "--format", "{{json .}}"),
            *("--filter-artifact-type", artifacts.NOTATION, target),
        )
    )
    assert [each["digest"] for each in said["descriptors"]] == [notation.digest]


@pytest.mark.quirk("fallback-tags-are-replaced")
def test_a_client_without_the_referrers_call_keeps_its_own_index(
    registry: PlainRegistry, name: str, image: images.Image
) -> None:
    """It reads the index behind the tag, pushes the longer one, and deletes the former by its digest."""
    subject = images.descriptor(image.media_type, image.manifest)
    tag = artifacts.fallback_tag(image.digest)
    assert registry.manifest(name, tag).status == 404
    signatures = [artifacts.notation_signature(subject)]
    signatures[0].push(registry, name)
    first = artifacts.fallback_index(*signatures)
    first.push(registry, name, tag)
    signatures.append(artifacts.referrer(subject, artifacts.SIGSTORE_BUNDLE, b"{}"))
    signatures[1].push(registry, name)
    second = artifacts.fallback_index(*signatures)
    second.push(registry, name, tag)
    assert registry.request("DELETE", f"/v2/{name}/manifests/{first.digest}").status == 202
    assert second.is_held(registry, name, tag)
    assert set(referrers(registry, name, image.digest)) == {each.digest for each in signatures}


def test_a_signature_may_come_before_what_it_signs(registry: PlainRegistry, name: str) -> None:
    late = images.make_image([images.gzip_layer(images.files_archive({"late": name.encode()}))])
    signature = artifacts.notation_signature(images.descriptor(late.media_type, late.manifest))
    signature.push(registry, name)
    registry.push(name, "v1", late)
    assert set(referrers(registry, name, late.digest)) == {signature.digest}
