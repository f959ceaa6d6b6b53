"""A PostgreSQL that keeps what it promised through everything that happens to it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.requirements import require_tool

_OPTIONS = "-c listen_addresses='' -c max_connections=100 -c shared_buffers=64MB -c lc_messages=C"
_SECONDS = 120


class Postgres:
    """One server on a Unix socket, with every setting that keeps it durable."""

    def __init__(self, folder: Path) -> None:
        """Make a cluster in a folder whose path is short: that of a Unix socket holds a hundred characters."""
        self._folder = folder
        self._data = folder / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user)
        initdb = require_tool("initdb", package="postgresql")
        self._pg_ctl = require_tool("pg_ctl", package="postgresql")
        self._run(initdb, "-D", str(self._data), "-U", "openecr", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()
        create = require_tool("createdb", package="postgresql")
        self._run(create, "-h", str(folder), "-U", "openecr", "openecr")

    @property
    def url(self) -> str:
        """What `--database` takes."""
        return f"postgresql://openecr@/openecr?host={self._folder}"

    def start(self) -> None:
        """Start, and come back when it takes connections."""
        log = str(self._folder / "log")
        options = f"-k {self._folder} {_OPTIONS}"
        self._run(self._pg_ctl, "-D", str(self._data), "-l", log, "-w", "-o", options, "start")

    def stop(self, mode: str) -> None:
        """Stop: `fast` ends connections, `immediate` kills every process and leaves recovery to the next start."""
        self._run(self._pg_ctl, "-D", str(self._data), "-m", mode, "-w", "stop")

    def _run(self, *command: str) -> None:
        subprocess.run(
            command,
            check=True,
            cwd=self._folder,
            env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            user=self._user,
            stdout=subprocess.DEVNULL,
            timeout=_SECONDS,
        )
