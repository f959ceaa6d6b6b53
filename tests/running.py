"""A real OpenECR server for tests: started as a program, reached by its port, stopped as an operator would.

Nothing here imports the server's code, so what passes against it passes against what a user runs. Fixtures
`server` and `tls_server` last for a module; a test file that wants them imports them by name, or has them
from its conftest.
"""

import base64
import http.client
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
from botocore.config import Config

ACCOUNT = "000000000000"
REGION = "us-east-1"
START_SECONDS = 60.0
STOP_SECONDS = 35.0
"""The server promises to be gone 30 seconds after a SIGTERM."""
LOG_TAIL_BYTES = 20_000
PATIENCE_SECONDS = 60.0

_live: list["RunningServer"] = []


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningServer:
    """`openecr serve` over one data folder, in a process group of its own.

    It may be stopped, killed and started again: the data folder and the port stay the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: bool = False,
        options: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        port: int | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        """Remember what to run.

        `folder` takes the data and the log, `options` go to `serve` as they are, `settings` are `OPENECR_*`
        variables for it. Without a `port` any free one is taken. `wrapper` is a command that becomes the server,
        after arranging that it is traced for example.
        """
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = port or free_port()
        self.tls = tls
        self._options = list(options)
        self._wrapper = list(wrapper)
        self.settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] | None = None

    @property
    def host(self) -> str:
        """Host and port as a registry name: what stands before the first slash of an image reference."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        """The endpoint of both faces."""
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def ca_file(self) -> Path:
        """The certificate of the local authority that `--tls auto` makes."""
        return self.data / "tls" / "ca.pem"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started."""
        assert self._process is not None, "the server was never started"
        return self._process

    def start(self) -> Self:
        """Run the server and come back when it says that it is ready."""
        command = [*self._wrapper, sys.executable, "-m", "openecr", "serve"]
        command += ["--data", str(self.data), "--host", "127.0.0.1"]
        command += ["--port", str(self.port), *(["--tls", "auto"] if self.tls else []), *self._options]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n== {shlex.join(command)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=plain_environment() | self.settings,
                start_new_session=True,
            )
        _live.append(self)
        self._wait_until_ready()
        return self

    def stop(self) -> int:
        """End it as an operator does and give its exit status; staying longer than promised is a failure."""
        try:
            os.kill(self.process.pid, signal.SIGTERM)
            return self.process.wait(STOP_SECONDS)
        except ProcessLookupError:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the server did not stop within {STOP_SECONDS} s of SIGTERM\n{self.log_tail()}")
        finally:
            self.kill()

    def kill(self) -> None:
        """End the whole process group at once, with no chance to clean up."""
        _kill_group(self.process.pid)
        self.process.wait(STOP_SECONDS)
        if self in _live:
            _live.remove(self)

    def restart(self) -> Self:
        """Start again on the same data and the same port, after `stop` or `kill`."""
        assert self.process.poll() is not None, "the server still runs"
        return self.start()

    def log_tail(self) -> str:
        """The end of what the server wrote."""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def environment(self) -> dict[str, str]:
        """This process's environment with what `openecr env` exports, as `eval` would leave it."""
        if self._environment is None:
            self._environment = self._ask_environment()
        return dict(self._environment)

    def _ask_environment(self) -> dict[str, str]:
        command = [sys.executable, "-m", "openecr", "env", "--data", str(self.data)]
        answer = subprocess.run(
            command, env=plain_environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert answer.returncode == 0, f"{shlex.join(command)}: {answer.stdout}{answer.stderr}"
        return plain_environment() | exported(answer.stdout)

    def client(self, service: str = "ecr", **changes: Any) -> Any:
        """A boto3 client as after `eval "$(openecr env)"`; `changes` override its arguments."""
        environment = self.environment()
        arguments: dict[str, Any] = {
            "region_name": environment["AWS_REGION"],
            "endpoint_url": environment["AWS_ENDPOINT_URL"],
            "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
            "verify": environment.get("AWS_CA_BUNDLE", True),
            "config": Config(retries={"total_max_attempts": 1}),
        }
        return boto3.client(service, **(arguments | changes))

    def password(self) -> str:
        """What `aws ecr get-login-password` prints: the password of the user `AWS`."""
        answer = self.client().get_authorization_token()
        token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
        user, _, password = token.partition(":")
        assert user == "AWS"
        return password

    def create_repository(self, name: str, **settings: Any) -> str:
        """Make a repository and give its URI, the name that clients push to."""
        answer = self.client().create_repository(repositoryName=name, **settings)
        return str(answer["repository"]["repositoryUri"])

    def connection(self, timeout_seconds: float = 60.0) -> http.client.HTTPConnection:
        """A plain HTTP connection, for tests that speak the protocol themselves."""
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout_seconds, context=trust)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._is_ready():
                return
            try:
                status = self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            self.kill()
            pytest.fail(f"the server ended with status {status} before it was ready\n{self.log_tail()}")
        self.kill()
        pytest.fail(f"the server was not ready within {START_SECONDS} s\n{self.log_tail()}")

    def _is_ready(self) -> bool:
        if self.tls and not self.ca_file.exists():
            return False
        try:
            connection = self.connection(timeout_seconds=5)
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == http.HTTPStatus.OK
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return False


def plain_environment() -> dict[str, str]:
    """This process's environment without anything that would point an AWS client or OpenECR elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "OPENECR_", "DOCKER_"))
    }


def exported(shell: str) -> dict[str, str]:
    """The variables that lines such as `export NAME='value'` set; `unset` lines set nothing."""
    found: dict[str, str] = {}
    for line in shell.splitlines():
        words = shlex.split(line)
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            found[name] = value
    return found


@contextmanager
def running_server(
    folder: Path,
    *,
    tls: bool = False,
    options: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    port: int | None = None,
    wrapper: Sequence[str] = (),
) -> Iterator[RunningServer]:
    """A server for as long as the block lasts; afterwards it must stop as promised."""
    running = RunningServer(folder, tls=tls, options=options, settings=settings, port=port, wrapper=wrapper)
    running.start()
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
        else:
            running.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server over plain HTTP, for the tests of one module."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server over HTTPS with a certificate of its own making, for the tests of one module."""
    with running_server(tmp_path_factory.mktemp("tls-server"), tls=True) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the logs of the servers that run beside the report of a test that failed."""
    report = yield
    if report.failed:
        for running in _live:
            report.sections.append((f"server on port {running.port}", running.log_tail()))
    return report


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def eventually(what: Callable[[], bool]) -> None:
    """Wait for what a server or a client does behind the test's back; only a failure takes long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
