"""The server is killed in the middle of pushes: clients go on where they were, or begin again.

Several pushers work at once, each on its own connection, and note what the server has answered 201 to. No
test waits for a time: the kill comes when enough was acknowledged and every pusher is still at work. That nothing
acknowledged is lost is proven by tests/durability/test_killed_servers.py.
"""

import http
import http.client
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.clients import images
from tests.clients.images import MEBIBYTE, Image, digest_of
from tests.clients.plain_registry import PlainRegistry
from tests.running import RunningServer, running_server

PUSHERS = 4
ENOUGH_IMAGES = 12
LAYER_BYTES = 300_000


@dataclass(slots=True)
class Record:
    """What the server acknowledged, shared by the pushers."""

    images: dict[tuple[str, str], Image] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note_image(self, repository_name: str, tag: str, image: Image) -> None:
        """A manifest was answered with 201."""
        with self.changed:
            self.images[repository_name, tag] = image
            self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Come back when so many images were acknowledged."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.images) >= count, timeout=60), (
                "the pushers got nowhere"
            )


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that this test may kill."""
    with running_server(tmp_path) as running:
        yield running


def small_image(repository_name: str, number: int) -> Image:
    """An image like no other, made from its number."""
    noise = random.Random(f"{repository_name}:{number}").randbytes(LAYER_BYTES)
    return images.make_image([images.gzip_layer(images.files_archive({"srv/noise": noise}), 1)])


def push_until_refused(server: RunningServer, password: str, repository_name: str, record: Record) -> None:
    """Push one image after another, noting every acknowledgement, until the server is gone."""
    try:
        with PlainRegistry(server, password) as registry:
            for number in range(10_000):
                image = small_image(repository_name, number)
                for content in image.blobs().values():
                    registry.push_blob(repository_name, content)
                registry.push_manifest(repository_name, f"v{number}", image.manifest, image.media_type)
                record.note_image(repository_name, f"v{number}", image)
    except (OSError, http.client.HTTPException):
        return


def push_and_kill(server: RunningServer) -> Record:
    """Let several pushers work, kill the server under them and start it again."""
    names = [f"kill/{number}" for number in range(PUSHERS)]
    for name in names:
        server.create_repository(name)
    password, record = server.password(), Record()
    with ThreadPoolExecutor(PUSHERS) as pool:
        pushers = [pool.submit(push_until_refused, server, password, name, record) for name in names]
        try:
            record.wait_for(ENOUGH_IMAGES)
            assert not any(pusher.done() for pusher in pushers)
        finally:
            server.kill()
        for pusher in pushers:
            pusher.result(timeout=60)
    server.restart()
    return record


def test_a_push_that_was_cut_off_can_be_repeated(victim: RunningServer) -> None:
    record = push_and_kill(victim)
    for number in range(PUSHERS):
        name = f"kill/{number}"
        done = sum(repository_name == name for repository_name, _ in record.images)
        with PlainRegistry(victim) as registry:
            for repeated in range(max(0, done - 1), done + 2):
                image = small_image(name, repeated)
                registry.push(name, f"v{repeated}", image)
                assert registry.manifest(name, f"v{repeated}").body == image.manifest
                assert all(
                    registry.blob(name, digest) == content for digest, content in image.blobs().items()
                )


def test_an_upload_goes_on_where_it_was_after_a_kill(victim: RunningServer) -> None:
    victim.create_repository("kill/resumed")
    content = random.Random(11).randbytes(6 * MEBIBYTE)
    with PlainRegistry(victim) as registry:
        location = registry.request("POST", "/v2/kill/resumed/blobs/uploads/", b"").headers["location"]
        for start in (0, 2 * MEBIBYTE):
            part = content[start : start + 2 * MEBIBYTE]
            sent = registry.request(
                "PATCH",
                location,
                part,
                Content_Range=f"{start}-{start + len(part) - 1}",
                Content_Type="application/octet-stream",
            )
            assert sent.status == http.HTTPStatus.ACCEPTED
            location = sent.headers["location"]
    victim.kill()
    victim.restart()
    with PlainRegistry(victim) as registry:
        status = registry.request("GET", location)
        assert (status.status, status.headers["range"]) == (
            http.HTTPStatus.NO_CONTENT,
            f"0-{4 * MEBIBYTE - 1}",
        )
        digest = digest_of(content)
        ended = registry.request("PUT", f"{location}?digest={digest}", content[4 * MEBIBYTE :])
        assert ended.status == http.HTTPStatus.CREATED, ended.body
        assert registry.blob("kill/resumed", digest) == content


def test_a_stopped_server_answers_as_before_when_it_runs_again(victim: RunningServer) -> None:
    victim.create_repository("kill/stopped")
    image = small_image("kill/stopped", 0)
    password = victim.password()
    with PlainRegistry(victim, password) as registry:
        registry.push("kill/stopped", "v1", image)
    assert victim.stop() == 0
    victim.restart()
    with PlainRegistry(victim, password) as registry:
        assert registry.manifest("kill/stopped", "v1").body == image.manifest
