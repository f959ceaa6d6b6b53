"""containerd, with a daemon of its own, by way of ctr: as Kubernetes' nodes pull.

Debian's containerd fetches a layer as one stream and resumes it. Where `.ci/tools containerd-2` was run, all of
this runs against containerd 2 too, which fetches a layer as ranges side by side; elsewhere `test_quirks.py` asks
as it does.
"""

import itertools
from collections.abc import Iterator

import pytest

from tests.clients import images
from tests.clients.containerd import Containerd, containerd_daemon
from tests.clients.images import MEBIBYTE
from tests.clients.plain_registry import PlainRegistry, holds_exactly
from tests.clients.wire import Wire, wire_to
from tests.requirements import find_tool, require_root, require_tool
from tests.running import RunningServer

SUFFIXES = ["", *(["-2"] if find_tool("containerd-2") else [])]
HEAVY_BYTES = 8 * MEBIBYTE

counter = itertools.count()


@pytest.fixture(scope="module", params=SUFFIXES, ids=lambda suffix: f"containerd{suffix}")
def containerd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containerd]:
    require_root()
    require_tool(f"containerd{request.param}", package="containerd")
    require_tool(f"ctr{request.param}", package="containerd")
    with containerd_daemon(tmp_path_factory.mktemp("containerd"), request.param) as running:
        yield running


@pytest.fixture
def wire(server: RunningServer, containerd: Containerd) -> Iterator[Wire]:
    containerd.forget_everything()
    with wire_to(server) as wire:
        yield wire


@pytest.fixture(scope="module")
def user(server: RunningServer) -> str:
    return f"AWS:{server.password()}"


@pytest.fixture
def name(server: RunningServer) -> str:
    """A repository that only this test knows."""
    made = f"containerd/r{next(counter)}"
    server.create_repository(made)
    return made


@pytest.fixture
def index(server: RunningServer, name: str) -> images.Index:
    """An image for two platforms, pushed as `v1`."""
    made = images.multi_platform_index()
    with PlainRegistry(server) as registry:
        registry.push_index(name, "v1", made)
    return made


@pytest.mark.quirk("containerd-compares-digests")
def test_an_image_is_pulled_by_the_digest_that_head_told(
    containerd: Containerd, wire: Wire, user: str, name: str, index: images.Index
) -> None:
    containerd.pull(f"{wire.host}/{name}:v1", user)
    assert containerd.content(index.digest) == index.manifest
    for digest, content in index.images[0].contents().items():
        assert containerd.content(digest) == content
    assert wire.asked("HEAD", f"/v2/{name}/manifests/v1")
    assert not wire.asked("GET", f"/v2/{name}/manifests/v1")


def test_the_platform_that_was_asked_for_is_pulled(
    containerd: Containerd, wire: Wire, user: str, name: str, index: images.Index
) -> None:
    containerd.pull(f"{wire.host}/{name}:v1", user, "--platform", "linux/arm64")
    asked = "".join(map(str, wire.asked("GET")))
    assert index.images[1].layers[1].digest in asked
    assert index.images[0].layers[1].digest not in asked


def test_all_platforms_are_pulled_and_pushed_again(
    server: RunningServer, containerd: Containerd, wire: Wire, user: str, name: str, index: images.Index
) -> None:
    containerd.pull(f"{wire.host}/{name}:v1", user, "--all-platforms")
    server.create_repository(f"{name}/again")
    containerd.push(f"{wire.host}/{name}/again:v2", f"{wire.host}/{name}:v1", user)
    assert holds_exactly(server, f"{name}/again", "v2", index)


@pytest.mark.quirk("containerd-resumes")
def test_a_pull_that_broke_is_resumed_where_it_broke(
    server: RunningServer, containerd: Containerd, wire: Wire, user: str, name: str
) -> None:
    image = images.heavy_image(HEAVY_BYTES, seed=11)
    with PlainRegistry(server) as registry:
        registry.push(name, "heavy", image)
    wire.cut_after(700_000)
    containerd.pull(f"{wire.host}/{name}:heavy", user)
    assert wire.cuts == 1
    starts = [asked.headers["range"] for asked in wire.asked("GET", "/blobs/") if "range" in asked.headers]
    # Whole mebibytes are where a layer is taken apart on purpose.
    assert [start for start in starts if int(start[len("bytes=") : -1]) % MEBIBYTE]
    for digest, content in image.contents().items():
        assert containerd.content(digest) == content


@pytest.mark.quirk("containerd-parallel-ranges")
@pytest.mark.parametrize("containerd", SUFFIXES[1:] or SUFFIXES, indirect=True)
def test_a_layer_is_fetched_in_ranges_side_by_side(
    server: RunningServer, containerd: Containerd, wire: Wire, user: str, name: str
) -> None:
    image = images.heavy_image(HEAVY_BYTES, seed=12)
    with PlainRegistry(server) as registry:
        registry.push(name, "heavy", image)
    containerd.pull(f"{wire.host}/{name}:heavy", user)
    ranges = {asked.headers.get("range") for asked in wire.asked("GET", image.layers[1].digest)}
    expected = {f"bytes={start}-" for start in range(0, HEAVY_BYTES, MEBIBYTE)}
    assert ranges >= expected if containerd.is_parallel else ranges == {None}
    for digest, content in image.contents().items():
        assert containerd.content(digest) == content


@pytest.mark.quirk("mounts-are-never-refused")
def test_an_image_is_pushed_whose_layers_were_pulled_from_a_repository_that_is_gone(
    server: RunningServer, containerd: Containerd, wire: Wire, user: str, name: str
) -> None:
    image = images.debian_image(tool="ctr")
    with PlainRegistry(server) as registry:
        registry.push(name, "v1", image)
    containerd.pull(f"{wire.host}/{name}:v1", user)
    server.client().delete_repository(repositoryName=name, force=True)
    server.create_repository(f"{name}/target")
    containerd.push(f"{wire.host}/{name}/target:v2", f"{wire.host}/{name}:v1", user)
    assert wire.asked("POST", f"&from={name}"), "ctr did not try to mount"
    assert holds_exactly(server, f"{name}/target", "v2", image)


def test_layers_are_mounted_where_the_account_wants_it(
    server: RunningServer, containerd: Containerd, wire: Wire, user: str, name: str
) -> None:
    image = images.debian_image(tool="ctr mounts")
    with PlainRegistry(server) as registry:
        registry.push(name, "v1", image)
    containerd.pull(f"{wire.host}/{name}:v1", user)
    server.create_repository(f"{name}/mounted")
    ecr = server.client()
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    try:
        containerd.push(f"{wire.host}/{name}/mounted:v2", f"{wire.host}/{name}:v1", user)
    finally:
        ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
    assert not wire.asked("PUT", "/blobs/")
    assert holds_exactly(server, f"{name}/mounted", "v2", image)


@pytest.mark.quirk("containerd-reads-statuses-of-head")
@pytest.mark.parametrize("missing", ["{name}:missing", "nowhere/at-all:v1"])
def test_what_is_not_there_is_said_to_be_not_found(
    containerd: Containerd, wire: Wire, user: str, name: str, missing: str
) -> None:
    reference = f"{wire.host}/{missing.format(name=name)}"
    said = containerd.fail("images", "pull", "--plain-http", "--user", user, reference)
    assert f"{reference}: not found" in said
    assert not wire.asked("GET")


def test_a_stranger_is_refused(containerd: Containerd, wire: Wire, name: str, index: images.Index) -> None:
    said = containerd.fail("images", "pull", "--plain-http", f"{wire.host}/{name}:v1")
    assert "401 Unauthorized" in said or "no basic auth credentials" in said
