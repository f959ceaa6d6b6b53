"""HAProxy before several servers, as an operator sets it up: each request goes to the next server that answers."""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.requirements import require_tool
from tests.running import RunningServer, plain_environment

_TRIES = 100
_TRY_SECONDS = 0.1
_STOP_SECONDS = 20.0

# A request that reached no server is sent to another; one that a server has begun to answer is the client's to repeat.
_CONFIGURATION = """
defaults
    mode http
    log stdout format raw local0
    log-format "%HM %HU %ST %s"
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    retries 3
    retry-on conn-failure
    option redispatch 1
frontend registry
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 200ms fall 2 rise 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy that runs; its log has a line for each request: method, path, status, server."""

    port: int
    log: Path

    @property
    def host(self) -> str:
        """What stands before the first slash of an image's name."""
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        """The endpoint of both faces."""
        return f"http://{self.host}"

    def requests(self) -> list[list[str]]:
        """What was asked until now, by the words of each line."""
        return [line.split() for line in self.log.read_text().splitlines() if "/v2/" in line]


@contextmanager
def running_proxy(folder: Path, port: int, servers: Sequence[RunningServer]) -> Generator[Proxy]:
    """A proxy on `port` before `servers`, named s0, s1 and so on, for as long as the block lasts."""
    program = require_tool("haproxy")
    lines = [f"    server s{number} 127.0.0.1:{server.port}\n" for number, server in enumerate(servers)]
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_CONFIGURATION.format(port=port) + "".join(lines))
    proxy = Proxy(port=port, log=folder / "haproxy.log")
    with proxy.log.open("wb") as log:
        process = subprocess.Popen(
            [program, "-db", "-f", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=plain_environment(),
        )
    try:
        _wait_until_ready(proxy, process)
        yield proxy
    finally:
        process.kill()
        process.wait(_STOP_SECONDS)


def _wait_until_ready(proxy: Proxy, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(_TRIES):
        try:
            with urllib.request.urlopen(f"{proxy.url}/readyz", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            try:
                process.wait(_TRY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
    pytest.fail(f"the proxy does not answer\n{proxy.log.read_text()}")
