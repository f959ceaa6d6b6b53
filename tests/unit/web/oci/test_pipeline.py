"""Who gets through the doors, what the others learn, and that nothing that is sent breaks a door."""

import asyncio
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openecr.application.authorization_tokens import LIFETIME_SECONDS
from openecr.domain.decisions import Decision
from openecr.domain.registries import RegistryId
from openecr.web.oci.paths import Endpoint
from openecr.web.oci.pipeline import RegistryFace
from openecr.web.oci.routes import ROUTES, Route, Scope
from tests.unit.web.oci.client import REQUEST_ID, Answer, Client, basic, digest_of, image
from tests.unit.web.oci.conftest import ACCOUNT, OTHER_ACCOUNT, Registry, open_client, open_registry

DIGEST = digest_of(b"x")
UPLOAD_ID = "6f1d0a3c-3f0e-4c57-9f43-0a4d5b0f9a11"
PATHS = {
    Endpoint.PING: "/v2/",
    Endpoint.CATALOG: "/v2/_catalog",
    Endpoint.MANIFEST: "/v2/{name}/manifests/v1",
    Endpoint.BLOB: f"/v2/{{name}}/blobs/{DIGEST}",
    Endpoint.UPLOADS: "/v2/{name}/blobs/uploads/",
    Endpoint.UPLOAD: f"/v2/{{name}}/blobs/uploads/{UPLOAD_ID}",
    Endpoint.TAGS: "/v2/{name}/tags/list",
    Endpoint.REFERRERS: f"/v2/{{name}}/referrers/{DIGEST}",
}
QUERIES = {
    "POST upload, mount": f"?mount={DIGEST}&from=app",
    "POST upload, at once": f"?digest={DIGEST}",
    "PUT upload": f"?digest={DIGEST}",
    "PUT upload, with a body": f"?digest={DIGEST}",
}
NAMED_ROUTES = [route for route in ROUTES if route.scope is Scope.REPOSITORY]


async def _knock(client: Client, route: Route, name: str) -> Answer:
    """Go to the door of a row, for a repository."""
    content = b"x" if route.door == "PUT upload, with a body" else b""
    target = PATHS[route.endpoint].format(name=name) + QUERIES.get(route.door, "")
    return await client.ask(route.method, target, content)


EXPIRED = "Your authorization token has expired. Reauthenticate and try again."


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.door)
async def test_every_door_challenges_the_anonymous(registry: Registry, route: Route) -> None:
    for name in ("app", "missing", "BAD NAME"):
        answer = await _knock(Client(registry.face, None), route, name)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == (
            'Basic realm="http://localhost:5050/",service="ecr.amazonaws.com"'
        )
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
        assert answer.content == (b"" if route.method == "HEAD" else b"Not Authorized")


async def test_where_there_is_no_door_the_anonymous_are_challenged_too(registry: Registry) -> None:
    for method, path in (("GET", "/v2/nothing"), ("BREW", "/v2/")):
        assert (await Client(registry.face, None).ask(method, path)).status == 401
        assert (await Client(registry.face, basic(registry.password)).ask(method, path)).status in {404, 405}


async def test_a_login_is_answered(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        answer = await client.ask("GET", path)
        assert (answer.status, answer.content) == (200, b"{}")


async def test_a_wrong_password_is_challenged_again(registry: Registry) -> None:
    for header in (basic("wrong"), basic(registry.password, user="root"), f"Bearer {registry.password}"):
        answer = await Client(registry.face, header).ask("GET", "/v2/")
        assert (answer.status, answer.content) == (401, b"Not Authorized")
        assert "www-authenticate" in answer.headers


async def test_undecodable_credentials_are_a_bad_request(registry: Registry) -> None:
    assert (await Client(registry.face, "Basic %%%").ask("GET", "/v2/")).error[0] == 400


async def test_an_expired_token_says_so(client: Client, registry: Registry) -> None:
    registry.clock.move(seconds=LIFETIME_SECONDS)

    answer = await client.ask("GET", "/v2/app/manifests/v1")

    assert answer.error == (403, "DENIED", EXPIRED)
    assert "www-authenticate" not in answer.headers


async def test_a_host_of_nobody_is_told_so(registry: Registry) -> None:
    answer = await Client(registry.face, None, host="registry.example:5050").ask("GET", "/v2/")

    message = "Could not resolve registry id from host registry.example"
    assert answer.error == (400, "NAME_INVALID", message)


@pytest.mark.parametrize("route", NAMED_ROUTES, ids=lambda route: route.door)
async def test_a_denied_caller_learns_nothing_about_existence(
    client: Client, registry: Registry, route: Route
) -> None:
    assert (await client.ask("GET", "/v2/app/tags/list")).status == 200
    stranger = Client(registry.face, basic(registry.stranger_password))
    answers = [await _knock(stranger, route, name) for name in ("app", "missing")]

    for answer, name in zip(answers, ("app", "missing"), strict=True):
        assert answer.status == 403
        if route.method == "HEAD":
            continue
        status, code, message = answer.error
        assert (status, code) == (403, "DENIED")
        assert message.startswith(
            f"User: arn:aws:iam::{OTHER_ACCOUNT}:root is not authorized to perform: ecr:"
        )
        assert f"on resource: arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{name} " in message
    assert answers[0].headers == answers[1].headers


async def test_a_malformed_name_is_refused_once_the_caller_is_known(client: Client) -> None:
    for name in ("UPPER", "a", "a//b", "-x", "x" * 257, "é"):
        answer = await client.ask("GET", f"/v2/{name}/tags/list")
        assert answer.error[:2] == (400, "NAME_INVALID")


@pytest.mark.parametrize("route", NAMED_ROUTES, ids=lambda route: route.door)
async def test_a_repository_that_is_not_there_is_told_on_every_door(client: Client, route: Route) -> None:
    answer = await _knock(client, route, "missing")

    assert answer.status == 404
    if route.method != "HEAD":
        message = f"The repository with name 'missing' does not exist in the registry with id '{ACCOUNT}'"
        assert answer.error == (404, "NAME_UNKNOWN", message)


async def test_every_request_ends_in_one_outcome(client: Client, registry: Registry) -> None:
    registry.outcomes.clear()
    await client.ask("GET", "/v2/app/tags/list")
    await client.ask("GET", "/v2/app/manifests/missing")
    await Client(registry.face, basic(registry.stranger_password)).ask("GET", "/v2/app/tags/list")
    await Client(registry.face, None).ask("GET", "/v2/app/tags/list")

    told = [(each.door, each.status, each.error_code, each.decision) for each in registry.outcomes]
    assert told == [
        ("GET tags", 200, None, Decision.ALLOW),
        ("GET manifest", 404, "MANIFEST_UNKNOWN", Decision.ALLOW),
        ("GET tags", 403, "DENIED", Decision.IMPLICIT_DENY),
        ("unknown", 401, "UNAUTHORIZED", None),
    ]
    assert registry.outcomes[0].resources == (f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app",)
    assert registry.outcomes[0].caller is not None


async def test_a_bug_is_told_by_its_requests_id_alone(registry: Registry) -> None:
    def broken(host: str) -> RegistryId:
        raise RuntimeError(host)

    face = RegistryFace(
        services=registry.face._services,
        authenticator=registry.face._authenticator,
        resolve_host=broken,
        clock=registry.clock,
        record=registry.outcomes.append,
    )

    answer = await Client(face, None).ask("GET", "/v2/")

    assert answer.error == (500, "UNKNOWN", f"Internal error. Request id: {REQUEST_ID}")
    assert [(each.status, each.error_code) for each in registry.outcomes] == [(500, "UNKNOWN")]


async def test_a_full_disk_refuses_uploads_and_nothing_else(tmp_path: Path) -> None:
    async with open_registry(tmp_path) as roomy:
        client = await open_client(roomy)
        digest = digest_of(await client.push_image("app", "v1", b"layer"))
        location = await client.start("app")
    async with open_registry(tmp_path, min_free_bytes=2**62) as full:
        client = Client(full.face, basic(full.password))
        for answer in (
            await client.ask("POST", "/v2/app/blobs/uploads/"),
            await client.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", b"x"),
            await client.ask("PATCH", location, b"x"),
            await client.ask("PUT", "/v2/app/manifests/v2", image(b"layer")),
        ):
            message = "The registry's storage is full. Delete images and try again."
            assert answer.error == (403, "DENIED", message)
            assert "retry-after" not in answer.headers
        assert (await client.ask("GET", f"/v2/app/blobs/{digest_of(b'layer')}")).content == b"layer"
        assert (await client.ask("DELETE", f"/v2/app/manifests/{digest}")).status == 202


Request = tuple[str, str, str, dict[str, str], bytes]

HEADERS = ["range", "if-none-match", "if-range", "content-type", "content-range", "accept", "user-agent"]
SEGMENTS = st.sampled_from(
    [
        "app",
        "missing",
        "manifests",
        "blobs",
        "uploads",
        "tags",
        "list",
        "referrers",
        "_catalog",
        "v1",
        DIGEST,
        UPLOAD_ID,
    ]
) | st.text(max_size=12)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(["n", "last", "digest", "mount", "from", "tag", "artifactType", "x"]),
        st.text(string.printable, max_size=20) | st.just(DIGEST),
    ).map("=".join),
    max_size=3,
).map("&".join)


REQUESTS = st.tuples(
    METHODS,
    st.lists(SEGMENTS, max_size=6).map(lambda parts: "/v2/" + "/".join(parts))
    | st.sampled_from([path.format(name="app") for path in PATHS.values()]),
    PARAMETERS,
    st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=30), max_size=3),
    st.binary(max_size=50),
)


@pytest.fixture
def knock(tmp_path: Path) -> Iterator[Callable[[Request], Answer]]:
    """A sender of requests for tests that are not asynchronous, as Hypothesis runs them."""
    with asyncio.Runner() as runner:
        opened = open_registry(tmp_path)
        client = runner.run(open_client(runner.run(opened.__aenter__())))

        def send(drawn: Request) -> Answer:
            method, path, query, headers, content = drawn
            target = path.replace("?", "") + "?" + query
            return runner.run(client.ask(method, target, content, headers=headers))

        yield send
        runner.run(opened.__aexit__(None, None, None))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(drawn=REQUESTS)
def test_nothing_that_is_sent_breaks_a_door(knock: Callable[[Request], Answer], drawn: Request) -> None:
    answer = knock(drawn)

    assert answer.status < 500, answer
    for name, value in answer.repeated:
        assert (name + value).isprintable()
        assert (name + value).isascii()
