"""A wire between a client and the server that writes down what the client asks, and can break.

It passes bytes both ways unread, so neither side can tell that it is there but by the port: a client reaches
the server under another port than the one that it listens on, as behind a port mapping. Only plain HTTP can be
written down.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.running import RunningServer

BLOCK_BYTES = 64 * 1024
HEAD = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (/\S*) HTTP/1\.1\r\n((?:[!-~]+: ?[^\r\n]*\r\n)*)\r\n")
MAX_KEPT_BYTES = 32 * 1024
"""What is kept of a connection to find the head of a request that came in pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The head of one request."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)

    def __str__(self) -> str:
        """Method and path, as tests compare them."""
        return f"{self.method} {self.path}"


@dataclass(slots=True, kw_only=True)
class Wire:
    """What went over the wire; clients connect to `host`."""

    port: int
    cuts: int = 0
    """How many connections were broken."""
    _cut_after_bytes: int | None = None
    _asked: list[Asked] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """The registry's name by way of this wire."""
        return f"localhost:{self.port}"

    def cut_after(self, sent_bytes: int) -> None:
        """Break the next connection over which the server sends more than this; that one only."""
        with self._lock:
            self._cut_after_bytes = sent_bytes

    def asked(self, method: str = "", path: str = "") -> list[Asked]:
        """Requests of this method whose path holds this text, in the order in which they came."""
        with self._lock:
            found = list(self._asked)
        return [each for each in found if each.method.startswith(method) and path in each.path]

    def forget(self) -> None:
        """Begin to write down anew."""
        with self._lock:
            self._asked.clear()

    def note(self, asked: Asked) -> None:
        """Write down a request."""
        with self._lock:
            self._asked.append(asked)

    def breaks_at(self, sent_bytes: int) -> bool:
        """Whether a connection over which so much was sent must break now."""
        with self._lock:
            if self._cut_after_bytes is None or sent_bytes <= self._cut_after_bytes:
                return False
            self._cut_after_bytes = None
            self.cuts += 1
            return True


@contextmanager
def wire_to(server: RunningServer) -> Iterator[Wire]:
    """A wire to a server for as long as the block lasts."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    wire = Wire(port=port)
    ends: list[socket.socket] = []
    threading.Thread(target=_accept, args=(wire, server.port, listener, ends), daemon=True).start()
    try:
        yield wire
    finally:
        for end in (listener, *ends):
            _close(end)


def _accept(wire: Wire, server_port: int, listener: socket.socket, ends: list[socket.socket]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        try:
            server = socket.create_connection(("127.0.0.1", server_port))
        except OSError:
            _close(client)
            continue
        ends += [client, server]
        threading.Thread(target=_pass_requests, args=(wire, client, server), daemon=True).start()
        threading.Thread(target=_pass_answers, args=(wire, server, client), daemon=True).start()


def _pass_requests(wire: Wire, client: socket.socket, server: socket.socket) -> None:
    kept = b""
    with contextlib.suppress(OSError):
        while block := client.recv(BLOCK_BYTES):
            kept = _note_heads(wire, kept + block)
            server.sendall(block)
    _end(server)


def _note_heads(wire: Wire, kept: bytes) -> bytes:
    """Note each whole head; gives what may be the start of another."""
    done = 0
    for head in HEAD.finditer(kept):
        done = head.end()
        lines = [line.partition(": ") for line in head[3].decode("latin-1").splitlines()]
        headers = {name.lower(): value for name, _, value in lines}
        wire.note(Asked(method=head[1].decode(), path=head[2].decode(), headers=headers))
    return kept[done:][-MAX_KEPT_BYTES:]


def _pass_answers(wire: Wire, server: socket.socket, client: socket.socket) -> None:
    sent_bytes = 0
    with contextlib.suppress(OSError):
        while block := server.recv(BLOCK_BYTES):
            client.sendall(block)
            sent_bytes += len(block)
            if wire.breaks_at(sent_bytes):
                _close(server)
                _close(client)
                return
    _end(client)


def _end(end: socket.socket) -> None:
    """Say that no more will come."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_WR)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
