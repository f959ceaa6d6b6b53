"""containerd's own daemon, run for the tests beside whatever daemon the machine has.

It keeps its content, sockets and snapshots in a folder of its own and runs no container, so it may run in a
container or a bare virtual machine, though only as root.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.commands import Shell
from tests.requirements import search_path
from tests.running import plain_environment

START_SECONDS = 60.0
STOP_SECONDS = 20.0
DISABLED = ("io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.overlayfs")
"""Kubernetes' side, which wants a network; and overlays, which do not stack where the tests run in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containerd:
    """The ctr command, connected to the tests' daemon."""

    folder: Path
    shell: Shell

    def run(self, *arguments: str) -> str:
        """Run `ctr ...`, which must succeed."""
        return self.shell.run(*self._command(arguments))

    def fail(self, *arguments: str) -> str:
        """Run `ctr ...`, which must fail; gives what it printed."""
        return self.shell.fail(*self._command(arguments))

    def forget_everything(self) -> None:
        """Remove all images and, with them, all content: the next pull fetches every byte."""
        names = self.run("images", "list", "--quiet").split()
        if names:
            self.run("images", "remove", "--sync", *names)
        self.run("content", "prune", "references")

    def content(self, digest: str) -> bytes:
        """What containerd holds under a digest; its store is a plain folder."""
        place = self.folder / "root" / "io.containerd.content.v1.content" / "blobs"
        return (place / digest.replace(":", "/")).read_bytes()

    def _command(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        return ("ctr", "--address", f"{self.folder}/sock", *arguments)


@contextmanager
def containerd_daemon(home: Path) -> Iterator[Containerd]:
    """Run a daemon for as long as the block lasts; `home` takes its log."""
    # A socket's path may be 107 bytes long, which pytest's folders exceed.
    folder = Path(tempfile.mkdtemp(prefix="containerd-"))
    running = Containerd(folder=folder, shell=Shell(home))
    log = home / "containerd.log"
    process = _start(folder, log)
    try:
        _wait(running, process, log)
        yield running
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    configuration = folder / "config.toml"
    configuration.write_text(f"version = 2\ndisabled_plugins = {json.dumps(DISABLED)}\n")
    command = [
        *("containerd", "--config", str(configuration), "--address", f"{folder}/sock"),
        *("--root", f"{folder}/root", "--state", f"{folder}/state"),
    ]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=plain_environment() | {"PATH": search_path()},
            start_new_session=True,
        )


def _wait(running: Containerd, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(AssertionError):
            running.run("version")
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    pytest.fail(f"containerd did not start\n{log.read_text(errors='replace')[-10_000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)
