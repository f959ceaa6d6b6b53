"""An HTTP/1.1 proxy between a client and a server that breaks what a test asks it to break.

Requests pass through as they are, so signatures hold. A thread for each connection, which ends with the proxy.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

_PIECE_BYTES = 65_536
_MAX_HEAD_BYTES = 65_536
_SLOW_SECONDS = 0.3
_DRIP_SECONDS = 0.05


class Fault(Enum):
    """What happens to a request."""

    DROP_BEFORE = auto()
    """The connection ends before the server hears of it."""

    RESET_HALFWAY = auto()
    """Half of the body reaches the server; then both connections are reset."""

    DROP_AFTER = auto()
    """The server does it, and the answer is lost."""

    ERROR_BEFORE = auto()
    """An internal error, without the server."""

    ERROR_AFTER = auto()
    """The server does it, and the client hears of an internal error."""

    SLOW_DOWN = auto()
    """What S3 says under load."""

    GARBAGE = auto()
    """An answer that is not of the protocol."""

    SLOW_FIRST_BYTE = auto()
    """All is well, only late."""

    HALF_AN_ANSWER = auto()
    """The answer's body ends halfway."""

    HANG_BEFORE = auto()
    """Nothing is ever said."""

    HANG_AFTER = auto()
    """The server does it, and nothing is ever said."""

    DRIP = auto()
    """The answer comes a byte at a time, and takes hours."""

    HANG_HALFWAY = auto()
    """The answer's body stops halfway, and the connection stays."""


@dataclass(frozen=True)
class Asked:
    """A request: what a test chooses by."""

    method: str
    target: str


Choice = Callable[[Asked], Fault | bytes | None]
"""Bytes are an answer in the place of the server's."""


def first_try_of_each(fault: Fault) -> Choice:
    """Have the first try of every different request fail."""
    seen: set[Asked] = set()
    lock = threading.Lock()

    def choose(asked: Asked) -> Fault | None:
        with lock:
            is_new = asked not in seen
            seen.add(asked)
        return fault if is_new else None

    return choose


@dataclass
class FaultyProxy:
    """A proxy that runs."""

    port: int
    upstream: int
    choose: Choice | None = None
    asked: list[Asked] = field(default_factory=list[Asked])
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        """Return its URL."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        """Serve one connection of a client."""
        with ExitStack() as stack, suppress(OSError, EOFError):
            stack.enter_context(client)
            server = stack.enter_context(socket.create_connection(("127.0.0.1", self.upstream)))
            stack.callback(self._forget, client)
            while not self.stopped.is_set():
                self._serve_one(client, server)

    def _serve_one(self, client: socket.socket, server: socket.socket) -> None:
        head, rest = _read_head(client)
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        asked = Asked(method, target)
        self.asked.append(asked)
        fault = None if self.choose is None else self.choose(asked)
        if fault is Fault.DROP_BEFORE:
            raise EOFError
        if b"\r\nexpect: 100-continue" in head.lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(
                line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")
            )
        length = _length(head)
        body = rest + _read(client, length - len(rest))
        if fault is Fault.HANG_BEFORE:
            self.stopped.wait()
        if fault is Fault.SLOW_FIRST_BYTE:
            self.stopped.wait(_SLOW_SECONDS)
        if fault is Fault.RESET_HALFWAY:
            server.sendall(head + b"\r\n\r\n" + body[: length // 2])
            _reset(server)
            _reset(client)
            raise EOFError
        canned = fault if isinstance(fault, bytes) else _CANNED.get(fault) if fault is not None else None
        if canned is not None:
            client.sendall(canned)
            return
        server.sendall(head + b"\r\n\r\n")
        server.sendall(body)
        self._answer(client, server, method, fault)

    def _answer(
        self, client: socket.socket, server: socket.socket, method: str, fault: Fault | bytes | None
    ) -> None:
        head, rest = _read_head(server)
        body = b"" if method == "HEAD" else _read_body(server, head, rest)
        if fault is Fault.DROP_AFTER:
            raise EOFError
        if fault is Fault.HANG_AFTER:
            self.stopped.wait()
        if fault is Fault.ERROR_AFTER:
            client.sendall(_INTERNAL_ERROR)
            return
        if fault is Fault.DRIP:
            for byte in head + b"\r\n\r\n" + body:
                client.sendall(bytes([byte]))
                if self.stopped.wait(_DRIP_SECONDS):
                    raise EOFError
            return
        client.sendall(head + b"\r\n\r\n")
        if fault in {Fault.HALF_AN_ANSWER, Fault.HANG_HALFWAY}:
            client.sendall(body[: len(body) // 2])
            if fault is Fault.HANG_HALFWAY:
                self.stopped.wait()
            raise EOFError
        client.sendall(body)

    def _forget(self, client: socket.socket) -> None:
        """End a connection, bytes that nobody read included."""
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def error_answer(status: str, code: str) -> bytes:
    """Return an answer that is an error of S3."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>on purpose</Message></Error>"
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


_INTERNAL_ERROR = error_answer("500 Internal Server Error", "InternalError")
_CANNED = {
    Fault.ERROR_BEFORE: _INTERNAL_ERROR,
    Fault.SLOW_DOWN: error_answer("503 Slow Down", "SlowDown"),
    Fault.GARBAGE: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 21\r\n\r\n<html><p>bad gateway\r\n",
}


@contextmanager
def faulty_proxy(upstream: int) -> Iterator[FaultyProxy]:
    """Run a proxy before a port of this machine."""
    threads: list[threading.Thread] = []
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = FaultyProxy(listening.getsockname()[1], upstream)

        def accept() -> None:
            with suppress(OSError):  # it is closed
                while True:
                    client, _ = listening.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    clients.append(client)
                    threads.append(threading.Thread(target=proxy.serve, args=(client,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield proxy
        finally:
            proxy.stopped.set()
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for client in clients:
                proxy._forget(client)
            for thread in threads:
                thread.join()


def _read_head(source: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = source.recv(_PIECE_BYTES)
        if not piece or len(data) > _MAX_HEAD_BYTES:
            raise EOFError
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def _read(source: socket.socket, size_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < size_bytes:
        piece = source.recv(min(_PIECE_BYTES, size_bytes - len(data)))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


def _read_body(source: socket.socket, head: bytes, rest: bytes) -> bytes:
    """Read an answer's body as it comes, chunk marks included."""
    if b"transfer-encoding: chunked" not in head.lower():
        return rest + _read(source, _length(head) - len(rest))
    while not rest.endswith(b"0\r\n\r\n"):
        piece = source.recv(_PIECE_BYTES)
        if not piece:
            raise EOFError
        rest += piece
    return rest


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
