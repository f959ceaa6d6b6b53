"""Docker's own daemon, run for the tests beside whatever daemon the machine has.

It keeps its images, sockets and process ids in a folder of its own, makes no bridge and touches no firewall
rule, so it may run in a container or a bare virtual machine, though only as root. Its containers have no
network.
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

START_SECONDS = 60.0
STOP_SECONDS = 20.0
STORAGE_DRIVERS = ("overlay2", "vfs")
"""The second one works everywhere, but copies each layer whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """The docker command, connected to the tests' daemon."""

    socket: str
    shell: Shell

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run `docker ...`, which must succeed."""
        return self.shell.run(*self._command(arguments), stdin=stdin)

    def fail(self, *arguments: str, stdin: str = "") -> str:
        """Run `docker ...`, which must fail; gives what it printed."""
        return self.shell.fail(*self._command(arguments), stdin=stdin)

    def image_id(self, name: str) -> str:
        """The id of a local image: the digest of its config."""
        return self.run("image", "inspect", "--format", "{{.Id}}", name).strip()

    def pushed_digest(self, name: str) -> str:
        """The manifest digest under which an image was pushed to or pulled from the repository of `name`."""
        repository = name.rpartition(":")[0]
        digests = self.run("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name).split()
        return next(digest.partition("@")[2] for digest in digests if digest.startswith(f"{repository}@"))

    def remove(self, *names: str) -> None:
        """Forget local images, so that a pull has something to do."""
        self.run("image", "rm", "--force", *names)

    def _command(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        return ("docker", "--host", self.socket, *arguments)


@contextmanager
def docker_daemon(home: Path, shell: Shell | None = None) -> Iterator[Docker]:
    """Run a daemon for as long as the block lasts; `home` takes the client's logins and the daemon's log.

    `shell` has what the client and the daemon shall run with, if that is not the plain environment.
    """
    # A socket's path may be 107 bytes long, which pytest's folders exceed.
    folder = Path(tempfile.mkdtemp(prefix="dockerd-"))
    docker = Docker(socket=f"unix://{folder}/sock", shell=shell or Shell(home))
    log = home / "dockerd.log"
    process = _start_any(folder, docker, log)
    try:
        yield docker
    finally:
        _stop(process)
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _start_any(folder: Path, docker: Docker, log: Path) -> subprocess.Popen[bytes]:
    for driver in STORAGE_DRIVERS:
        process = _start(folder, driver, log, docker.shell)
        if _answers(docker, process):
            return process
        _stop(process)
    pytest.fail(f"dockerd did not start\n{log.read_text(errors='replace')[-10_000:]}")


def _start(folder: Path, storage_driver: str, log: Path, shell: Shell) -> subprocess.Popen[bytes]:
    configuration = folder / "daemon.json"
    configuration.write_text("{}")
    command = [
        *(*shell.wrapper, "dockerd", "--config-file", str(configuration), "--host", f"unix://{folder}/sock"),
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
        *("--pidfile", str(folder / "pid"), "--storage-driver", storage_driver),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"),
    ]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=shell.environment,
            start_new_session=True,
        )


def _answers(docker: Docker, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    socket = Path(docker.socket.removeprefix("unix://"))
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            return False
        if socket.exists():
            with contextlib.suppress(AssertionError):
                docker.run("version")
                return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((mount for mount in mounts if mount.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["/usr/bin/umount", "--lazy", mount], timeout=20, check=False)
