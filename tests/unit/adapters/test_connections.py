"""Connections on which nothing moves are ended; all others, and every other file, are left alone."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from openecr.adapters.connections import address_of, end_idle_connections


class Site:
    """A port with connections to it."""

    def __init__(self, stack: ExitStack, host: str = "127.0.0.1") -> None:
        self._stack = stack
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = stack.enter_context(socket.create_server((host, 0), family=family))
        self.port: int = self._listening.getsockname()[1]
        self._host = host

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return both ends of a new connection: the client's and the server's."""
        client = self._stack.enter_context(socket.create_connection((self._host, self.port), timeout=30))
        accepted, _ = self._listening.accept()
        return client, self._stack.enter_context(accepted)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_idle_connection_is_ended_on_the_servers_side(stack: ExitStack, host: str) -> None:
    site = Site(stack, host)
    client, accepted = site.connect()

    assert end_idle_connections(site.port, idle_seconds=0, busy=()) == 1

    assert client.recv(1) == b""
    assert accepted.fileno() >= 0


def test_a_connection_in_use_is_left(stack: ExitStack) -> None:
    site = Site(stack)
    client, accepted = site.connect()

    assert end_idle_connections(site.port, idle_seconds=30, busy=()) == 0

    client.sendall(b"x")
    assert accepted.recv(1) == b"x"


def test_a_client_that_is_served_is_left(stack: ExitStack) -> None:
    site = Site(stack)
    served, accepted = site.connect()
    idle, _ = site.connect()

    assert end_idle_connections(site.port, idle_seconds=0, busy=[served.getsockname()[:2]]) == 1

    assert idle.recv(1) == b""
    accepted.sendall(b"x")
    assert served.recv(1) == b"x"


def test_connections_to_other_ports_are_left(stack: ExitStack) -> None:
    site, other = Site(stack), Site(stack)
    client, accepted = other.connect()

    assert end_idle_connections(site.port, idle_seconds=0, busy=()) == 0

    accepted.sendall(b"x")
    assert client.recv(1) == b"x"


def test_addresses_are_read_as_the_http_server_writes_them() -> None:
    assert address_of("127.0.0.1:80") == ("127.0.0.1", 80)
    assert address_of("[::1]:5050") == ("::1", 5050)
