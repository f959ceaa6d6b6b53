"""Blobs, whole and in parts, over the real application."""

import re

import pytest

from tests.unit.web.oci.client import Client, digest_of

CONTENT = bytes(range(256)) * 20
DIGEST = digest_of(CONTENT)
URL = f"/v2/app/blobs/{DIGEST}"


async def test_a_blob_is_described_without_its_bytes(client: Client) -> None:
    await client.push_blob("app", CONTENT)

    answer = await client.ask("HEAD", URL)

    assert answer.status == 200
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["docker-content-digest"] == DIGEST
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["etag"] == f'"{DIGEST}"'


async def test_a_blob_has_the_media_type_of_the_manifest_that_names_it(client: Client) -> None:
    await client.push_image("app", "v1", CONTENT)

    for method in ("GET", "HEAD"):
        answer = await client.ask(method, URL)
        assert answer.headers["content-type"] == "application/vnd.oci.image.layer.v1.tar"


@pytest.mark.parametrize(
    ("header", "expected", "content_range"),
    [
        ("bytes=0-9", CONTENT[:10], "bytes 0-9/5120"),
        ("bytes=5000-", CONTENT[5000:], "bytes 5000-5119/5120"),
        ("bytes=-3", CONTENT[-3:], "bytes 5117-5119/5120"),
        ("bytes=5119-9999", CONTENT[-1:], "bytes 5119-5119/5120"),
    ],
)
async def test_a_range_is_a_part_of_the_blob(
    client: Client, header: str, expected: bytes, content_range: str
) -> None:
    await client.push_blob("app", CONTENT)

    answer = await client.ask("GET", URL, headers={"range": header})

    assert (answer.status, answer.content) == (206, expected)
    assert answer.headers["content-range"] == content_range


@pytest.mark.parametrize("header", ["bytes=5120-", "bytes=500-0"])
async def test_a_range_past_the_end_is_refused(client: Client, header: str) -> None:
    await client.push_blob("app", CONTENT)

    answer = await client.ask("GET", URL, headers={"range": header})

    assert answer.error[:2] == (416, "RANGE_INVALID")
    assert answer.headers["content-range"] == "bytes */5120"


async def test_several_ranges_come_as_parts(client: Client) -> None:
    await client.push_blob("app", CONTENT)

    answer = await client.ask("GET", URL, headers={"range": "bytes=0-1,256-259,-1"})

    assert answer.status == 206
    found = re.fullmatch(
        r"multipart/byteranges; boundary=([0-9a-zA-Z-]{1,70})", answer.headers["content-type"]
    )
    assert found is not None
    parts = answer.content.split(f"\r\n--{found[1]}".encode())
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    heads, bodies = zip(*(part.split(b"\r\n\r\n", 1) for part in parts[1:-1]), strict=True)
    assert bodies == (CONTENT[:2], CONTENT[256:260], CONTENT[-1:])
    assert b"content-range: bytes 256-259/5120" in heads[1]


async def test_a_range_of_another_version_is_the_whole_blob(client: Client) -> None:
    await client.push_blob("app", CONTENT)

    other = await client.ask("GET", URL, headers={"range": "bytes=0-9", "if-range": '"other"'})
    same = await client.ask("GET", URL, headers={"range": "bytes=0-9", "if-range": f'"{DIGEST}"'})

    assert (other.status, len(other.content)) == (200, len(CONTENT))
    assert same.status == 206


async def test_a_blob_that_the_client_has_is_not_sent_again(client: Client) -> None:
    await client.push_blob("app", CONTENT)

    answer = await client.ask("GET", URL, headers={"if-none-match": f'"x", "{DIGEST}"'})

    assert (answer.status, answer.content) == (304, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_a_blob_is_found_only_in_a_repository_that_holds_it(client: Client, method: str) -> None:
    await client.push_blob("app", CONTENT)

    answer = await client.ask(method, URL.replace("/app/", "/other/"))

    assert answer.status == 404
    if method != "HEAD":
        assert answer.error[1] == "BLOB_UNKNOWN"


@pytest.mark.parametrize("digest", ["junk", "sha256:00", "md5:" + "0" * 32, "sha256:" + "A" * 64])
async def test_a_malformed_digest_is_refused(client: Client, digest: str) -> None:
    assert (await client.ask("GET", f"/v2/app/blobs/{digest}")).error[:2] == (400, "DIGEST_INVALID")


async def test_a_deleted_blob_is_gone_at_once(client: Client) -> None:
    await client.push_blob("app", CONTENT)
    await client.push_blob("other", CONTENT)

    assert (await client.ask("DELETE", URL)).status == 202

    assert (await client.ask("HEAD", URL)).status == 404
    assert (await client.ask("HEAD", URL.replace("/app/", "/other/"))).status == 200


async def test_a_blob_that_an_image_needs_is_not_deleted(client: Client) -> None:
    await client.push_image("app", "v1", CONTENT)

    assert (await client.ask("DELETE", URL)).error[:2] == (405, "UNSUPPORTED")

    assert (await client.ask("HEAD", URL)).status == 200
