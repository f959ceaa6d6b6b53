"""What a call in a thread is connected with, so that whoever waits no longer can end it.

A time-out of a socket is about the pause between two bytes: a server that sends one now and then would hold a thread
for ever. Connections of botocore's are told to each thread's leash before they are used.
"""

import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

_THREAD = threading.local()


class Leash:
    """Holds the connection that a call uses at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._is_cut = False

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold what this thread uses meanwhile."""
        _THREAD.leash = self
        try:
            yield
        finally:
            _THREAD.leash = None
            with self._lock:
                self._connection = None

    def tie(self, connection: Any) -> None:  # noqa: ANN401 -- urllib3's, of either scheme
        """Hold a connection that is about to be used. Raises ConnectionAbortedError where nobody waits any more."""
        with self._lock:
            self._connection = connection
            if self._is_cut:
                _end(connection)
                raise ConnectionAbortedError("nobody waits for this call any more")

    def cut(self) -> None:
        """End the connection, in any thread: who reads from it fails. A call that ends just now may lend it on."""
        with self._lock:
            self._is_cut = True
            _end(self._connection)

    @property
    def connection(self) -> Any:  # noqa: ANN401 -- urllib3's, of either scheme
        """Return the connection that was used last."""
        return self._connection


def current() -> Leash | None:
    """Return the leash of this thread's call."""
    leash: Leash | None = getattr(_THREAD, "leash", None)
    return leash


def put_on_leash(client: Any) -> None:  # noqa: ANN401 -- botocore's clients have no types
    """Have a client of botocore's tell which connections it uses. Before its first call."""
    classes = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001 -- there is no other way in
    classes.update(http=_HttpPool, https=_HttpsPool)


def _end(connection: Any) -> None:  # noqa: ANN401 -- urllib3's, of either scheme
    found = getattr(connection, "sock", None)
    if isinstance(found, socket.socket):
        with suppress(OSError):  # it has ended
            socket.socket.shutdown(found, socket.SHUT_RDWR)  # under TLS too: its own would wait for a lock


def _tie(connection: Any) -> None:  # noqa: ANN401 -- urllib3's, of either scheme
    leash = current()
    if leash is not None:
        leash.tie(connection)


class _HttpConnection(AWSHTTPConnection):
    def request(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 -- as it is
        _tie(self)
        return super().request(*arguments, **named)

    def connect(self) -> None:
        super().connect()
        _tie(self)  # it has a socket only now


class _HttpsConnection(AWSHTTPSConnection):
    def request(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 -- as it is
        _tie(self)
        return super().request(*arguments, **named)

    def connect(self) -> None:
        super().connect()
        _tie(self)


class _HttpPool(AWSHTTPConnectionPool):
    ConnectionCls: type[AWSHTTPConnection] = _HttpConnection


class _HttpsPool(AWSHTTPSConnectionPool):
    ConnectionCls: type[AWSHTTPSConnection] = _HttpsConnection
