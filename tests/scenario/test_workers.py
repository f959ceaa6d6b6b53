"""Servers that serve, and a worker beside them that does the background work, over PostgreSQL."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.workers import RunningWorker
from tests.clients.images import digest_of
from tests.running import RunningServer, plain_environment
from tests.scenario.drivers import Answer, WireDriver, authorization, variables
from tests.scenario.storages import Storages

NAME = "work"
CONTENT = b"what nobody needs" * 1000
SETTINGS = {
    "worker": "false",
    "job_lease_seconds": "1",
    "link_grace_seconds": "0",
    "doomed_seconds": "0",
    "collection_interval_seconds": "3600",
}


@pytest.fixture
def place(storages: Storages, tmp_path: Path) -> Iterator[tuple[RunningServer, RunningWorker]]:
    """A server that does no background work, and a worker that has not begun."""
    with storages.opened("PostgreSQL") as flags, ExitStack() as stack:
        shared = variables(
            {**flags, **SETTINGS, "keys": str(tmp_path / "keys"), "blobs": str(tmp_path / "blobs")}
        )
        server = RunningServer(tmp_path / "server", settings=shared)
        worker = RunningWorker(tmp_path / "worker", shared)
        stack.callback(server.kill)
        stack.callback(worker.kill)
        server.start()
        server.create_repository(NAME)
        yield server, worker
        server.stop()


def openecr(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openecr", *arguments, "--data", str(server.data)]
    return subprocess.run(
        command, env=plain_environment(), capture_output=True, text=True, timeout=60, check=False
    )


def ask(server: RunningServer, method: str, path: str, body: bytes = b"") -> Answer:
    headers = {"authorization": authorization(server.client()), "content-type": "application/octet-stream"}
    return WireDriver(server).http(method, path, headers=headers, body=body)


@pytest.mark.timeout(300)
def test_a_worker_beside_a_server_does_its_work(
    place: tuple[RunningServer, RunningWorker], tmp_path: Path
) -> None:
    server, worker = place
    digest = digest_of(CONTENT)
    path = f"/v2/{NAME}/blobs/{digest}"
    assert ask(server, "POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}", CONTENT).status == 201
    refused = openecr(server, "gc", "--run")
    assert (refused.returncode, "no worker has begun yet" in refused.stderr) == (1, True)
    assert ask(server, "GET", path).body == CONTENT

    worker.start()
    listed = json.loads(openecr(server, "jobs", "list", "--json").stdout)
    assert {"collect-blobs", "remove-bytes", "scrub"} <= {job["kind"] for job in listed}
    done = openecr(server, "gc", "--run")
    assert done.returncode == 0, done.stderr
    assert ask(server, "GET", path).status == 404
    assert [file for file in (tmp_path / "blobs").glob("*/*") if file.is_file()] == []
    audited = openecr(server, "blobs", "audit", "--remove-orphans")
    assert (audited.returncode, audited.stderr) == (0, "")

    worker.kill()
    refused = openecr(server, "scrub")
    assert refused.returncode == 1
    assert "nobody has worked on scrub for 11 seconds" in refused.stderr
