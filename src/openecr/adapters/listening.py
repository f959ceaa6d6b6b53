"""Is the port free? Asked before serving, since the server's SO_REUSEPORT would hide a clash. Does it answer?"""

import asyncio
import ipaddress
import socket

from openecr.domain.errors import CannotStart


def check_port(host: str, port: int) -> None:
    """Raise CannotStart where `host` cannot be listened on at `port`."""
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004 -- IPv6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # SO_REUSEADDR lets a restart pass over connections that linger; it does not let two listeners share a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise CannotStart(
                message=f"port {port} needs more rights: use --port with 1024 or above"
            ) from error
        except OSError as error:
            raise CannotStart(
                message=f"cannot listen on {host} port {port}: {error.strerror}; "
                "stop what listens there, or give another --port"
            ) from error


async def wait_until_listening(host: str, port: int, serving: "asyncio.Task[None]") -> None:
    """Return once a connection can be opened. Raises what ended `serving`, where that comes first."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return
    await serving
