"""Ends connections on which nothing moves: those that never spoke, stopped speaking, or stopped reading.

Granian bounds the time for a head and for a TLS handshake, but not for a connection that says nothing at all, for an
idle HTTP/2 connection, or for a client that stops reading a file. The kernel knows when bytes last moved.
"""

import os
import socket
import sys
from collections.abc import Collection
from pathlib import Path
from stat import S_ISSOCK

Address = tuple[str, int]
"""Host, without brackets, and port."""

_DESCRIPTORS = Path("/proc/self/fd")
_LAST_DATA_SENT = slice(44, 48)
_LAST_DATA_RECEIVED = slice(52, 56)
_TCP_INFO_BYTES = 60
"""Offsets in `struct tcp_info` (linux/tcp.h), whose fields never move. Both are milliseconds ago."""

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def address_of(text: str) -> Address:
    """Parse `127.0.0.1:80` or `[::1]:80`."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def end_idle_connections(port: int, *, idle_seconds: float, busy: Collection[Address]) -> int:
    """End each connection to our `port` on which no byte came or went for so long; return how many.

    Those of `busy` clients are left: the server itself is at work for them. Does nothing where there is no /proc.
    """
    try:
        names = os.listdir(_DESCRIPTORS)  # noqa: PTH208 -- names only, of what changes underfoot
    except FileNotFoundError:
        return 0
    return sum(_end_if_idle(int(name), port, idle_seconds, busy) for name in names)


def _end_if_idle(descriptor: int, port: int, idle_seconds: float, busy: Collection[Address]) -> bool:
    """Look at a descriptor that is not ours and may be closed, and used anew, at any time.

    It is therefore used in place. A copy of it would have to be closed, and to close a copy of a database file would
    drop every lock that the process has on it.
    """
    try:
        if not S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return False
    try:
        if connection.family not in _FAMILIES or connection.getsockname()[1] != port:
            return False
        host, client_port = connection.getpeername()[:2]
        if (host, client_port) in busy or _idle_milliseconds(connection) < idle_seconds * 1000:
            return False
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it listens, or has just been closed
        return False
    else:
        return True
    finally:
        connection.detach()


def _idle_milliseconds(connection: socket.socket) -> int:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    return min(
        int.from_bytes(info[_LAST_DATA_SENT], sys.byteorder),
        int.from_bytes(info[_LAST_DATA_RECEIVED], sys.byteorder),
    )
