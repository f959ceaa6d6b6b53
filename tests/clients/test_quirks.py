"""Habits of clients that break naive registries, asked for byte by byte: `docs/clients.md` lists them all.

Where the client itself is at hand, its own tests prove the habit served; here is what only a newer, a rarer or a
failing one would send.
"""

import base64
import http.client
import itertools
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import cast

import pytest

from tests.clients import images, texts
from tests.clients.images import MEBIBYTE
from tests.clients.plain_registry import Answer, PlainRegistry
from tests.running import RunningServer

NAME = "quirks/one"
LAYER_BYTES = 24 * MEBIBYTE
WAIT_SECONDS = 30.0

counter = itertools.count()


@pytest.fixture(scope="module")
def password(server: RunningServer) -> str:
    server.create_repository(NAME)
    return server.password()


@pytest.fixture
def registry(server: RunningServer, password: str) -> Iterator[PlainRegistry]:
    with PlainRegistry(server, password) as connected:
        yield connected


@pytest.fixture(scope="module")
def layer(server: RunningServer, password: str) -> bytes:
    """A layer of some size, pushed."""
    content = images.random_archive(LAYER_BYTES, 21)
    with PlainRegistry(server, password) as registry:
        registry.push_blob(NAME, content)
    return content


def blob_path(content: bytes) -> str:
    return f"/v2/{NAME}/blobs/{images.digest_of(content)}"


def begin(registry: PlainRegistry) -> str:
    answer = registry.request("POST", f"/v2/{NAME}/blobs/uploads/", b"")
    assert answer.status == 202
    return answer.headers["location"]


def fresh(size_bytes: int = 100) -> bytes:
    """Bytes that nobody pushed yet."""
    return next(counter).to_bytes(8) * (size_bytes // 8)


def code(answer: Answer) -> str:
    return str(answer.document()["errors"][0]["code"])


@pytest.mark.quirk("docker-takes-sizes-from-patch")
@pytest.mark.parametrize("size_bytes", [8, 8_000, 8 * MEBIBYTE])
def test_the_answer_to_a_streamed_part_says_what_arrived(registry: PlainRegistry, size_bytes: int) -> None:
    content = fresh(size_bytes)
    pieces = (content[start : start + 65_536] for start in range(0, len(content), 65_536))
    answer = registry.request("PATCH", begin(registry), pieces)
    assert (answer.status, answer.headers["range"]) == (202, f"0-{len(content) - 1}")
    ended = registry.request("PUT", f"{answer.headers['location']}?digest={images.digest_of(content)}", b"")
    assert ended.status == 201
    head = registry.request("HEAD", blob_path(content))
    assert int(head.headers["content-length"]) == len(content)


@pytest.mark.quirk("docker-asks-by-head-first")
def test_a_tag_is_asked_for_by_head_then_by_digest_and_a_failure_again_for_its_text(
    registry: PlainRegistry,
) -> None:
    image = images.make_image([images.gzip_layer(images.random_archive(1_000, 3))])
    registry.push(NAME, "head-first", image)
    head = registry.request("HEAD", f"/v2/{NAME}/manifests/head-first")
    pulled = registry.manifest(NAME, head.headers["docker-content-digest"])
    assert (head.status, head.body, int(head.headers["content-length"])) == (200, b"", len(pulled.body))
    assert head.headers["docker-content-digest"] == images.digest_of(pulled.body)

    failed = registry.request("HEAD", f"/v2/{NAME}/manifests/never-pushed")
    asked = registry.manifest(NAME, "never-pushed")
    assert (failed.status, failed.body, asked.status) == (404, b"", 404)
    assert code(asked) == "MANIFEST_UNKNOWN"


@pytest.mark.quirk("docker-needs-lengths-and-exact-ranges")
@pytest.mark.parametrize("start", [0, 1, 65_536, LAYER_BYTES - 1])
def test_a_download_is_resumed_where_it_was_asked_to_be(
    registry: PlainRegistry, layer: bytes, start: int
) -> None:
    answer = registry.request("GET", blob_path(layer), Range=f"bytes={start}-")
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes {start}-{len(layer) - 1}/{len(layer)}"
    assert answer.headers["content-length"] == str(len(layer) - start)
    assert answer.body == layer[start:]


@pytest.mark.quirk("mounts-are-never-refused")
@pytest.mark.quirk("skopeo-cancels-refused-mounts")
@pytest.mark.parametrize(
    "source", ["quirks/never-made", "Not//A:Name", "999999999999/other", NAME, "", None, "%00", "a" * 300]
)
def test_a_mount_that_cannot_be_opens_a_session(registry: PlainRegistry, source: str | None) -> None:
    digest = images.digest_of(fresh())
    query = f"mount={digest}" if source is None else f"mount={digest}&from={source}"
    answer = registry.request("POST", f"/v2/{NAME}/blobs/uploads/?{query}", b"")
    assert answer.status == 202
    assert registry.request("DELETE", answer.headers["location"]).status == 204


@pytest.mark.quirk("containerd-reads-statuses-of-head")
def test_a_burst_of_requests_is_served_and_never_throttled(server: RunningServer, password: str) -> None:
    """containerd asks again at once after a 429, five times, and gives up."""

    def ask(_: int) -> set[int]:
        with PlainRegistry(server, password) as registry:
            return {registry.request("HEAD", f"/v2/{NAME}/manifests/none").status for _ in range(25)}

    with ThreadPoolExecutor(16) as pool:
        assert set().union(*pool.map(ask, range(16))) == {404}


@pytest.mark.quirk("containerd-compares-digests")
def test_the_digest_that_was_asked_for_is_told_on_every_answer(registry: PlainRegistry, layer: bytes) -> None:
    image = images.make_image([images.gzip_layer(images.files_archive({"digest": b"told"}))])
    registry.push(NAME, "told", image)
    path = f"/v2/{NAME}/manifests/"
    for answer in (
        registry.push_manifest(NAME, "told", image.manifest, image.media_type),
        *(
            registry.request(method, path + name)
            for method in ("HEAD", "GET")
            for name in ("told", image.digest)
        ),
    ):
        assert answer.headers["docker-content-digest"] == image.digest
    assert registry.request("HEAD", path + images.digest_of(layer)).status == 404
    assert registry.request("HEAD", blob_path(layer)).status == 200


def open_files(server: RunningServer) -> int:
    """How many blobs the server's processes have open."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(folder.name)) != server.process.pid:
                continue
            links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
        except OSError:
            continue
        found += sum(link.startswith(f"{server.data}/blobs/") for link in links)
    return found


@pytest.mark.quirk("containerd-parallel-ranges")
def test_ranges_to_the_end_are_read_side_by_side_and_broken_off(
    server: RunningServer, registry: PlainRegistry, password: str, layer: bytes
) -> None:
    """containerd 2 asks for `bytes=N-` at every N that it wants, and hangs up after its share."""
    path, share = blob_path(layer), 2 * MEBIBYTE

    def fetch(start: int) -> bytes:
        connection = server.connection()
        headers = {"Authorization": basic(password), "Range": f"bytes={start}-"}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        assert answer.headers["Content-Range"] == f"bytes {start}-{len(layer) - 1}/{len(layer)}"
        part = answer.read(share)
        answer.close()
        connection.close()
        return part

    with ThreadPoolExecutor(6) as pool:
        assert b"".join(pool.map(fetch, range(0, len(layer), share))) == layer
    deadline = time.monotonic() + WAIT_SECONDS
    while open_files(server):
        assert time.monotonic() < deadline, "the server still reads for clients that are gone"
        assert registry.request("GET", "/v2/").status == 200


def basic(password: str) -> str:
    return f"Basic {base64.b64encode(f'AWS:{password}'.encode()).decode()}"


@pytest.mark.quirk("go-libraries-refuse-other-hosts")
@pytest.mark.quirk("oras-insists-on-the-port")
def test_no_address_that_the_server_gives_names_a_host(registry: PlainRegistry, layer: bytes) -> None:
    """Also behind a port mapping, where the port of the client's URL is none that the server knows."""
    paths = [begin(registry)]
    paths.append(registry.request("PATCH", paths[0], b"part").headers["location"])
    image = images.make_image([images.gzip_layer(images.files_archive({"host": b"none"}))])
    registry.push(NAME, "host", image)
    registry.push(NAME, "other", image)
    paths.append(registry.push_manifest(NAME, "host", image.manifest, image.media_type).headers["location"])
    single = registry.request(
        "POST", f"/v2/{NAME}/blobs/uploads/?digest={images.digest_of(b'at once')}", b"at once"
    )
    paths.append(single.headers["location"])
    link = registry.request("GET", f"/v2/{NAME}/tags/list?n=1").headers["link"]
    assert link.startswith("<")
    assert link.endswith('>; rel="next"')
    paths.append(link[1 : link.index(">")])
    assert [path for path in paths if not path.startswith("/v2/")] == []
    assert registry.request("GET", paths[-1]).status == 200


@pytest.mark.quirk("a-lost-query-loses-no-session")
def test_a_session_is_all_in_its_path(registry: PlainRegistry) -> None:
    location, content = begin(registry), fresh()
    assert "?" not in location
    moved = registry.request("PATCH", location, content).headers["location"]
    assert moved == location
    assert registry.request("GET", location).headers["range"] == f"0-{len(content) - 1}"
    assert registry.request("PUT", f"{location}?digest={images.digest_of(content)}", b"").status == 201


@pytest.mark.quirk("a-lost-query-loses-no-session")
@pytest.mark.parametrize("accept", [None, "*/*", images.DOCKER_MANIFEST, "text/html;q=0.9, */*;q=0.1"])
def test_a_manifest_is_given_as_it_is_to_whoever_can_take_it(
    registry: PlainRegistry, accept: str | None
) -> None:
    layers = [images.gzip_layer(images.files_archive({"accept": b"any"}))]
    image = images.as_docker(images.make_image(layers))
    registry.push(NAME, "accept", image)
    headers = {"Accept": accept} if accept else {}
    answer = registry.request("GET", f"/v2/{NAME}/manifests/accept", None, **headers)
    assert (answer.status, answer.headers["content-type"]) == (200, images.DOCKER_MANIFEST)
    assert answer.body == image.manifest


@pytest.mark.quirk("accept-comes-in-several-lines")
def test_accepted_types_may_stand_in_lines_of_their_own(
    server: RunningServer, registry: PlainRegistry, password: str
) -> None:
    image = images.make_image([images.gzip_layer(images.files_archive({"lines": b"many"}))])
    registry.push(NAME, "lines", image)
    lines = [f"Accept: {kind}" for kind in (images.DOCKER_MANIFEST, images.DOCKER_LIST, images.OCI_MANIFEST)]
    head = [
        f"GET /v2/{NAME}/manifests/lines HTTP/1.1",
        "Host: localhost",
        f"Authorization: {basic(password)}",
    ]
    said = talk(server, *head, *lines, "Connection: close")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(image.manifest)


@pytest.mark.quirk("podman-asks-for-many-ranges")
@pytest.mark.parametrize("count", [2, 33, 1024])
def test_many_ranges_come_as_so_many_parts(registry: PlainRegistry, layer: bytes, count: int) -> None:
    wanted = [(start, start + 99) for start in range(0, count * 20_000, 20_000)]
    text = ",".join(f"{first}-{last}" for first, last in wanted)
    answer = registry.request("GET", blob_path(layer), Range=f"bytes={text}")
    assert answer.status == 206
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + answer.body).get_payload()
    assert isinstance(parts, list)
    ranges = [cast("Message", part)["content-range"] for part in parts]
    assert ranges == [f"bytes {first}-{last}/{len(layer)}" for first, last in wanted]


@pytest.mark.quirk("lazy-pullers-probe")
@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5"])
def test_two_bytes_tell_the_size_of_a_layer(registry: PlainRegistry, layer: bytes, encoding: str) -> None:
    path = blob_path(layer)
    probe = registry.request("GET", path, Range="bytes=0-1", Accept_Encoding=encoding)
    assert (probe.status, probe.body) == (206, layer[:2])
    assert probe.headers["content-range"] == f"bytes 0-1/{len(layer)}"
    assert probe.headers["accept-ranges"] == "bytes"
    head = registry.request("HEAD", path, Accept_Encoding=encoding)
    assert head.headers["content-length"] == str(len(layer))
    for answer in (probe, head):
        assert "content-encoding" not in answer.headers


@pytest.mark.quirk("kaniko-opens-and-cancels")
def test_a_session_is_opened_and_cancelled_to_see_whether_one_may_push(
    server: RunningServer, registry: PlainRegistry
) -> None:
    location = begin(registry)
    assert registry.request("DELETE", location).status == 204
    assert registry.request("GET", location).status == 404
    missing = registry.request("POST", "/v2/quirks/nowhere/blobs/uploads/", b"")
    assert (missing.status, code(missing)) == (404, "NAME_UNKNOWN")
    with PlainRegistry(server, "not-the-password") as stranger:
        assert stranger.request("POST", f"/v2/{NAME}/blobs/uploads/", b"").status in {400, 401}


@pytest.mark.quirk("kaniko-opens-and-cancels")
def test_the_text_of_an_immutable_tag_is_the_one_that_builders_look_for(
    server: RunningServer, registry: PlainRegistry
) -> None:
    server.create_repository("quirks/immutable", imageTagMutability="IMMUTABLE")
    image = images.make_image([images.gzip_layer(images.files_archive({"tag": b"immutable"}))])
    registry.push("quirks/immutable", "v1", image)
    path = "/v2/quirks/immutable/manifests/v1"
    # The same bytes again, as a build that is run twice sends them.
    answer = registry.request("PUT", path, image.manifest, Content_Type=image.media_type)
    assert (answer.status, code(answer)) == (400, "TAG_INVALID")
    message = answer.document()["errors"][0]["message"]
    assert message == texts.immutable_tag("quirks/immutable", "v1")
    assert "cannot be overwritten because the tag is immutable" in message


@pytest.mark.quirk("proxies-are-not-believed")
def test_what_a_stranger_forwards_changes_no_answer(server: RunningServer, registry: PlainRegistry) -> None:
    forged = {
        "X_Forwarded_Proto": "https",
        "X_Forwarded_Host": "evil.example",
        "Forwarded": "host=evil.example",
    }
    begun = registry.request("POST", f"/v2/{NAME}/blobs/uploads/", b"", **forged)
    assert begun.headers["location"].startswith(f"/v2/{NAME}/blobs/uploads/")
    with PlainRegistry(server, "") as stranger:
        challenge = stranger.request("GET", "/v2/", None, **forged).headers["www-authenticate"]
    assert challenge == f'Basic realm="{server.url}/",service="ecr.amazonaws.com"'


@pytest.mark.quirk("proxies-are-not-believed")
@pytest.mark.parametrize("size_bytes", [8_000, 16_000, 32_000])
def test_headers_may_be_as_long_as_passwords_are(registry: PlainRegistry, size_bytes: int) -> None:
    assert registry.request("GET", "/v2/", X_Long="a" * size_bytes).status == 200


def talk(server: RunningServer, *lines: str, body: bytes = b"") -> bytes:
    """Send a request as it stands; gives all that comes until the server hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.quirk("expect-100-continue")
def test_a_client_that_waits_to_be_told_to_go_on_is_told(
    server: RunningServer, registry: PlainRegistry, password: str
) -> None:
    location, content = begin(registry), fresh()
    lines = [
        f"PUT {location}?digest={images.digest_of(content)} HTTP/1.1",
        *("Host: localhost", f"Authorization: {basic(password)}", f"Content-Length: {len(content)}"),
        *("Expect: 100-continue", "Connection: close"),
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(content)
        assert b"".join(iter(lambda: connection.recv(65_536), b"")).startswith(b"HTTP/1.1 201 ")
    assert registry.blob(NAME, images.digest_of(content)) == content


@pytest.mark.quirk("expect-100-continue")
def test_a_client_that_may_not_push_is_told_so_before_it_sends(server: RunningServer) -> None:
    lines = ["POST /v2/quirks/one/blobs/uploads/ HTTP/1.1", "Host: localhost", "Content-Length: 1000000"]
    assert talk(server, *lines, "Expect: 100-continue", "Connection: close").startswith(b"HTTP/1.1 401 ")


@pytest.mark.quirk("early-refusals-are-heard")
@pytest.mark.parametrize("size_bytes", [5 * MEBIBYTE, 64 * MEBIBYTE])
@pytest.mark.parametrize("way", ["stranger", "unknown repository", "unknown session", "large manifest"])
def test_a_refusal_is_heard_by_whoever_is_still_sending(
    server: RunningServer, password: str, size_bytes: int, way: str
) -> None:
    """A client that writes all before it reads must not meet a broken pipe where a sentence was said."""
    session = "0b2b5a4e-0000-4000-8000-000000000000"
    method, path, status = {
        "stranger": ("PATCH", f"/v2/{NAME}/blobs/uploads/{session}", {400, 401}),
        "unknown repository": ("PATCH", f"/v2/quirks/nowhere/blobs/uploads/{session}", {404}),
        "unknown session": ("PATCH", f"/v2/{NAME}/blobs/uploads/{session}", {404}),
        "large manifest": ("PUT", f"/v2/{NAME}/manifests/large", {413}),
    }[way]
    with PlainRegistry(server, "wrong" if way == "stranger" else password) as registry:
        answer = registry.request(method, path, bytes(size_bytes), Content_Type=images.OCI_MANIFEST)
    assert answer.status in status


@pytest.mark.quirk("early-refusals-are-heard")
def test_a_refused_connection_can_be_used_again(server: RunningServer, password: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_SECONDS)
    try:
        connection.request("POST", f"/v2/{NAME}/blobs/uploads/", bytes(1000))
        refused = connection.getresponse()
        assert (refused.status, refused.read()) == (401, b"Not Authorized")
        assert connection.sock is not None
        connection.request("GET", "/v2/", headers={"Authorization": basic(password)})
        assert connection.getresponse().status == 200
    finally:
        connection.close()


@pytest.mark.quirk("pings-decide-about-credentials")
@pytest.mark.parametrize(
    "path", ["/v2", "/v2/", f"/v2/{NAME}/manifests/v1", f"/v2/{NAME}/tags/list", "/v2/_catalog"]
)
def test_every_call_asks_a_stranger_for_a_password(server: RunningServer, path: str) -> None:
    """Some clients learn the scheme from the ping alone, others never ping."""
    connection = server.connection()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")
    finally:
        connection.close()


@pytest.mark.quirk("docker-stops-at-known-codes")
def test_an_error_names_a_code_that_docker_knows_at_the_step_where_it_arises(registry: PlainRegistry) -> None:
    nowhere = "/v2/quirks/nowhere"
    for method, path in (
        ("HEAD", f"{nowhere}/blobs/{images.digest_of(b'')}"),
        ("POST", f"{nowhere}/blobs/uploads/"),
        ("PUT", f"{nowhere}/manifests/v1"),
        ("GET", f"{nowhere}/manifests/v1"),
        ("GET", f"{nowhere}/tags/list"),
    ):
        answer = registry.request(method, path, b"" if method in {"POST", "PUT"} else None)
        assert answer.status == 404
        assert method == "HEAD" or code(answer) == "NAME_UNKNOWN", (method, path)
