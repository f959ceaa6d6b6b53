"""Servers are killed at random moments under clients that push, delete and pull, and start again without any repair.

`OPENECR_KILLS` asks for more rounds, `OPENECR_SEED` for the choices of a failure again.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from openecr.adapters.data_folder import DataFolder, DataFolderBusy
from tests.durability.afterwards import damages
from tests.durability.callers import Caller, Wire
from tests.durability.histories import History, Key, differences, observed
from tests.durability.recordings import SETTINGS, working
from tests.running import RunningServer, free_port, plain_environment
from tests.scenario.drivers import basic

KILLS = int(os.environ.get("OPENECR_KILLS", "30"))
SEED = os.environ.get("OPENECR_SEED") or str(random.SystemRandom().randrange(10**9))
CALLERS = 4
LARGEST_BYTES = 60_000
SOONEST_SECONDS, LATEST_SECONDS = 0.05, 0.5
OLD_KEYS = 60
"""So many that were looked at before are looked at again in each round; all of them at the end."""


def processes_of(leader: int) -> list[int]:
    """The process that was started, and every one that it or its children started."""
    found = [leader]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def kill_some(server: RunningServer, number: int) -> str:
    """Kill the group, the parent or a worker, in turn; the others of the group must follow. Says who was killed."""
    processes = processes_of(server.process.pid)
    victims: list[str | int] = ["group", *processes]
    victim = victims[number % len(victims)]
    if isinstance(victim, str):
        os.killpg(server.process.pid, signal.SIGKILL)
    else:
        os.kill(victim, signal.SIGKILL)
    server.process.wait(30)
    return f"{victim} of {processes}"


class Siege:
    """One data folder, and what its servers have promised until now."""

    def __init__(self, folder: Path) -> None:
        """Start the first server."""
        self.server = RunningServer(folder, settings=SETTINGS).start()
        self.history = History()
        self._chance = random.Random(SEED)
        environment = self.server.environment()
        self._key = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        self._authorization = basic("AWS", self.server.password())
        self._seen: dict[Key, int] = {}

    def wire(self) -> Wire:
        """A connection with the credentials of the first server: those of all that follow."""
        return Wire(self.server, self._authorization, self._key)

    def round(self, number: int) -> str:
        """Work, kill, start again, look. Says who was killed."""
        callers = [
            Caller(
                self.wire(),
                self.history,
                f"caller{each}",
                seed=f"{SEED}:{number}",
                largest_bytes=LARGEST_BYTES,
            )
            for each in range(CALLERS)
        ]
        with working(callers):
            time.sleep(self._chance.uniform(SOONEST_SECONDS, LATEST_SECONDS))  # any moment will do
            killed = kill_some(self.server, number)
        refuse_nobody(self.server.data)
        self.server.restart()
        refuse_everybody(self.server.data)
        self.look([*self._fresh(), *self._some_old()])
        return killed

    def look(self, keys: Sequence[Key]) -> None:
        """Compare what the server holds with what it may hold."""
        expected = self.history.expected(lambda change: change.is_acknowledged)
        wire = self.wire()
        found = observed(keys, wire.get)
        wire.close()
        assert differences(expected, found) == []
        self.history.settle(found)
        self._seen |= {key: len(self.history.changes[key]) for key in keys}

    def _fresh(self) -> list[Key]:
        """What changed since it was looked at, or was not answered."""
        changed = self.history.changes.items()
        return [key for key, changes in changed if len(changes) != self._seen.get(key)]

    def _some_old(self) -> list[Key]:
        return self._chance.sample(sorted(self._seen), min(OLD_KEYS, len(self._seen)))


def refuse_nobody(data: Path) -> None:
    """The kernel has dropped the lock with its holder: nobody who writes is left."""
    DataFolder.acquire(data).release()


def refuse_everybody(data: Path) -> None:
    """There are never two writers."""
    with pytest.raises(DataFolderBusy):
        DataFolder.acquire(data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_servers_that_are_killed_at_any_moment_keep_what_they_promised(tmp_path: Path) -> None:
    siege = Siege(tmp_path)
    try:
        killed = [siege.round(number) for number in range(KILLS)]
        siege.look(list(siege.history.changes))
        assert siege.history.acknowledged > 5 * KILLS, "the clients got nowhere"
        assert siege.server.stop() == 0
    finally:
        siege.server.kill()
        print(f"OPENECR_SEED={SEED}, {siege.history.acknowledged} changes were acknowledged")

    assert len(killed) == KILLS
    assert damages(siege.server.data) == []


def test_a_second_server_on_the_folder_of_a_living_one_is_refused(tmp_path: Path) -> None:
    siege = Siege(tmp_path)
    command = [sys.executable, "-m", "openecr", "serve", "--data", str(siege.server.data)]
    try:
        for _ in range(2):
            second = subprocess.run(
                [*command, "--port", str(free_port())],
                env=plain_environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert second.returncode != 0
            assert f"in use by process {siege.server.process.pid}" in second.stderr
            siege.server.kill()
            siege.server.restart()
    finally:
        siege.server.kill()


def test_the_server_is_one_process(tmp_path: Path) -> None:
    """Parent, worker and group are the same: nothing can outlive what was killed."""
    server = RunningServer(tmp_path).start()
    try:
        assert processes_of(server.process.pid) == [server.process.pid]
    finally:
        server.kill()
