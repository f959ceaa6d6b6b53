"""Heads of requests: too long, too many, malformed, two in one. None is the server's failure; none harms another."""

import pytest

from tests.bounds.http2 import Http2
from tests.bounds.site import REPOSITORY, Site

KIB = 1024
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"


def filler(size_bytes: int) -> str:
    return "X-Filler: " + "a" * size_bytes


def test_headers_of_up_to_64_kib_are_taken(site: Site) -> None:
    assert site.ask("GET", "/v2/", filler(60 * KIB)).status == 200


@pytest.mark.parametrize("size_kib", [65, 200, 400, 1000])
def test_larger_headers_are_refused(site: Site, size_kib: int) -> None:
    line = site.connect()

    line.send(site.head("GET", "/v2/", filler(size_kib * KIB)))

    assert line.answer().status == 431
    assert line.read_to_end() == b""
    site.assert_alive()


def test_many_small_headers_are_refused(site: Site) -> None:
    answer = site.ask("GET", "/v2/", *(f"X-{number}: a" for number in range(10_000)))

    assert answer.status == 431
    site.assert_alive()


def test_a_body_behind_headers_that_are_too_large_is_not_taken_for_a_request(site: Site) -> None:
    line = site.connect()
    inner = site.head("GET", "/v2/")

    line.send(site.head("POST", UPLOADS, filler(65 * KIB), f"Content-Length: {len(inner)}") + inner)

    assert line.answer().status == 431
    assert line.read_to_end() == b""


def test_a_long_path_is_refused_by_us_and_a_longer_one_by_the_http_server(site: Site) -> None:
    assert site.ask("GET", "/v2/" + "a" * 60 * KIB).status == 404
    assert site.ask("GET", "/v2/" + "a" * 70 * KIB).status == 414
    assert site.ask("GET", "/v2/" + "a/" * 1000 + "tags/list").status == 400
    assert site.ask("GET", f"/v2/{REPOSITORY}/tags/list?n=" + "9" * 60 * KIB).status in {200, 400, 405}
    site.assert_alive()


def test_over_http2_larger_headers_end_their_stream_and_nothing_else(site: Site) -> None:
    connection = Http2(site.connect())
    host, authorization = site.server.host, ("authorization", site.authorization)

    fine = connection.request("GET", "/v2/", host, authorization, ("x-filler", "a" * 32 * KIB))
    assert connection.status(fine) == 200
    refused = connection.request("GET", "/v2/", host, authorization, ("x-filler", "a" * 80 * KIB))
    assert connection.status(refused) == 431
    after = connection.request("GET", "/v2/", host, authorization)
    assert connection.status(after) == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /\r\n\r\n",
        b"GET  /v2/ HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET /v2/ HTTP/9.9\r\nHost: a\r\n\r\n",
        b"G\x00T /v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/\x80%zz%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n folded: a\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: \xff\xfe\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: \r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: [::1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic \xff\xff\r\n\r\n",
        b"GET http://[/v2/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SOMETHING / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3x\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_a_malformed_head_is_the_clients_mistake(site: Site, head: bytes) -> None:
    line = site.connect()

    line.send(head)

    assert 400 <= line.answer(has_body=False).status < 500
    site.assert_alive()


def test_a_length_and_chunks_in_one_request_hide_no_second_request(site: Site) -> None:
    line = site.connect()
    hidden = site.head("DELETE", f"/v2/{REPOSITORY}/manifests/latest")

    line.send(
        site.head("POST", UPLOADS, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + hidden
    )

    line.answer()
    assert line.read_to_end() == b"", "whatever follows is not answered"


def test_requests_in_a_row_are_answered_in_order(site: Site) -> None:
    line = site.connect()

    line.send(site.head("GET", "/v2/") + site.head("GET", "/nowhere") + site.head("GET", "/livez"))

    assert [line.answer().status for _ in range(3)] == [200, 404, site.ask("GET", "/livez").status]


@pytest.mark.parametrize(
    "chunk", [b"zz\r\nabc\r\n", b"fffffffffffffffff\r\nabc\r\n", b"3\r\nabcdef\r\n", b"-1\r\n\r\n"]
)
def test_broken_chunks_never_make_a_blob(site: Site, chunk: bytes) -> None:
    upload = site.open_upload()
    digest = "sha256:" + "0" * 64
    line = site.connect()

    line.send(site.head("PUT", f"{upload}?digest={digest}", "Transfer-Encoding: chunked") + chunk)

    assert 400 <= line.answer().status < 500
    assert site.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
    assert site.ask("GET", upload).status == 204
