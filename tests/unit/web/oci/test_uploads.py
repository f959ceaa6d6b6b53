"""Upload sessions and mounts, over the real application."""

from dataclasses import replace

import pytest

from openecr.application.authorization import Authorizer
from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import Decision, Grant, PolicyKind, Requirement, Verdict
from openecr.web.oci.pipeline import RegistryFace
from tests.unit.web.oci.client import EMPTY_CONFIG, Client, digest_of
from tests.unit.web.oci.conftest import Registry

CONTENT = bytes(range(256)) * 20
DIGEST = digest_of(CONTENT)


async def test_a_stream_without_a_range_is_appended(client: Client) -> None:
    location = await client.start("app")

    patched = await client.ask("PATCH", location, CONTENT[:3000], length=None)
    assert (patched.status, patched.headers["range"]) == (202, "0-2999")
    patched = await client.ask("PATCH", patched.headers["location"], CONTENT[3000:])
    assert (patched.status, patched.headers["range"]) == (202, f"0-{len(CONTENT) - 1}")
    closed = await client.ask("PUT", f"{location}?digest={DIGEST}")

    assert closed.status == 201
    assert closed.headers["location"] == f"/v2/app/blobs/{DIGEST}"
    assert closed.headers["docker-content-digest"] == DIGEST
    assert (await client.ask("GET", closed.headers["location"])).content == CONTENT


async def test_a_session_is_told_by_a_relative_url_without_a_query(client: Client) -> None:
    answer = await client.ask("POST", "/v2/app/blobs/uploads/?digest-algorithm=sha512")

    assert answer.status == 202
    assert answer.headers["location"] == f"/v2/app/blobs/uploads/{answer.headers['docker-upload-uuid']}"
    assert answer.headers["range"] == "0-0"
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


async def test_chunks_come_in_order_and_the_last_one_closes(client: Client) -> None:
    location = await client.start("app")

    first = await client.ask("PATCH", location, CONTENT[:1000], headers={"content-range": "0-999"})
    assert first.status == 202
    last = await client.ask(
        "PUT",
        f"{location}?digest={DIGEST}",
        CONTENT[1000:],
        headers={"content-range": f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"},
    )

    assert last.status == 201
    assert (await client.ask("GET", f"/v2/app/blobs/{DIGEST}")).content == CONTENT


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_chunk_out_of_order_is_told_where_to_resume(client: Client, method: str) -> None:
    location = await client.start("app")
    await client.ask("PATCH", location, CONTENT[:1000], headers={"content-range": "0-999"})

    wrong = await client.ask(
        method,
        f"{location}?digest={DIGEST}",
        CONTENT[2000:],
        headers={"content-range": f"2000-{len(CONTENT) - 1}"},
    )

    message = "First byte of the layer part is 2000 instead of 1000"
    assert wrong.error == (416, "BLOB_UPLOAD_INVALID", message)
    assert (wrong.headers["location"], wrong.headers["range"]) == (location, "0-999")
    status = await client.ask("GET", location)
    assert (status.status, status.headers["range"], status.headers["location"]) == (204, "0-999", location)
    assert (await client.ask("PUT", f"{location}?digest={DIGEST}", CONTENT[1000:])).status == 201


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [("junk", 400, "BLOB_UPLOAD_INVALID"), ("9-0", 416, "BLOB_UPLOAD_INVALID"), ("0-4", 400, "SIZE_INVALID")],
)
async def test_a_range_that_contradicts_itself_is_refused(
    client: Client, header: str, status: int, code: str
) -> None:
    location = await client.start("app")

    answer = await client.ask("PATCH", location, CONTENT[:10], headers={"content-range": header})

    assert answer.error[:2] == (status, code)
    assert (await client.ask("GET", location)).headers["range"] == "0-0"


@pytest.mark.parametrize("headers", [{}, {"content-range": f"0-{len(CONTENT) - 1}"}], ids=["stream", "chunk"])
async def test_what_arrived_before_a_disconnect_is_kept(client: Client, headers: dict[str, str]) -> None:
    location = await client.start("app")

    cut = await client.ask("PATCH", location, CONTENT[:3000], headers=headers, length=len(CONTENT))
    assert cut.error[:2] == (400, "BLOB_UPLOAD_INVALID")
    status = await client.ask("GET", location)
    assert status.headers["range"] == "0-2999"

    await client.ask("PATCH", location, CONTENT[3000:], headers={"content-range": f"3000-{len(CONTENT) - 1}"})
    assert (await client.ask("PUT", f"{location}?digest={DIGEST}")).status == 201


@pytest.mark.parametrize("last_byte", [8, 10])
async def test_a_chunk_of_unknown_length_must_be_as_long_as_its_range(client: Client, last_byte: int) -> None:
    location = await client.start("app")

    answer = await client.ask(
        "PATCH", location, CONTENT[:10], headers={"content-range": f"0-{last_byte}"}, length=None
    )

    message = f"The layer part has 10 bytes instead of {last_byte + 1}"
    assert answer.error == (400, "SIZE_INVALID", message)
    assert (answer.headers["location"], answer.headers["range"]) == (location, "0-0")


async def test_a_blob_may_come_in_one_request(client: Client) -> None:
    answer = await client.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", CONTENT)

    assert (answer.status, answer.headers["location"]) == (201, f"/v2/app/blobs/{DIGEST}")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("content", [CONTENT, b""])
async def test_any_served_digest_closes_a_session(client: Client, algorithm: str, content: bytes) -> None:
    digest = digest_of(content, algorithm)
    location = await client.start("app")

    closed = await client.ask("PUT", f"{location}?digest={digest}", content, length=None)

    assert closed.headers["docker-content-digest"] == digest
    found = await client.ask("GET", f"/v2/app/blobs/{digest}")
    assert (found.content, found.headers["docker-content-digest"]) == (content, digest)


@pytest.mark.parametrize("digest", ["", "junk", "md5:00", "sha256:00", "sha256:" + "0" * 64])
async def test_a_digest_that_does_not_fit_is_refused(client: Client, digest: str) -> None:
    location = await client.start("app")

    closed = await client.ask("PUT", f"{location}?digest={digest}", CONTENT)
    at_once = await client.ask("POST", f"/v2/app/blobs/uploads/?digest={digest}", CONTENT)

    assert closed.error[:2] == at_once.error[:2] == (400, "DIGEST_INVALID")
    assert (await client.ask("HEAD", f"/v2/app/blobs/{DIGEST}")).status == 404


async def test_a_session_cannot_be_closed_without_a_digest(client: Client) -> None:
    location = await client.start("app")

    assert (await client.ask("PUT", location, CONTENT)).error[:2] == (400, "DIGEST_INVALID")


async def test_a_cancelled_session_is_gone(client: Client) -> None:
    location = await client.start("app")

    assert (await client.ask("DELETE", location)).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert (await client.ask(method, location)).error[:2] == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("upload_id", ["x", "\0", "00000000-0000-0000-0000-000000000000", "é"])
async def test_an_unknown_session_is_not_found(client: Client, upload_id: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        answer = await client.ask(method, f"/v2/app/blobs/uploads/{upload_id}")
        assert answer.error[:2] == (404, "BLOB_UPLOAD_UNKNOWN")
    closed = await client.ask("PUT", f"/v2/app/blobs/uploads/{upload_id}?digest={DIGEST}")
    assert closed.error[:2] == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_a_session_belongs_to_its_repository(client: Client) -> None:
    location = await client.start("app")

    other = await client.ask("PATCH", location.replace("/app/", "/other/"), CONTENT)

    assert other.error[:2] == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_nothing_is_uploaded_to_a_repository_that_does_not_exist(client: Client) -> None:
    message = "The repository with name 'missing' does not exist in the registry with id '000000000000'"
    for query in ("", f"?digest={DIGEST}", f"?mount={DIGEST}&from=app", f"?mount={DIGEST}"):
        answer = await client.ask("POST", f"/v2/missing/blobs/uploads/{query}", CONTENT)
        assert answer.error == (404, "NAME_UNKNOWN", message)


async def test_a_mounted_blob_is_there_without_an_upload(client: Client, mounting: None) -> None:
    for content in (CONTENT, EMPTY_CONFIG):
        await client.push_blob("app", content)

    named = await client.ask("POST", f"/v2/other/blobs/uploads/?mount={DIGEST}&from=app")
    found = await client.ask("POST", f"/v2/other/blobs/uploads/?mount={digest_of(EMPTY_CONFIG)}")

    assert (named.status, named.headers["location"]) == (201, f"/v2/other/blobs/{DIGEST}")
    assert named.headers["docker-content-digest"] == DIGEST
    assert found.status == 201
    assert (await client.ask("GET", f"/v2/other/blobs/{DIGEST}")).content == CONTENT


class _Secretive(Authorizer):
    """Lets nobody read `app`, and says so in a grant that knows the repository all the same."""

    async def decide(self, caller: Caller, context: RequestContext, requirement: Requirement) -> Grant:
        grant = await super().decide(caller, context, requirement)
        if requirement.repository_name == "app" and "ecr:GetDownloadUrlForLayer" in requirement.actions:
            return replace(
                grant, verdict=Verdict(decision=Decision.EXPLICIT_DENY, missing=PolicyKind.RESOURCE)
            )
        return grant


@pytest.mark.parametrize("query", [f"mount={DIGEST}&from=app", f"mount={DIGEST}"])
async def test_nothing_is_mounted_from_a_source_that_may_not_be_read(
    client: Client, registry: Registry, mounting: None, query: str
) -> None:
    await client.push_blob("app", CONTENT)
    face = registry.face
    secretive = _Secretive(database=registry.authorizer._database)
    secretive_face = RegistryFace(
        services=replace(face._services, authorizer=secretive),
        authenticator=face._authenticator,
        resolve_host=face._resolve_host,
        clock=registry.clock,
        record=registry.outcomes.append,
    )

    answer = await Client(secretive_face, client.authorization).ask(
        "POST", f"/v2/other/blobs/uploads/?{query}"
    )

    assert answer.status == 202
    assert (await client.ask("HEAD", f"/v2/other/blobs/{DIGEST}")).status == 404


@pytest.mark.parametrize(
    "query",
    [
        f"mount={DIGEST}&from=missing",
        f"mount={DIGEST}&from=UPPER%20CASE",
        f"mount={DIGEST}&from=",
        f"mount={digest_of(b'unknown')}",
        f"mount={digest_of(b'unknown')}&from=app",
        "mount=junk&from=app",
        "mount=",
    ],
)
async def test_a_mount_that_cannot_be_opens_a_session(client: Client, mounting: None, query: str) -> None:
    answer = await client.ask("POST", f"/v2/other/blobs/uploads/?{query}")

    assert answer.status == 202
    assert answer.headers["location"].startswith("/v2/other/blobs/uploads/")


async def test_nothing_is_mounted_unless_the_account_says_so(client: Client) -> None:
    await client.push_image("app", "v1", CONTENT)

    assert (await client.ask("POST", f"/v2/other/blobs/uploads/?mount={DIGEST}&from=app")).status == 202
