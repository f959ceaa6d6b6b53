"""The two servers under load, each started fresh with data in a temporary folder."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

from tests.requirements import find_tool

START_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running registry: where it is, how to authenticate, and its process."""

    name: str
    host: str
    port: int
    authorization: str
    process_id: int
    is_tls: bool = False

    @property
    def base(self) -> str:
        """Return the URL without a path."""
        return f"{'https' if self.is_tls else 'http'}://{self.host}:{self.port}"


def clean_up_when_told_to_end() -> None:
    """Let SIGTERM end the program as Ctrl-C does, so that no server is left running."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            message = f"the server ended with {process.returncode}"
            raise RuntimeError(message)
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return
        except OSError:
            time.sleep(0.05)
    message = "the server did not answer in time"
    raise RuntimeError(message)


@contextmanager
def _process(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def openecr(
    folder: Path,
    *,
    is_tls: bool = False,
    name: str = "openecr",
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[Target, "boto3.client"]]:
    """Run OpenECR: it authenticates and authorizes every request, fsync on.

    `options` are flags, `environment` more variables of its own.
    """
    port = free_port()
    data = folder / name
    command = [sys.executable, "-m", "openecr", "serve", "--data", str(data), "--port", str(port), *options]
    command += ["--tls", "auto"] if is_tls else []
    with _process(command, folder / f"{name}.log", {**os.environ, **(environment or {})}) as process:
        _wait(port, process)
        ecr = _client(data)
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        yield (
            Target(
                name=name,
                host="127.0.0.1",
                port=port,
                authorization=f"Basic {token}",
                process_id=process.pid,
                is_tls=is_tls,
            ),
            ecr,
        )


def _client(data: Path) -> "boto3.client":
    exports = subprocess.run(
        [sys.executable, "-m", "openecr", "env", "--data", str(data)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    values = dict(
        word.split("=", 1)
        for line in exports.splitlines()
        if line.startswith("export ")
        for word in shlex.split(line)[1:]
    )
    return boto3.client(
        "ecr",
        region_name=values["AWS_REGION"],
        endpoint_url=values["AWS_ENDPOINT_URL"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        verify=values.get("AWS_CA_BUNDLE"),
        config=Config(retries={"max_attempts": 1}),
    )


_PEER_CONFIGURATION = """\
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {root}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
"""
_PEER_TLS = """\
  tls:
    certificate: {certificate}
    key: {key}
"""


@contextmanager
def peer(folder: Path, *, certificates: Path | None = None) -> Iterator[Target]:
    """Run Distribution as shipped and open to everyone, which is its fastest; TLS with OpenECR's certificate."""
    binary = _find_peer()
    port = free_port()
    configuration = folder / "peer.yml"
    text = _PEER_CONFIGURATION.format(root=folder / "peer", port=port)
    if certificates is not None:
        text += _PEER_TLS.format(certificate=certificates / "server.pem", key=certificates / "server.key")
    configuration.write_text(text)
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with _process([binary, "serve", str(configuration)], folder / "peer.log", environment) as process:
        _wait(port, process)
        yield Target(
            name="peer",
            host="127.0.0.1",
            port=port,
            authorization="",
            process_id=process.pid,
            is_tls=certificates is not None,
        )


def _find_peer() -> str:
    for name in ("registry", "docker-registry"):
        found = find_tool(name)
        if found is not None:
            return found
    raise RuntimeError("no peer: `make tools`, or apt-get install docker-registry")


def resident_mebibytes(process_id: int) -> tuple[int, int]:
    """Return the resident memory of a process, now and at its highest."""
    found = dict(line.split(":", 1) for line in Path(f"/proc/{process_id}/status").read_text().splitlines())
    now, highest = (int(found[name].split()[0]) >> 10 for name in ("VmRSS", "VmHWM"))
    return now, highest
