"""A PostgreSQL of our own, and how much processor time processes take."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.requirements import find_tool

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running PostgreSQL."""

    socket_folder: Path
    process_id: int

    def dsn(self, database: str = "postgres") -> str:
        """Return what servers are given as `--database`."""
        return f"postgresql://openecr@/{database}?host={self.socket_folder}"

    def run(self, statements: str, *, database: str = "postgres") -> str:
        """Run statements one after the other, and return the rows of the last, their columns between tabs."""
        command = [
            _program("psql"),
            "-XqAt",
            "-F",
            "\t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.socket_folder),
        ]
        return subprocess.run(
            [*command, "-U", "openecr", "-d", database],
            input=statements,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def seconds(self) -> float:
        """Return the processor time of all its processes, those that have ended too."""
        found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        family = [self.process_id, *(each for each in found if _parent(each) == self.process_id)]
        return sum(map(processor_seconds, family)) + _seconds_of_ended(self.process_id)


@contextmanager
def run_postgresql(*settings: str) -> Iterator[Cluster]:
    """Run PostgreSQL as it comes, every commit synced, on a Unix socket in a temporary folder.

    `settings` are name=value, and differ from how it comes.
    """
    folder = Path(subprocess.check_output(["mktemp", "-d", "-t", "openecr-pg-XXXXXX"], text=True).strip())
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(
            [_program(command[0]), *command[1:]],
            check=True,
            cwd=folder,
            user=user,
            stdout=subprocess.DEVNULL,
            timeout=120,
        )

    try:
        run("initdb", "-D", str(data), "-U", "openecr", "-A", "trust", "-E", "UTF8")
        options = " ".join([f"-k {folder} -c listen_addresses=''", *(f"-c {each}" for each in settings)])
        run("pg_ctl", "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            yield Cluster(socket_folder=folder, process_id=int(lines[0]))
        finally:
            run("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    found = find_tool(name)
    if found is None:
        message = f"no {name}: apt-get install postgresql"
        raise RuntimeError(message)
    return found


def _fields(process_id: int) -> list[str]:
    """Return what /proc tells of a process, from its state on (proc(5))."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []  # it has ended


def _parent(process_id: int) -> int:
    fields = _fields(process_id)
    return int(fields[1]) if fields else 0


def processor_seconds(process_id: int) -> float:
    """Return the processor time that a process has taken until now."""
    fields = _fields(process_id)
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND if fields else 0


def _seconds_of_ended(process_id: int) -> float:
    fields = _fields(process_id)
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_SECOND if fields else 0
