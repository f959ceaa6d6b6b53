"""What happens to a site: each fault is brought about, lasts for a while and is taken away."""

import itertools
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tests.chaos.postgres import Postgres
from tests.chaos.workers import RunningWorker
from tests.disks import fill
from tests.faulty_proxy import Fault as Broken
from tests.faulty_proxy import FaultyProxy
from tests.running import RunningServer


class Fault(Protocol):
    """Something that goes wrong."""

    name: str

    @property
    def target(self) -> object:
        """What it happens to: two faults of one target do not happen at once."""
        ...

    def inject(self) -> None:
        """Let it happen."""
        ...

    def heal(self) -> None:
        """Take it away, and come back when the site can be whole again."""
        ...


class Killed:
    """SIGKILL of a server's process group; it is started again."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self._server = server
        self.target = server
        self.name = f"{name} is killed"

    def inject(self) -> None:
        """Kill it."""
        self._server.kill()

    def heal(self) -> None:
        """Start it again, without any repair."""
        self._server.restart()


class Stopped:
    """SIGTERM, as an upgrade does: what is in flight may end."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self._server = server
        self.target = server
        self.name = f"{name} is stopped"

    def inject(self) -> None:
        """Stop it, which must go well."""
        status = self._server.stop()
        assert status == 0, f"it ended with {status}"

    def heal(self) -> None:
        """Start it again."""
        self._server.restart()


class Paused:
    """SIGSTOP: others take over what it held, and then it goes on as if nothing had been."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self._server = server
        self.target = server
        self.name = f"{name} is paused"

    def inject(self) -> None:
        """Let it stand still."""
        os.killpg(self._server.process.pid, signal.SIGSTOP)

    def heal(self) -> None:
        """Let it go on."""
        os.killpg(self._server.process.pid, signal.SIGCONT)


class WorkerKilled:
    """SIGKILL of a worker: its jobs are taken over when their leases end."""

    name = "the worker is killed"

    def __init__(self, worker: RunningWorker) -> None:
        self._worker = worker
        self.target = worker

    def inject(self) -> None:
        """Kill it."""
        self._worker.kill()

    def heal(self) -> None:
        """Start another one in its place."""
        self._worker.start()


class StoreBroken:
    """The object store fails, is slow, or hangs, for every other request."""

    def __init__(self, proxy: FaultyProxy, fault: Broken) -> None:
        self._proxy = proxy
        self._fault = fault
        self.target = proxy
        self.name = f"S3: {fault.name.lower()}"

    def inject(self) -> None:
        """Break requests from now on."""
        numbers = itertools.count()
        self._proxy.choose = lambda _: self._fault if next(numbers) % 2 == 0 else None

    def heal(self) -> None:
        """Let everything pass; what hangs goes on hanging."""
        self._proxy.choose = None


class DatabaseDown:
    """PostgreSQL is stopped: `fast` ends its connections, `immediate` is a crash."""

    def __init__(self, postgres: Postgres, mode: str) -> None:
        self._postgres = postgres
        self._mode = mode
        self.target = postgres
        self.name = f"PostgreSQL is stopped ({mode})"

    def inject(self) -> None:
        """Stop it."""
        self._postgres.stop(self._mode)

    def heal(self) -> None:
        """Start it; after a crash it recovers."""
        self._postgres.start()


class DiskFull:
    """Not another byte can be written where the blobs are."""

    name = "the disk is full"

    def __init__(self, place: Path) -> None:
        self._ballast = place / "ballast"
        self.target = place

    def inject(self) -> None:
        """Fill it."""
        fill(self._ballast)

    def heal(self) -> None:
        """Make room."""
        self._ballast.unlink()


class Together:
    """Several at once; servers are mended last, since none starts without what it keeps its data in."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = list(faults)
        self.target = self
        self.name = " while ".join(fault.name for fault in faults)

    def inject(self) -> None:
        """Bring about all of them."""
        for fault in self._faults:
            fault.inject()

    def heal(self) -> None:
        """Take them away."""
        for fault in sorted(self._faults, key=_needs_others):
            fault.heal()


def _needs_others(fault: Fault) -> bool:
    return isinstance(fault.target, RunningServer | RunningWorker)
