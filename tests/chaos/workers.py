"""`openecr worker` as a program that may be killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.running import START_SECONDS, STOP_SECONDS, plain_environment


class RunningWorker:
    """A worker of a database, with a data folder of its own."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Remember what to run."""
        self._data = folder / "data"
        self._log = folder / "worker.log"
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, and come back when it works."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "openecr", "worker", "--data", str(self._data)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=plain_environment() | self._settings | {"OPENECR_LOG_LEVEL": "info"},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while b"working" not in self._log.read_bytes():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "the worker does not begin"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """End it as an operator does; it has so long for that."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGTERM)
        return self._process.wait(seconds)
