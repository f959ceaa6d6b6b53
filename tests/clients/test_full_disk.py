"""A disk that is full: pushes are refused in words that every client shows, and everything else goes on.

The first half of the tests has a reserve, as every server has; the second has none, so that writes fail anywhere.
"""

import http
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.clients import images
from tests.clients.commands import Shell
from tests.clients.dockerd import Docker
from tests.clients.images import Image
from tests.clients.plain_registry import Answer, PlainRegistry, holds_exactly
from tests.disks import fill, free_bytes, small_disk
from tests.requirements import require_tool
from tests.running import RunningServer, eventually, running_server

MEBIBYTE = images.MEBIBYTE
DISK_BYTES = 96 * MEBIBYTE
RESERVE_BYTES = 24 * MEBIBYTE
LAYER_BYTES = 4 * MEBIBYTE
SENTENCE = "The registry's storage is full. Delete images and try again."
SOON = {
    "OPENECR_LINK_GRACE_SECONDS": "10",
    "OPENECR_DOOMED_SECONDS": "0",
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "1",
    "OPENECR_STORAGE_MIN_FREE_RATIO": "0",
}
NAME = "full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, DISK_BYTES) as place:
        yield place


def image_of(number: int, size_bytes: int = LAYER_BYTES) -> Image:
    noise = random.Random(number).randbytes(size_bytes)
    return images.make_image([images.Layer(media_type=images.OCI_LAYER, content=noise, archive=noise)])


def is_refusal(answer: Answer) -> bool:
    """Whether a push was refused as this face refuses it."""
    if answer.status != http.HTTPStatus.FORBIDDEN:
        return False
    return bool(answer.document() == {"errors": [{"code": "DENIED", "message": SENTENCE}]})


def begin(registry: PlainRegistry) -> Answer:
    return registry.request("POST", f"/v2/{NAME}/blobs/uploads/", b"")


def push_until_full(registry: PlainRegistry) -> list[Image]:
    """Push until the server refuses; give what it acknowledged."""
    pushed: list[Image] = []
    for number in range(DISK_BYTES // LAYER_BYTES):
        image = image_of(number)
        for content in image.blobs().values():
            begun = begin(registry)
            if begun.status != http.HTTPStatus.ACCEPTED:
                assert is_refusal(begun), begun.body
                return pushed
            path = f"{begun.headers['location']}?digest={images.digest_of(content)}"
            ended = registry.request("PUT", path, content)
            if ended.status != http.HTTPStatus.CREATED:
                assert is_refusal(ended), ended.body
                return pushed
        registry.push_manifest(NAME, f"v{number}", image.manifest, image.media_type)
        pushed.append(image)
    pytest.fail("the disk was never full")


def is_full_for(registry: PlainRegistry, disk: Path) -> bool:
    """Fill the disk up to the reserve. What refused pushes had left goes at any moment, and makes room again."""
    fill(disk / "of another program", leave_bytes=RESERVE_BYTES - MEBIBYTE)
    return is_refusal(begin(registry))


def delete(server: RunningServer, *pushed: Image) -> None:
    answer = server.client().batch_delete_image(
        repositoryName=NAME, imageIds=[{"imageDigest": image.digest} for image in pushed]
    )
    assert answer["failures"] == []


def test_a_disk_is_filled_and_cleaned_through_the_api_and_takes_pushes_again(disk: Path) -> None:
    settings = SOON | {"OPENECR_STORAGE_MIN_FREE_BYTES": str(RESERVE_BYTES)}
    with running_server(disk, settings=settings) as server:
        server.create_repository(NAME)
        with PlainRegistry(server) as registry:
            pushed = push_until_full(registry)
        assert len(pushed) > 4
        # Uploads never touched the reserve. The database and the log wrote a little.
        assert free_bytes(disk) > RESERVE_BYTES - 4 * MEBIBYTE

        with PlainRegistry(server, server.password()) as registry:  # a new login
            eventually(partial(is_full_for, registry, disk))
            again = registry.request("PUT", f"/v2/{NAME}/manifests/again", pushed[0].manifest)
            assert is_refusal(again), again
        client = server.client()
        with pytest.raises(ClientError) as refused:
            client.initiate_layer_upload(repositoryName=NAME)
        assert refused.value.response.get("Error") == {"Code": "ServerException", "Message": SENTENCE}
        for number, image in enumerate(pushed):
            assert holds_exactly(server, NAME, f"v{number}", image)

        half = len(pushed) // 2
        delete(server, *pushed[: half - 1])
        with PlainRegistry(server) as registry:
            gone = registry.request("DELETE", f"/v2/{NAME}/manifests/{pushed[half - 1].digest}")
            assert gone.status == http.HTTPStatus.ACCEPTED
            eventually(lambda: free_bytes(disk) > RESERVE_BYTES + (half - 2) * LAYER_BYTES)
            for number in range(half - 2):
                registry.push(NAME, f"new{number}", image_of(1000 + number))
        for number, image in list(enumerate(pushed))[half:]:
            assert holds_exactly(server, NAME, f"v{number}", image)
        assert server.stop() == 0


def test_nothing_is_lost_when_there_is_no_reserve_and_all_goes_on_without_a_restart(disk: Path) -> None:
    ballast = disk / "ballast"
    settings = SOON | {"OPENECR_STORAGE_MIN_FREE_BYTES": "0"}
    kept = image_of(0)
    with running_server(disk, settings=settings) as server:
        server.create_repository(NAME)
        with PlainRegistry(server) as registry:
            registry.push(NAME, "kept", kept)
            # In the middle of a blob: the check at its beginning found room.
            fill(ballast, leave_bytes=3 * MEBIBYTE)
            begun = begin(registry)
            layer = image_of(1).layers[0].content
            torn = registry.request(
                "PUT", f"{begun.headers['location']}?digest={images.digest_of(layer)}", layer
            )
            assert is_refusal(torn), torn.body

            # Everywhere: the database, the log, the pull times.
            fill(ballast)
            assert_lives_without_room(server, registry, kept)
            assert server.process.poll() is None
        assert holds_exactly(server, NAME, "kept", kept)

        ballast.unlink()
        with PlainRegistry(server) as registry:
            for number in range(2, 5):
                registry.push(NAME, f"v{number}", image_of(number))
        for number in range(2, 5):
            assert holds_exactly(server, NAME, f"v{number}", image_of(number))
        assert holds_exactly(server, NAME, "kept", kept)
        assert server.stop() == 0


def assert_lives_without_room(server: RunningServer, registry: PlainRegistry, kept: Image) -> None:
    """Every kind of write is done or refused clearly, many times over; reads and logins work between them."""
    refused: set[str] = set()

    def note(what: str, answer: Answer, done: http.HTTPStatus) -> None:
        if answer.status != done:
            assert is_refusal(answer), (answer, answer.body)
            refused.add(what)

    for number in range(40):
        manifest = images.canonical(
            {**json.loads(kept.manifest), "annotations": {"number": str(number), "long": "x" * 20_000}}
        )
        path = f"/v2/{NAME}/manifests/n{number}"
        answer = registry.request("PUT", path, manifest, Content_Type=kept.media_type)
        note("manifest", answer, http.HTTPStatus.CREATED)
        note("upload", begin(registry), http.HTTPStatus.ACCEPTED)
        if answer.status == http.HTTPStatus.CREATED:
            note("tag", registry.request("DELETE", path), http.HTTPStatus.ACCEPTED)
        assert registry.manifest(NAME, "kept").body == kept.manifest
        assert registry.blob(NAME, kept.config_digest) == kept.config
    assert {"manifest", "upload"} <= refused
    with pytest.raises(ClientError) as failed:
        make_repositories(server, 200)
    assert failed.value.response.get("Error") == {"Code": "ServerException", "Message": SENTENCE}
    assert server.password()


def make_repositories(server: RunningServer, count: int) -> None:
    client = server.client()
    for number in range(count):
        client.create_repository(repositoryName=f"{NAME}/{number}")


def test_a_server_on_a_full_disk_starts_and_stops(disk: Path) -> None:
    settings = SOON | {"OPENECR_STORAGE_MIN_FREE_BYTES": "0"}
    kept = image_of(0)
    with running_server(disk, settings=settings) as server:
        server.create_repository(NAME)
        with PlainRegistry(server) as registry:
            registry.push(NAME, "kept", kept)
        fill(disk / "ballast")
        assert holds_exactly(server, NAME, "kept", kept)
        assert server.stop() == 0
        server.restart()
        assert holds_exactly(server, NAME, "kept", kept)
        server.kill()
        server.restart()
        assert holds_exactly(server, NAME, "kept", kept)
        (disk / "ballast").unlink()
        with PlainRegistry(server) as registry:
            registry.push(NAME, "more", image_of(1))
        assert server.stop() == 0


@pytest.fixture(scope="module")
def full_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose reserve no disk has."""
    settings = {"OPENECR_STORAGE_MIN_FREE_BYTES": str(2**60)}
    with running_server(tmp_path_factory.mktemp("full"), settings=settings) as server:
        server.create_repository(NAME)
        yield server


@pytest.fixture
def archive(full_server: RunningServer, tmp_path: Path) -> Path:
    """An image as `docker save` writes it."""
    return images.write_docker_archive(
        tmp_path / "image.tar", images.debian_image(), f"{full_server.host}/{NAME}:v1"
    )


def test_docker_shows_the_sentence(full_server: RunningServer, docker: Docker, archive: Path) -> None:
    login = ("login", "--username", "AWS", "--password-stdin", full_server.host)
    assert "Login Succeeded" in docker.run(*login, stdin=full_server.password())
    docker.run("load", "--input", str(archive))
    said = docker.fail("push", f"{full_server.host}/{NAME}:v1")
    assert f"denied: {SENTENCE}" in said
    assert "Retrying" not in said


def test_crane_shows_the_sentence(full_server: RunningServer, archive: Path, tmp_path: Path) -> None:
    require_tool("crane")
    shell = Shell(tmp_path / "home")
    login = ("crane", "auth", "login", "--username", "AWS", "--password-stdin", full_server.host)
    shell.run(*login, stdin=full_server.password())
    said = shell.fail("crane", "push", str(archive), f"{full_server.host}/{NAME}:v1")
    assert SENTENCE in said
    assert "retrying" not in said


def test_skopeo_and_so_podman_shows_the_sentence(
    full_server: RunningServer, archive: Path, tmp_path: Path
) -> None:
    require_tool("skopeo")
    shell = Shell(tmp_path / "home")
    login = ("--username", "AWS", "--password-stdin", full_server.host)
    shell.run("skopeo", "login", "--tls-verify=false", *login, stdin=full_server.password())
    target = (
        "--dest-tls-verify=false",
        f"docker-archive:{archive}",
        f"docker://{full_server.host}/{NAME}:v1",
    )
    assert SENTENCE in shell.fail("skopeo", "--insecure-policy", "copy", *target)
