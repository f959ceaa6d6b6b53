"""A real server with short patience, what it holds, and sockets to it that behave as badly as they like."""

import base64
import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.running import RunningServer

REPOSITORY = "team/app"
MIB = 1024 * 1024
PATIENCE_SECONDS = 60.0
"""How long a test waits for what must come. What comes is an event; that it comes late is no failure."""

_LOOK_SECONDS = 0.05
_LOOKS = 10


class Site:
    """A server with a repository, reached through raw sockets that are closed at the end."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self._stack = ExitStack()
        server.create_repository(REPOSITORY)
        self.authorization = "Basic " + base64.b64encode(f"AWS:{server.password()}".encode()).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def connect(self, *, hello: bool = True) -> "Line":
        """Open a connection; without `hello`, one to a TLS server never begins its handshake."""
        raw: socket.socket = socket.create_connection(
            ("127.0.0.1", self.server.port), timeout=PATIENCE_SECONDS
        )
        if self.server.tls and hello:
            trust = ssl.create_default_context(cafile=str(self.server.ca_file))
            raw = trust.wrap_socket(raw, server_hostname="localhost")
        return Line(self._stack.enter_context(raw))

    def head(self, method: str, path: str, *lines: str, host: bool = True) -> bytes:
        """Write the head of an authorized request, with more header lines."""
        fixed = [f"Authorization: {self.authorization}", *([f"Host: {self.server.host}"] if host else [])]
        return "\r\n".join([f"{method} {path} HTTP/1.1", *fixed, *lines, "", ""]).encode()

    def ask(self, method: str, path: str, *lines: str, body: bytes = b"") -> "Answer":
        """Make a request on a connection of its own."""
        line = self.connect()
        line.send(self.head(method, path, f"Content-Length: {len(body)}", *lines) + body)
        answer = line.answer(has_body=method != "HEAD")
        line.close()
        return answer

    def push_blob(self, content: bytes) -> str:
        """Push a blob and return its path."""
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        path = f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}"
        assert self.ask("POST", path, body=content).status == 201
        return f"/v2/{REPOSITORY}/blobs/{digest}"

    def open_upload(self) -> str:
        """Open a session and return its path."""
        answer = self.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
        assert answer.status == 202
        return answer.headers["location"]

    def assert_alive(self) -> None:
        """A well-behaved client is served."""
        assert self.ask("GET", "/v2/").status == 200

    # --- what the server holds ---

    @property
    def _process(self) -> Path:
        return Path("/proc") / str(self.server.process.pid)

    def descriptors(self) -> int:
        """How many files and connections it has open, beside those of the database, which opens more when it likes."""
        return sum(not _is_database(link) for link in (self._process / "fd").iterdir())

    def threads(self) -> int:
        """How many threads it runs."""
        return len(list((self._process / "task").iterdir()))

    def resident_bytes(self) -> int:
        """How much memory it has."""
        pages = int((self._process / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def blob_files(self) -> list[Path]:
        """Every file of the blob store."""
        return [path for path in (self.server.data / "blobs").glob("*/*") if path.is_file()]


class Line:
    """One connection."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._rest = bytearray()

    def send(self, data: bytes) -> None:
        """Send bytes; a server that has closed the connection already is no error."""
        try:
            self.raw.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self, *, has_body: bool = True) -> "Answer":
        """Read the next answer."""
        while b"\r\n\r\n" not in self._rest:
            more = self._receive()
            assert more, f"the connection ended in a head: {bytes(self._rest)!r}"
            self._rest += more
        head, _, rest = bytes(self._rest).partition(b"\r\n\r\n")
        self._rest = bytearray(rest)
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        size_bytes = int(headers.get("content-length", "0")) if has_body else 0
        while len(self._rest) < size_bytes:
            more = self._receive()
            assert more, f"the connection ended in a body, after {len(self._rest)} of {size_bytes} bytes"
            self._rest += more
        body = bytes(self._rest[:size_bytes])
        del self._rest[:size_bytes]
        return Answer(int(status.split()[1]), headers, body)

    def begin_to_read(self) -> None:
        """Read a few bytes of an answer, so that it is on its way."""
        assert self.raw.recv(16)

    def read_to_end(self) -> bytes:
        """Read until the server ends the connection."""
        parts = [bytes(self._rest)]
        while more := self._receive():
            parts.append(more)
        return b"".join(parts)

    def end(self) -> None:
        """Say that nothing more will be sent."""
        try:
            self.raw.shutdown(socket.SHUT_WR)
        except OSError:  # the server was quicker
            return

    def close(self) -> None:
        """Close at once, whatever was on its way."""
        self.raw.close()

    def _receive(self) -> bytes:
        try:
            return self.raw.recv(MIB)
        except (ConnectionResetError, ssl.SSLEOFError):  # what TLS makes of an end without a farewell
            return b""


class Answer:
    """Status, headers by lower-case name, body."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def _is_database(link: Path) -> bool:
    try:
        return ".sqlite" in link.readlink().name
    except FileNotFoundError:  # closed since
        return True


def wait_until(condition: Callable[[], bool], why: str) -> None:
    """Wait for what the kernel or the server does by itself and nobody is told of."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(_LOOK_SECONDS)


def settled(measure: Callable[[], int]) -> int:
    """Return a number once it stays the same for some looks."""
    seen: list[int] = []

    def stays() -> bool:
        seen.append(measure())
        return len(seen) >= _LOOKS and len(set(seen[-_LOOKS:])) == 1

    wait_until(stays, "it never settles")
    return seen[-1]
