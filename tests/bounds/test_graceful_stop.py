"""A stop: what is under way may end, what hangs is cut, and the server is gone in its time with status 0."""

import os
import signal
from pathlib import Path

import pytest

from tests.bounds.http2 import Http2
from tests.bounds.site import MIB, PATIENCE_SECONDS, Site
from tests.running import running_server

BLOB_BYTES = 64 * MIB
RANGES = "Range: bytes=0-9999999,20000000-39999999"


def terminate(site: Site) -> int:
    """Send SIGTERM and return the exit status."""
    os.kill(site.server.process.pid, signal.SIGTERM)
    return site.server.process.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize("tls", [False, True])
def test_clients_that_hang_do_not_hold_up_a_stop(tmp_path: Path, *, tls: bool) -> None:
    settings = {"OPENECR_SHUTDOWN_SECONDS": "3"}
    with running_server(tmp_path, tls=tls, settings=settings) as server, Site(server) as site:
        blob = site.push_blob(os.urandom(BLOB_BYTES))
        for headers in ((), (RANGES,)):
            reader = site.connect()
            reader.send(site.head("GET", blob, *headers))
            reader.begin_to_read()
        upload = site.open_upload()
        for framing in ("Content-Length: 9999999", "Transfer-Encoding: chunked"):
            site.connect().send(site.head("PATCH", upload, framing) + b"1000\r\nabc")
        idle = site.connect()
        idle.send(site.head("GET", "/v2/"))
        assert idle.answer().status == 200
        site.connect()
        site.connect(hello=False)
        if not tls:
            Http2(site.connect())

        status = terminate(site)

        assert status == 0
        assert "Traceback" not in site.server.log_tail()


def test_a_download_and_an_upload_under_way_end_well(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, Site(server) as site:
        content = os.urandom(BLOB_BYTES)
        blob = site.push_blob(content)
        reader, writer = site.connect(), site.connect()
        reader.send(site.head("GET", blob, "Connection: close"))
        reader.begin_to_read()
        writer.send(site.head("PATCH", site.open_upload(), "Content-Length: 6", "Expect: 100-continue"))
        assert writer.raw.recv(64).startswith(b"HTTP/1.1 100"), "the server waits for the body"

        os.kill(server.process.pid, signal.SIGTERM)
        writer.send(b"abcdef")

        assert writer.answer().status == 202
        assert reader.read_to_end().endswith(content[-MIB:])
        assert server.process.wait(PATIENCE_SECONDS) == 0
