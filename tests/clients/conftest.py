"""What the client tests share: a server to a module, and a shell in which the account's keys are set."""

import pytest

from tests.clients.commands import Shell
from tests.running import RunningServer, pytest_runtest_makereport, server, tls_server

__all__ = ["pytest_runtest_makereport", "server", "shell", "tls_server", "tls_shell"]


@pytest.fixture(scope="module")
def shell(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell after `eval "$(openecr env)"`, with a home of its own."""
    return Shell(tmp_path_factory.mktemp("home"), server.environment())


@pytest.fixture(scope="module")
def tls_shell(tls_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The same for the server over HTTPS."""
    return Shell(tmp_path_factory.mktemp("tls-home"), tls_server.environment())
