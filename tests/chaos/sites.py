"""Where chaos happens: servers, what they keep their data in, and what may go wrong there."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import DiskFull, Fault, Killed, Stopped
from tests.disks import small_disk
from tests.running import RunningServer

MEBIBYTE = 1024 * 1024
_DISK_BYTES = 512 * MEBIBYTE
GRACE_SECONDS = 8

SETTINGS = {
    "OPENECR_LOG_LEVEL": "error",
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "1",
    "OPENECR_DOOMED_SECONDS": "0",
    "OPENECR_LINK_GRACE_SECONDS": str(GRACE_SECONDS),
    "OPENECR_UPLOAD_IDLE_SECONDS": "600",
    "OPENECR_STORAGE_MIN_FREE_RATIO": "0",
    "OPENECR_STORAGE_MIN_FREE_BYTES": str(8 * MEBIBYTE),
}
"""Collection runs all the while, and what nobody needs goes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Servers of one registry, and what may happen to them."""

    servers: list[RunningServer]
    faults: list[Fault]
    has_keys: bool

    def calm(self) -> None:
        """Start every server anew, so that no request of before is in flight any more."""
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
                has_keys=False,
            )
        finally:
            server.kill()
