"""Clients that stop in the middle: each is ended in its time, costs little until then, and frees what it held."""

import os
import time

import pytest

from tests.bounds.http2 import Http2
from tests.bounds.site import MIB, REPOSITORY, Line, Site, settled, wait_until

BLOB_BYTES = 64 * MIB
HELD_MAX_BYTES = 24 * MIB
"""What three stalled readers may cost together, wherever the allocator puts it: far less than one blob."""

SHORT_LENGTH = "Content-Length: 1000"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def blob(site: Site) -> str:
    return site.push_blob(os.urandom(BLOB_BYTES))


@pytest.mark.parametrize(("framing", "sent"), [(SHORT_LENGTH, b"abc"), (CHUNKED, b"3\r\nabc\r\n")])
def test_an_upload_that_stalls_is_told_so_and_can_be_resumed(site: Site, framing: str, sent: bytes) -> None:
    upload = site.open_upload()
    before = settled(site.descriptors)
    line = site.connect()

    line.send(site.head("PATCH", upload, framing) + sent)

    answer = line.answer()
    assert answer.status == 408
    assert b"BLOB_UPLOAD_INVALID" in answer.body
    assert line.read_to_end() == b"", "the connection ends, for the rest of the body may still come"
    assert site.ask("GET", upload).headers["range"] == "0-2"
    assert site.ask("PATCH", upload, "Content-Range: 3-5", body=b"def").status == 202
    wait_until(lambda: site.descriptors() <= before, "the file of the part stays open")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"/v2/{REPOSITORY}/manifests/latest"),
        ("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest=sha256:{'0' * 64}"),
        ("POST", "/"),
        ("DELETE", f"/v2/{REPOSITORY}/manifests/latest"),
        ("GET", "/v2/"),
    ],
)
def test_no_door_waits_for_a_body_for_ever(site: Site, method: str, path: str) -> None:
    line = site.connect()

    line.send(site.head(method, path, SHORT_LENGTH) + b"abc")

    line.answer()
    line.read_to_end()
    site.assert_alive()


def test_an_upload_that_is_slow_but_moves_is_taken(site: Site) -> None:
    upload = site.open_upload()
    line = site.connect()
    line.send(site.head("PATCH", upload, "Content-Length: 6"))

    for _ in range(6):  # together twice as long as a pause may be
        time.sleep(0.35)
        line.send(b"x")

    assert line.answer().status == 202


def read_nothing_more(site: Site, path: str, *headers: str) -> Line:
    """Begin to read an answer, and stop."""
    line = site.connect()
    line.send(site.head("GET", path, *headers))
    line.begin_to_read()
    return line


RANGES = ",".join(f"{start}-{start + MIB}" for start in range(0, BLOB_BYTES - 2 * MIB, 2 * MIB))


def stop_reading(site: Site, blob: str, *headers: str) -> None:
    """Let three readers stop: they cost little, and are ended."""
    site.ask("GET", blob, *headers)  # what it costs once is not counted
    before, memory = settled(site.descriptors), site.resident_bytes()

    lines = [read_nothing_more(site, blob, *headers) for _ in range(3)]
    settled(site.resident_bytes)
    held = site.resident_bytes() - memory
    wait_until(lambda: site.descriptors() <= before, "stalled readers are not ended")

    assert held < HELD_MAX_BYTES
    assert all(len(line.read_to_end()) < BLOB_BYTES // 2 for line in lines)


@pytest.mark.parametrize("headers", [(), ("Range: bytes=1-",), (f"Range: bytes={RANGES}",)])
def test_a_reader_that_stops_costs_little_and_is_ended(
    site: Site, blob: str, headers: tuple[str, ...]
) -> None:
    stop_reading(site, blob, *headers)


@pytest.mark.parametrize("headers", [(), (f"Range: bytes={RANGES}",)])
def test_over_a_bucket_a_reader_that_stops_costs_little_and_is_ended(
    bucket_site: Site, headers: tuple[str, ...]
) -> None:
    stop_reading(bucket_site, bucket_site.push_blob(os.urandom(BLOB_BYTES)), *headers)


def test_over_tls_a_reader_that_stops_costs_little_and_is_ended(tls_site: Site) -> None:
    blob = tls_site.push_blob(os.urandom(BLOB_BYTES))
    tls_site.ask("GET", blob)
    before, memory = settled(tls_site.descriptors), tls_site.resident_bytes()

    for _ in range(3):
        read_nothing_more(tls_site, blob)
    settled(tls_site.resident_bytes)
    held = tls_site.resident_bytes() - memory
    wait_until(lambda: tls_site.descriptors() <= before, "stalled readers are not ended")

    assert held < HELD_MAX_BYTES


def test_over_http2_a_reader_that_stops_costs_little_and_is_ended(site: Site, blob: str) -> None:
    before, memory = settled(site.descriptors), site.resident_bytes()
    line = site.connect()
    connection = Http2(line)

    for _ in range(3):
        stream = connection.request("GET", blob, site.server.host, ("authorization", site.authorization))
        assert connection.status(stream) == 200
    settled(site.resident_bytes)
    held = site.resident_bytes() - memory
    wait_until(lambda: site.descriptors() <= before, "stalled readers are not ended")

    assert held < HELD_MAX_BYTES


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"P",
        b"GET /v2/",
        b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a_connection_that_says_too_little_is_ended(site: Site, said: bytes) -> None:
    line = site.connect()

    line.send(said)

    line.read_to_end()


def test_a_connection_that_has_nothing_more_to_ask_is_ended(site: Site) -> None:
    line = site.connect()
    line.send(site.head("GET", "/v2/"))

    assert line.answer().status == 200
    assert line.read_to_end() == b""


@pytest.mark.parametrize("hello", [True, False])
def test_over_tls_a_silent_connection_is_ended(tls_site: Site, *, hello: bool) -> None:
    line = tls_site.connect(hello=hello)

    assert line.read_to_end() == b""
    tls_site.assert_alive()


def test_a_whole_blob_arrives_at_whatever_pace(site: Site, blob: str) -> None:
    for headers in ((), (f"Range: bytes={RANGES}",)):
        answer = site.ask("GET", blob, *headers)

        assert len(answer.body) == int(answer.headers["content-length"])
