"""What the client tests share: a server to a module, a shell with the account's keys in it, a docker."""

from collections.abc import Iterator

import pytest

from tests.clients.commands import Shell
from tests.clients.dockerd import Docker, docker_daemon
from tests.requirements import require_root, require_tool
from tests.running import RunningServer, pytest_runtest_makereport, server, tls_server

__all__ = ["docker", "pytest_runtest_makereport", "server", "shell", "tls_server", "tls_shell"]


@pytest.fixture(scope="module")
def shell(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell after `eval "$(openecr env)"`, with a home of its own."""
    return Shell(tmp_path_factory.mktemp("home"), server.environment())


@pytest.fixture(scope="module")
def tls_shell(tls_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The same for the server over HTTPS."""
    return Shell(tmp_path_factory.mktemp("tls-home"), tls_server.environment())


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Docker with a daemon of its own."""
    require_root()
    require_tool("dockerd", package="docker.io")
    with docker_daemon(tmp_path_factory.mktemp("docker")) as running:
        yield running
