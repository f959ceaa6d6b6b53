"""containerd's own daemon, run for the tests beside whatever daemon the machine has.

It keeps its content, sockets and snapshots in a folder of its own and runs no container, so it may run in a
container or a bare virtual machine, though only as root.
"""

import contextlib
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
from tests.requirements import find_tool, search_path
from tests.running import plain_environment

START_SECONDS = 60.0
STOP_SECONDS = 20.0
CONFIGURATION = """
version = 2
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.snapshotter.v1.overlayfs",
]
"""
"""Without Kubernetes' side, which wants a network, and without overlays, which do not stack in a container."""
PARALLEL = """
[plugins."io.containerd.transfer.v1.local"]
  concurrent_layer_fetch_buffer = 1048576
  max_concurrent_downloads = 4
  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "linux/amd64"
    snapshotter = "native"
    differ = "walking"
"""
"""containerd 2 takes a layer apart into ranges of this size when it is told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Containerd:
    """The ctr command, connected to the tests' daemon."""

    folder: Path
    shell: Shell
    suffix: str
    """What stands after the names of the programs: nothing, or `-2` for those that `.ci/tools` builds."""

    @property
    def is_parallel(self) -> bool:
        """Whether it fetches a layer in several ranges at a time."""
        return bool(self.suffix)

    def pull(self, name: str, user: str, *options: str) -> str:
        """Pull an image over plain HTTP as `user:password`.

        The newer one has two ways: by its daemon as above, and as the older one does, which knows more options.
        """
        place: tuple[str, ...] = ("--snapshotter", "native")
        if self.is_parallel:
            place = ("--local", *place) if options else ()
        return self.run("images", "pull", "--plain-http", *place, "--user", user, *options, name)

    def push(self, name: str, local: str, user: str, *options: str) -> str:
        """Push an image that is here under the name `local`."""
        return self.run("images", "push", "--plain-http", "--user", user, *options, name, local)

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
        return (f"ctr{self.suffix}", "--address", f"{self.folder}/sock", *arguments)


@contextmanager
def containerd_daemon(home: Path, suffix: str) -> Iterator[Containerd]:
    """Run a daemon for as long as the block lasts; `home` takes its log."""
    # A socket's path may be 107 bytes long, which pytest's folders exceed.
    folder = Path(tempfile.mkdtemp(prefix="containerd-"))
    running = Containerd(folder=folder, shell=Shell(home), suffix=suffix)
    log = home / "containerd.log"
    process = _start(running, log)
    try:
        _wait(running, process, log)
        yield running
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _start(running: Containerd, log: Path) -> subprocess.Popen[bytes]:
    folder = running.folder
    configuration = folder / "config.toml"
    configuration.write_text(CONFIGURATION + (PARALLEL if running.is_parallel else ""))
    program = find_tool(f"containerd{running.suffix}")
    assert program is not None, "asked for before"
    command = [
        *(program, "--config", str(configuration), "--address", f"{folder}/sock"),
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
