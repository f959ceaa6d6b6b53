"""Where chaos happens: servers, what they keep their data in, and what may go wrong there."""

import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import (
    DatabaseDown,
    DiskFull,
    Fault,
    Killed,
    Paused,
    Stopped,
    StoreBroken,
    WorkerKilled,
)
from tests.chaos.postgres import Postgres
from tests.chaos.workers import RunningWorker
from tests.disks import small_disk
from tests.faulty_proxy import Fault as Broken
from tests.faulty_proxy import faulty_proxy
from tests.running import RunningServer
from tests.s3_servers import swift_server
from tests.scenario.drivers import variables

MEBIBYTE = 1024 * 1024
SECONDS = float(os.environ.get("OPENECR_CHAOS_SECONDS", "20"))
"""How long each site has it."""

_DISK_BYTES = int((512 + 4 * SECONDS) * MEBIBYTE)
"""What clients keep grows all the while: it is full when it is filled, and not by itself."""

GRACE_SECONDS = 8

SETTINGS = {
    "OPENECR_LOG_LEVEL": "error",
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "1",
    "OPENECR_JOB_LEASE_SECONDS": "2",
    "OPENECR_DOOMED_SECONDS": "0",
    "OPENECR_LINK_GRACE_SECONDS": str(GRACE_SECONDS),
    "OPENECR_UPLOAD_IDLE_SECONDS": "86400",
    "OPENECR_STORAGE_MIN_FREE_RATIO": "0",
    "OPENECR_STORAGE_MIN_FREE_BYTES": str(8 * MEBIBYTE),
}
"""Collection runs all the while, and what nobody needs goes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Servers of one registry, and what may happen to them."""

    servers: list[RunningServer]
    faults: list[Fault]
    worker: RunningWorker | None = None

    def calm(self) -> None:
        """Start every server anew, so that no request of before is in flight any more."""
        if self.worker is not None:
            assert self.worker.stop() == 0
            self.worker.start()
        for server in self.servers:
            assert server.stop() == 0, server.log_tail()
        for server in self.servers:
            server.restart()


@contextmanager
def embedded(folder: Path) -> Generator[Site]:
    """One server with everything in its own folder, on a disk that can be full."""
    with small_disk(folder, _DISK_BYTES) as place:
        server = RunningServer(place / "server", settings=SETTINGS).start()
        try:
            yield Site(
                servers=[server],
                faults=[Killed(server, "the server"), Stopped(server, "the server"), DiskFull(place)],
            )
        finally:
            _kill(server)


@contextmanager
def cluster_with_files(folder: Path) -> Generator[Site]:
    """Two servers and a worker over PostgreSQL and a folder, on a disk that can be full."""
    with small_disk(folder, _DISK_BYTES) as place, _cluster(folder, {"blobs": str(place / "blobs")}) as site:
        site.faults.append(DiskFull(place))
        yield site


@contextmanager
def cluster_with_s3(folder: Path) -> Generator[Site]:
    """Two servers and a worker over PostgreSQL and an object store that breaks."""
    with swift_server() as swift, faulty_proxy(swift.port) as proxy:
        store = {**swift.settings(swift.make_bucket()), "s3_endpoint": proxy.endpoint}
        with _cluster(folder, store) as site:
            site.faults.extend(StoreBroken(proxy, fault) for fault in BROKEN)
            yield site


BROKEN = (
    Broken.DROP_BEFORE,
    Broken.DROP_AFTER,
    Broken.RESET_HALFWAY,
    Broken.ERROR_BEFORE,
    Broken.ERROR_AFTER,
    Broken.SLOW_DOWN,
    Broken.SLOW_FIRST_BYTE,
    Broken.HALF_AN_ANSWER,
    Broken.HANG_BEFORE,
    Broken.HANG_HALFWAY,
)


@contextmanager
def _cluster(folder: Path, store: Mapping[str, str]) -> Generator[Site]:
    with tempfile.TemporaryDirectory(prefix="openecr-pg-") as text, ExitStack() as stack:
        postgres = Postgres(Path(text))
        stack.callback(postgres.stop, "immediate")
        shared = variables({**store, "database": postgres.url, "keys": str(folder / "keys")})
        servers = [
            RunningServer(folder / side, settings={**SETTINGS, **shared}) for side in ("left", "right")
        ]
        worker = RunningWorker(folder / "worker", {**SETTINGS, **shared})
        stack.callback(worker.kill)
        for server in servers:
            stack.callback(_kill, server)
            server.start()
        worker.start()
        faults: list[Fault] = [
            DatabaseDown(postgres, "fast"),
            DatabaseDown(postgres, "immediate"),
            WorkerKilled(worker),
        ]
        for server, name in zip(servers, ("the left server", "the right server"), strict=True):
            faults += [Killed(server, name), Stopped(server, name), Paused(server, name)]
        yield Site(servers=servers, faults=faults, worker=worker)


def _kill(server: RunningServer) -> None:
    if server.process.poll() is None:
        server.kill()
