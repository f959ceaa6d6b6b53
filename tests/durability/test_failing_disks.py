"""The disk refuses a sync of the real server: nothing is acknowledged, nothing is tried again, nothing is lost."""

import http
import http.client
import select
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.plain_registry import PlainRegistry
from tests.durability.afterwards import damages
from tests.durability.data_folders import small_image
from tests.requirements import require_tool
from tests.running import RunningServer, running_server

NAME = "failing"
QUIET = {"OPENECR_COLLECTION_INTERVAL_SECONDS": "3600"}
ATTACH_MILLISECONDS = 30_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    require_tool("strace")
    with running_server(tmp_path, settings=QUIET) as running:
        running.create_repository(NAME)
        yield running


@contextmanager
def refused(process: int, call: str, *, path: Path | None = None) -> Generator[None]:
    """Let the system refuse such a call of a process that runs: the first one of each of its threads."""
    command = [require_tool("strace"), "--follow-forks", f"--attach={process}", f"--trace={call}"]
    command += [f"--inject={call}:error=EIO:when=1", *([] if path is None else [f"--trace-path={path}"])]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        waiting = select.poll()
        waiting.register(tracer.stderr, select.POLLIN)
        assert waiting.poll(ATTACH_MILLISECONDS), "strace does not attach"
        assert b"attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.terminate()
            told = tracer.stderr.read()
    assert b"INJECTED" in told, told


def test_a_blob_whose_sync_fails_is_not_acknowledged_and_may_be_pushed_again(server: RunningServer) -> None:
    image = small_image("one")
    content = image.layers[0].content
    with PlainRegistry(server) as registry:
        with refused(server.process.pid, "fsync"):
            answer = registry.request(
                "POST", f"/v2/{NAME}/blobs/uploads/?digest={image.layers[0].digest}", content
            )
            assert answer.status >= 500, answer
            missing = registry.request("HEAD", f"/v2/{NAME}/blobs/{image.layers[0].digest}")
            assert missing.status == http.HTTPStatus.NOT_FOUND
        registry.push(NAME, "v1", image)
        assert registry.manifest(NAME, "v1").body == image.manifest
    assert server.stop() == 0
    assert damages(server.data) == []


def test_a_server_whose_database_cannot_be_synced_ends_and_starts_again_with_what_it_acknowledged(
    server: RunningServer,
) -> None:
    acknowledged, refused_image = small_image("one"), small_image("two")
    log = server.data / "metadata.sqlite-wal"
    with PlainRegistry(server) as registry:
        registry.push(NAME, "v1", acknowledged)
        for content in refused_image.blobs().values():
            registry.push_blob(NAME, content)
        with refused(server.process.pid, "fdatasync", path=log):
            try:
                path = f"/v2/{NAME}/manifests/v2"
                answer = registry.request(
                    "PUT", path, refused_image.manifest, Content_Type=refused_image.media_type
                )
                assert answer.status >= 500, answer
            except (OSError, http.client.HTTPException):
                pass  # the server was gone first
            assert server.process.wait(30) == 1
    assert "the database failed" in server.log_tail()
    server.restart()
    with PlainRegistry(server) as registry:
        assert registry.manifest(NAME, "v1").body == acknowledged.manifest
        for digest, content in acknowledged.blobs().items():
            assert registry.blob(NAME, digest) == content
        registry.push(NAME, "v2", refused_image)
    assert server.stop() == 0
    assert damages(server.data) == []
