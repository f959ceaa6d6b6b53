"""Bodies, pages, open uploads and nested indexes are bounded, whether their size is said beforehand or not."""

import hashlib
import json
from collections.abc import Iterator

import pytest

from tests.bounds.site import MIB, REPOSITORY, Answer, Site
from tests.running import running_server

LAYER_MAX_BYTES = 100_000
UPLOADS_MAX = 5
INDEX = "application/vnd.oci.image.index.v1+json"
DEPTH = 60

MANIFESTS = f"/v2/{REPOSITORY}/manifests"
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {
        "OPENECR_LAYER_MAX_BYTES": str(LAYER_MAX_BYTES),
        "OPENECR_UPLOADS_PER_REPOSITORY": str(UPLOADS_MAX),
    }
    with running_server(tmp_path_factory.mktemp("site"), settings=settings) as server, Site(server) as site:
        yield site


def send(
    site: Site, method: str, path: str, body: bytes, *, is_chunked: bool, media_type: str = INDEX
) -> Answer:
    """Send a body whose length is said, or is not."""
    kind = f"Content-Type: {media_type}"
    if not is_chunked:
        return site.ask(method, path, kind, body=body)
    line = site.connect()
    line.send(
        site.head(method, path, kind, "Transfer-Encoding: chunked")
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    )
    answer = line.answer()
    line.close()
    return answer


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_manifest_over_four_mebibytes_is_refused(site: Site, *, is_chunked: bool) -> None:
    empty: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    frame = len(json.dumps({**empty, "annotations": {"a": ""}}))
    largest = json.dumps({**empty, "annotations": {"a": "x" * (4 * MIB - frame)}}).encode()

    assert send(site, "PUT", f"{MANIFESTS}/most", largest, is_chunked=is_chunked).status == 201
    refused = send(site, "PUT", f"{MANIFESTS}/more", largest + b" ", is_chunked=is_chunked)

    assert refused.status == 413
    assert json.loads(refused.body)["errors"][0]["code"] == "MANIFEST_INVALID"
    assert site.ask("HEAD", f"{MANIFESTS}/more").status == 404


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_layer_over_its_maximum_is_refused(site: Site, *, is_chunked: bool) -> None:
    largest = b"x" * LAYER_MAX_BYTES
    digest = "sha256:" + hashlib.sha256(largest + b"y").hexdigest()
    upload = site.open_upload()

    assert send(site, "PATCH", upload, largest, is_chunked=is_chunked).status == 202
    refused = send(site, "PUT", f"{upload}?digest={digest}", b"y", is_chunked=is_chunked)
    at_once = send(site, "POST", f"{UPLOADS}?digest={digest}", largest + b"y", is_chunked=is_chunked)

    assert (refused.status, at_once.status) == (413, 413)
    assert site.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest}").status == 404
    assert site.ask("DELETE", upload).status == 204


def test_a_repository_has_so_many_uploads_open_at_once(site: Site) -> None:
    uploads = [site.open_upload() for _ in range(UPLOADS_MAX)]

    refused = site.ask("POST", UPLOADS)
    assert refused.status == 403
    assert f"maximum of {UPLOADS_MAX} open uploads" in refused.body.decode()

    for upload in uploads:
        assert site.ask("DELETE", upload).status == 204
    assert site.ask("DELETE", site.open_upload()).status == 204


@pytest.mark.parametrize("count", ["1001", "999999999999999999999999", "0"])
def test_a_page_is_bounded_whatever_is_asked(site: Site, count: str) -> None:
    answer = site.ask("GET", f"/v2/{REPOSITORY}/tags/list?n={count}")

    assert answer.status in {200, 400}
    assert site.ask("GET", f"/v2/_catalog?n={count}").status == answer.status


def test_indexes_in_indexes_cost_no_more_than_each_alone(site: Site) -> None:
    """No step looks further than one level down, so that depth needs no bound."""
    inner: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    digests: list[str] = []
    for level in range(DEPTH):
        content = json.dumps({**inner, "annotations": {"level": str(level)}}).encode()
        assert send(site, "PUT", f"{MANIFESTS}/deep", content, is_chunked=False).status == 201
        digests.append("sha256:" + hashlib.sha256(content).hexdigest())
        child = {"mediaType": INDEX, "digest": digests[-1], "size": len(content)}
        inner = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}

    assert site.ask("GET", f"{MANIFESTS}/deep").headers["docker-content-digest"] == digests[-1]
    assert site.ask("DELETE", f"{MANIFESTS}/{digests[0]}").status in {400, 403, 405}, "its parent needs it"
    for digest in reversed(digests):
        assert site.ask("DELETE", f"{MANIFESTS}/{digest}").status == 202
