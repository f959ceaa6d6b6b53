"""The HTTP server around the driver, with the bounds that it keeps itself."""

from pathlib import Path

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server as GranianServer

from openecr.web.rsgi import HEADERS_MAX_BYTES, RsgiApplication

_HTTP2_WINDOW_BYTES = 16 * 1024 * 1024
"""Granian's default windows halve the rate of uploads over HTTP/2."""

_HTTP2_STREAMS = 100


def make_server(
    application: RsgiApplication,
    *,
    host: str,
    port: int,
    connections: int,
    idle_seconds: int,
    certificate: Path | None,
    key: Path | None,
) -> GranianServer:
    """Return a server that listens when it is served. Without a certificate it speaks plain HTTP."""
    return GranianServer(
        application,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,
        websockets=False,
        backlog=1024,
        log_enabled=False,
        backpressure=connections,
        http1_settings=HTTP1Settings(header_read_timeout=idle_seconds * 1000),
        http2_settings=HTTP2Settings(
            max_headers_size=HEADERS_MAX_BYTES,
            max_concurrent_streams=_HTTP2_STREAMS,
            initial_connection_window_size=_HTTP2_WINDOW_BYTES,
            initial_stream_window_size=_HTTP2_WINDOW_BYTES,
        ),
        ssl_cert=certificate,
        ssl_key=key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
