"""PostgreSQL hangs, and the server and the worker over it are stopped: they are gone in their time, and say why."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.chaos.workers import RunningWorker
from tests.contract.databases import Cluster, cluster
from tests.processes import standing_still
from tests.running import RunningServer, eventually
from tests.scenario.drivers import WireDriver, authorization, variables
from tests.scenario.images import Registry, SmallImage

NAME = "hangs"
SHUTDOWN_SECONDS = 9
A_LITTLE_SECONDS = 3
"""For a machine that is busy; less than the five seconds for which a worker gives back what it holds."""


@pytest.fixture
def postgres() -> Iterator[Cluster]:
    with cluster() as found:
        found.make()
        yield found


@contextmanager
def hanging(postgres: Cluster) -> Iterator[None]:
    """Let every process of a PostgreSQL stand still: it takes connections, and answers none."""
    first = int((postgres.data / "postmaster.pid").read_text().splitlines()[0])
    with standing_still(first):  # which starts no others then
        children = subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True, check=True)
        with standing_still(*map(int, children.stdout.split())):
            yield


def ask(server: RunningServer, authorization: str) -> socket.socket:
    """Send a request that nobody can answer, and do not wait."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = (
        f"GET /v2/{NAME}/manifests/v1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
    )
    connection.sendall(head.encode())
    eventually(lambda: has_read_everything(server.port, connection.getsockname()[1]))
    return connection


def has_read_everything(port: int, client_port: int) -> bool:
    """Tell whether a server has read what a client on this machine has sent it (proc_net_tcp(5): its receive queue)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if [int(each.rpartition(":")[2], 16) for each in (local, remote)] == [port, client_port]:
            return int(queues.rpartition(":")[2], 16) == 0
    return False


@pytest.fixture
def programs(postgres: Cluster, tmp_path: Path) -> Iterator[tuple[RunningServer, RunningWorker]]:
    """A server that works, and a worker beside it."""
    shared = variables(
        {
            "database": postgres.start().dsn("postgres"),
            "keys": str(tmp_path / "keys"),
            "blobs": str(tmp_path / "blobs"),
            "shutdown_seconds": str(SHUTDOWN_SECONDS),
        }
    )
    server = RunningServer(tmp_path / "server", settings=shared)
    worker = RunningWorker(tmp_path / "worker", shared)
    with ExitStack() as stack:
        stack.callback(server.kill)
        stack.callback(worker.kill)
        server.start()
        worker.start()
        yield server, worker


@pytest.mark.timeout(300)
def test_programs_whose_database_hangs_stop_in_their_time_and_say_so(
    programs: tuple[RunningServer, RunningWorker], postgres: Cluster, tmp_path: Path
) -> None:
    server, worker = programs
    ecr = WireDriver(server).client()
    ecr.create_repository(repositoryName=NAME)
    allowed = authorization(ecr)
    Registry(WireDriver(server), allowed, NAME).push(SmallImage.named("an image"), "v1")
    with hanging(postgres), ask(server, allowed):
        server.process.send_signal(signal.SIGTERM)
        status = server.process.wait(SHUTDOWN_SECONDS + A_LITTLE_SECONDS)
        assert status == 0
        assert worker.stop(SHUTDOWN_SECONDS + A_LITTLE_SECONDS) == 0

    for log in (server.log, tmp_path / "worker" / "worker.log"):
        assert "\nTraceback" not in log.read_text(), "an entry of the log may quote one"
    assert "the database did not answer" in server.log.read_text()
