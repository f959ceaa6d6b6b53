"""Manifests, over the real application."""

import pytest

from openecr.domain.repositories import RepositorySettings, TagMutability, TagMutabilitySetting
from tests.unit.web.oci.client import IMAGE_INDEX, IMAGE_MANIFEST, Client, digest_of, image, index
from tests.unit.web.oci.conftest import Registry

LAYER = b"layer"
NOT_FOUND = "Requested image not found"


async def test_a_manifest_comes_back_byte_by_byte(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)
    digest = digest_of(manifest)

    for reference in ("v1", digest):
        answer = await client.ask("GET", f"/v2/app/manifests/{reference}", headers={"accept": "text/plain"})
        assert (answer.status, answer.content) == (200, manifest)
        assert answer.headers["content-type"] == IMAGE_MANIFEST
        assert answer.headers["docker-content-digest"] == digest
        head = await client.ask("HEAD", f"/v2/app/manifests/{reference}")
        assert (head.status, head.headers) == (200, answer.headers)


async def test_a_push_is_answered_with_where_it_went(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)
    digest = digest_of(manifest)

    again = await client.put_manifest("app", "v1", manifest)

    assert again.status == 201
    assert again.headers["location"] == f"/v2/app/manifests/{digest}"
    assert again.headers["docker-content-digest"] == digest
    assert "oci-subject" not in again.headers


async def test_a_manifest_keeps_the_algorithm_that_it_was_pushed_by(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)
    digest = digest_of(manifest, "sha512")

    put = await client.put_manifest("app", digest, manifest)
    found = await client.ask("GET", f"/v2/app/manifests/{digest}")

    assert put.headers["docker-content-digest"] == digest
    assert (found.content, found.headers["docker-content-digest"]) == (manifest, digest)


async def test_a_push_by_digest_sets_tags(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)
    digest = digest_of(manifest)
    tags = [f"v{number}" for number in range(2, 14)]
    query = "&".join(f"tag={tag}" for tag in tags)

    answer = await client.put_manifest("app", f"{digest}?{query}", manifest)

    assert answer.status == 201
    assert [value for name, value in answer.repeated if name == "oci-tag"] == tags
    for tag in tags:
        assert (await client.ask("GET", f"/v2/app/manifests/{tag}")).content == manifest


async def test_too_many_tags_are_too_long_a_request(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)
    query = "&".join(f"tag=v{number}" for number in range(33))

    answer = await client.put_manifest("app", f"{digest_of(manifest)}?{query}", manifest)

    assert answer.error[:2] == (414, "TAG_INVALID")


async def test_a_manifest_that_the_client_has_is_not_sent_again(client: Client) -> None:
    digest = digest_of(await client.push_image("app", "v1", LAYER))

    for value in (digest, f'"{digest}"', f'W/"{digest}"', "*"):
        answer = await client.ask("GET", "/v2/app/manifests/v1", headers={"if-none-match": value})
        assert (answer.status, answer.content) == (304, b"")
    assert (await client.ask("GET", "/v2/app/manifests/v1", headers={"if-none-match": '"x"'})).status == 200


@pytest.mark.parametrize("reference", ["missing", digest_of(b"missing"), ".bad", "a+b", "x" * 129])
async def test_what_is_not_there_is_not_found(client: Client, reference: str) -> None:
    url = f"/v2/app/manifests/{reference}"

    assert (await client.ask("GET", url)).error == (404, "MANIFEST_UNKNOWN", NOT_FOUND)
    assert (await client.ask("HEAD", url)).status == 404
    assert (await client.ask("DELETE", url)).error == (404, "MANIFEST_UNKNOWN", NOT_FOUND)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_malformed_digest_is_refused(client: Client, method: str) -> None:
    answer = await client.ask(method, "/v2/app/manifests/sha256:baddigeststring", image())

    assert answer.error[:2] == (400, "DIGEST_INVALID")


async def test_a_digest_must_be_that_of_the_bytes(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)

    answer = await client.put_manifest("app", digest_of(b"other"), manifest)

    assert answer.error[:2] == (400, "DIGEST_INVALID")


async def test_a_malformed_tag_is_refused(client: Client) -> None:
    assert (await client.put_manifest("app", ".bad", image())).error[:2] == (400, "TAG_INVALID")
    answer = await client.put_manifest("app", f"{digest_of(image())}?tag=a+b", image())
    assert answer.error[:2] == (400, "TAG_INVALID")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null", b'{"schemaVersion":2}'])
async def test_what_is_no_manifest_is_refused(client: Client, content: bytes) -> None:
    answer = await client.put_manifest("app", "v1", content)

    message = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
    assert answer.error == (400, "MANIFEST_INVALID", message)


@pytest.mark.parametrize("length", [-1, None])
async def test_a_manifest_over_the_bound_is_too_large(client: Client, length: int | None) -> None:
    content = b" " * (4 * 1024 * 1024 + 1)

    answer = await client.ask("PUT", "/v2/app/manifests/v1", content, length=length)

    assert answer.error[:2] == (413, "MANIFEST_INVALID")


async def test_layers_must_be_there(client: Client) -> None:
    answer = await client.put_manifest("app", "v1", image(LAYER))

    status, code, message = answer.error
    assert (status, code) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert digest_of(LAYER) in message
    assert message.endswith(
        "required for pushing image into repository with name 'app' "
        "in the registry with id '000000000000' do not exist"
    )


async def test_children_of_an_index_must_be_there(client: Client) -> None:
    answer = await client.put_manifest("app", "v1", index(image(LAYER)), IMAGE_INDEX)

    assert answer.error[:2] == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_a_child_of_an_index_is_not_deleted(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)
    parent = index(manifest)
    assert (await client.put_manifest("app", "all", parent, IMAGE_INDEX)).status == 201

    answer = await client.ask("DELETE", f"/v2/app/manifests/{digest_of(manifest)}")

    message = f"Requested image referenced by manifest list: [{digest_of(parent)}]"
    assert answer.error == (405, "UNSUPPORTED", message)


async def test_an_immutable_tag_does_not_move(client: Client, registry: Registry) -> None:
    immutable = TagMutabilitySetting(mode=TagMutability.IMMUTABLE)
    await registry.create("fixed", RepositorySettings(tag_mutability=immutable))
    await client.push_image("fixed", "v1", LAYER)
    await client.push_blob("fixed", b"other")

    answer = await client.put_manifest("fixed", "v1", image(b"other"))

    message = (
        "The image tag 'v1' already exists in the 'fixed' repository "
        "and cannot be overwritten because the tag is immutable."
    )
    assert answer.error == (400, "TAG_INVALID", message)


async def test_deleting_a_tag_leaves_the_manifest(client: Client) -> None:
    manifest = await client.push_image("app", "v1", LAYER)
    await client.put_manifest("app", "v2", manifest)

    assert (await client.ask("DELETE", "/v2/app/manifests/v1")).status == 202

    assert (await client.ask("GET", "/v2/app/manifests/v1")).status == 404
    assert (await client.ask("GET", "/v2/app/manifests/v2")).status == 200


async def test_deleting_a_manifest_takes_its_tags(client: Client) -> None:
    digest = digest_of(await client.push_image("app", "v1", LAYER))

    assert (await client.ask("DELETE", f"/v2/app/manifests/{digest}")).status == 202

    assert (await client.ask("GET", "/v2/app/manifests/v1")).status == 404
    assert (await client.ask("GET", f"/v2/app/manifests/{digest}")).status == 404
    assert (await client.ask("GET", "/v2/app/tags/list")).document == {"name": "app", "tags": []}
