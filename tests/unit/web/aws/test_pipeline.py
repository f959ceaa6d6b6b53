"""The way through the AWS face: every refusal in its exact words, and nothing told or read before its time."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openecr.domain.callers import Root
from openecr.domain.decisions import Decision
from openecr.testing.aws import REQUEST_ID, AwsClient, content_of
from openecr.web.aws.bodies import Bodies
from openecr.web.aws.json_protocol import CONTENT_TYPE
from openecr.web.aws.operations import ROWS
from openecr.web.aws.pipeline import AwsFace
from openecr.web.hosts import RegistryHosts
from openecr.web.messages import Request
from tests.unit.web.aws.conftest import ACCOUNT, OTHER_ACCOUNT, House, refused
from tests.unit.web.aws.oracle import values
from tests.unit.web.aws.signed import (
    TARGET,
    Bend,
    ForbiddenBody,
    Wiretap,
    attempt,
    signed_call,
    unsigned,
    with_body,
    with_header,
    without_header,
)

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
INVALID_TOKEN = "The security token included in the request is invalid."
REPOSITORIES = "arn:aws:ecr:us-east-1:000000000000:repository/*"


def scoped(old: str, new: str) -> Bend:
    return with_header("authorization", lambda value: value.replace(old, new))


# --- signatures: each code, text and status (facts on signatures, section on check order) -------------------


async def test_a_request_without_a_signature(house: House) -> None:
    json_answer = await attempt(house, without_header("authorization"))
    query_answer = await attempt(house, without_header("authorization"), service="sts")

    assert json_answer == (400, "MissingAuthenticationTokenException", "Missing Authentication Token")
    assert query_answer == (403, "MissingAuthenticationToken", "Request is missing Authentication Token")


async def test_a_docker_password_is_no_signature(house: House) -> None:
    status, code, message = await attempt(house, with_header("authorization", lambda _: "Basic QVdTOng="))

    assert (status, code) == (400, "MissingAuthenticationTokenException")
    assert "QVdTOng=" not in message


async def test_a_signature_with_parts_missing_names_all_of_them(house: House) -> None:
    value = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/ecr/aws4_request"
    bend = with_header("authorization", lambda _: value)
    expected = (
        "Authorization header requires 'Signature' parameter. "
        f"Authorization header requires 'SignedHeaders' parameter. Authorization={value}"
    )

    assert await attempt(house, bend) == (400, "IncompleteSignatureException", expected)
    assert await attempt(house, bend, service="sts") == (400, "IncompleteSignature", expected)


@pytest.mark.parametrize(
    "key", [("AKIAUNKNOWN", "secret"), ("", "secret"), ("AKIA'--", "secret"), ("A" * 200, "secret")]
)
async def test_an_unknown_key(house: House, key: tuple[str, str]) -> None:
    status, code, message = await attempt(house, key=(key[0] or "x", key[1]))

    assert (status, code, message) == (400, "UnrecognizedClientException", INVALID_TOKEN)
    assert await attempt(house, key=(key[0] or "x", key[1]), service="sts") == (
        403,
        "InvalidClientTokenId",
        INVALID_TOKEN,
    )


async def test_a_rotated_key_stops_at_once(house: House) -> None:
    before = await attempt(house)
    fresh = await house.accounts.rotate_key(ACCOUNT)

    assert before == (200, "", "")
    assert await attempt(house) == (400, "UnrecognizedClientException", INVALID_TOKEN)
    assert await attempt(house, key=(fresh.access_key_id, fresh.secret)) == (200, "", "")


async def test_a_session_token_that_is_not_the_keys(house: House) -> None:
    answer = await attempt(house, session_token="something")

    assert answer == (400, "UnrecognizedClientException", INVALID_TOKEN)


@pytest.mark.parametrize(
    "bend",
    [
        with_body(b'{"maxResults": 1}'),
        with_header("x-amz-target", lambda _: TARGET + "DescribeImages"),
        with_header("host", lambda _: "localhost:5051"),
        lambda request: replace(request, query="a=b"),
        scoped("Signature=", "Signature=0"),
    ],
    ids=["body", "target", "host", "query", "signature"],
)
async def test_what_was_changed_after_signing(house: House, bend: Bend) -> None:
    assert await attempt(house, bend) == (400, "InvalidSignatureException", MISMATCH)


async def test_a_wrong_secret(house: House) -> None:
    key = (house.key[0], "wrong")

    assert await attempt(house, key=key) == (400, "InvalidSignatureException", MISMATCH)
    assert await attempt(house, key=key, service="sts") == (403, "SignatureDoesNotMatch", MISMATCH)


async def test_a_target_that_is_not_signed(house: House) -> None:
    status, code, message = await attempt(house, scoped(";x-amz-target", ""))

    assert (status, code) == (400, "InvalidSignatureException")
    assert message == "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."


async def test_a_body_that_only_a_header_vouches_for(house: House) -> None:
    """A digest in a header is compared with the body's own, and never taken for it."""

    def bend(request: Request) -> Request:
        digest = ("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        return replace(request, headers=(*request.headers, digest))

    status, code, _ = await attempt(house, bend)

    assert (status, code) == (400, "InvalidSignatureException")


@pytest.mark.parametrize(
    ("seconds", "start"),
    [(16 * 60, "Signature expired: "), (-16 * 60, "Signature not yet current: ")],
)
async def test_a_signature_of_another_time(house: House, seconds: int, start: str) -> None:
    house.clock.move(seconds=seconds)

    status, code, message = await attempt(house)

    assert (status, code) == (400, "InvalidSignatureException")
    assert message.startswith(start)
    assert message.endswith(" 15 min.)")


@pytest.mark.parametrize("seconds", [14 * 60, -14 * 60])
async def test_clocks_may_differ_by_a_quarter_of_an_hour(house: House, seconds: int) -> None:
    house.clock.move(seconds=seconds)

    assert await attempt(house) == (200, "", "")


@pytest.mark.parametrize(
    ("bend", "message"),
    [
        (scoped("/us-east-1/", "/mars-north-1/"), "scoped to a valid Region, not 'mars-north-1'. "),
        (scoped("/ecr/", "/s3/"), "scoped to correct service: 'ecr'. "),
        (scoped("/ecr/", "/sts/"), "scoped to correct service: 'ecr'. "),
        (
            scoped("/aws4_request", "/aws5_request"),
            "scoped with a valid terminator: 'aws4_request', not 'aws5_request'.",
        ),
    ],
    ids=["region", "service", "other service", "terminator"],
)
async def test_a_scope_that_is_not_served(house: House, bend: Bend, message: str) -> None:
    assert await attempt(house, bend) == (
        400,
        "InvalidSignatureException",
        f"Credential should be {message}",
    )


async def test_a_scope_of_another_day(house: House) -> None:
    def bend(request: Request) -> Request:
        today = (request.header("x-amz-date") or "")[:8]
        return scoped(f"/{today}/", "/20010101/")(request)

    status, code, message = await attempt(house, bend)

    assert (status, code) == (400, "InvalidSignatureException")
    assert message.startswith("Date in Credential scope does not match YYYYMMDD from ISO-8601 version")


async def test_an_action_is_asked_in_the_scope_of_its_service(house: House) -> None:
    answer = await attempt(house, scoped("/sts/", "/ecr/"), service="sts")

    assert answer[:2] == (403, "SignatureDoesNotMatch")


# --- what is not read, and what is too much -----------------------------------------------------------------


@pytest.mark.parametrize(
    "bend",
    [
        without_header("authorization"),
        scoped("Credential=AKIA", "Credential=ASIA"),
        scoped("/us-east-1/", "/mars-north-1/"),
        with_header("x-amz-target", lambda _: TARGET + "Nonsense"),
        with_header("content-length", lambda _: "9999999"),
    ],
    ids=["no signature", "unknown key", "unserved region", "unknown operation", "too long"],
)
async def test_the_body_is_left_unread(house: House, bend: Bend) -> None:
    tap = Wiretap(house, lambda request: replace(bend(request), body=ForbiddenBody()))

    code, _ = await refused(tap.client(), "describe_repositories")

    assert code != "ServerException"


async def test_a_body_over_the_bound_of_its_row(house: House) -> None:
    declared, _ = await signed_call(house, "DescribeRepositories", b" " * (1024 * 1024 + 1))
    chunked = await attempt(
        house,
        lambda request: without_header("content-length")(with_body(b" " * (1024 * 1024 + 1))(request)),
    )

    assert declared.status == 413
    assert chunked == (
        413,
        "RequestEntityTooLargeException",
        "The request body is larger than 1048576 bytes",
    )


async def test_a_body_that_waits_for_memory_too_long_is_throttled(house: House) -> None:
    face = AwsFace(
        services=house.services,
        authenticator=house.authenticator,
        authorizer=house.authorizer,
        regions=("us-east-1",),
        clock=house.clock,
        record=house.outcomes.append,
        bodies=Bodies(small_max_bytes=1, patience_seconds=0.01),
    )

    answer = await refused(AwsClient(face.handle, house.key), "describe_repositories")

    assert answer == ("ThrottlingException", "Rate exceeded")


# --- operations ---------------------------------------------------------------------------------------------


async def test_an_operation_that_is_missing_is_named(house: House) -> None:
    ecr = await refused(house.client(), "describe_registry")
    sts = await refused(house.client("sts"), "decode_authorization_message", EncodedMessage="x")

    assert ecr == (
        "UnknownOperationException",
        "The operation DescribeRegistry is not implemented by this server.",
    )
    assert sts == (
        "InvalidAction",
        "The operation DecodeAuthorizationMessage is not implemented by this server.",
    )


@pytest.mark.parametrize("target", ["", "x", "Other_20150921.DescribeRepositories", "a.b.c", TARGET + "é"])
async def test_a_target_that_names_nothing(house: House, target: str) -> None:
    status, code, _ = await attempt(house, with_header("x-amz-target", lambda _: target))

    assert (status, code) == (400, "UnknownOperationException")


async def test_two_targets_name_nothing(house: House) -> None:
    def bend(request: Request) -> Request:
        return replace(request, headers=(*request.headers, ("x-amz-target", TARGET + "PutImage")))

    assert (await attempt(house, bend))[1] == "UnknownOperationException"


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE"])
async def test_operations_are_posted(house: House, method: str) -> None:
    targeted = unsigned(method, headers=(("x-amz-target", TARGET + "ListImages"),))

    answer = await house.face.handle(targeted)

    assert answer.status == 400
    assert b'"UnknownOperationException"' in await content_of(answer)
    assert (await house.face.handle(unsigned(method))).status in {400, 403}


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", b'{"a":1,"a":2}', b"[" * 100_000])
async def test_a_body_that_is_no_json_object(house: House, body: bytes) -> None:
    answer, content = await signed_call(house, "DescribeRepositories", body)

    assert (answer.status, json.loads(content)["__type"]) == (400, "SerializationException")


async def test_an_empty_body_is_an_empty_input(house: House) -> None:
    answer, content = await signed_call(house, "DescribeRepositories", b"")

    assert (answer.status, json.loads(content)) == (200, {"repositories": []})


# --- order: what the ARNs need, the decision, everything else -----------------------------------------------


async def test_only_what_the_decision_needs_is_validated_before_it(ecr: AwsClient, house: House) -> None:
    own: dict[str, Any] = {"repositoryName": "app", "maxResults": 0, "registryId": ACCOUNT}

    stranger = await refused(house.stranger(), "list_images", **own)
    owner = await refused(ecr, "list_images", **own)
    malformed = await refused(house.stranger(), "list_images", **(own | {"repositoryName": "A"}))

    assert stranger[0] == "AccessDeniedException"
    assert owner[0] == "InvalidParameterException"
    assert "'maxResults'" in owner[1]
    assert "'repositoryName'" in malformed[1]


# --- answers and outcomes -----------------------------------------------------------------------------------


async def test_every_answer_has_an_id_and_its_protocols_type(house: House) -> None:
    tap = Wiretap(house)
    await tap.client().call("describe_repositories")
    await refused(tap.client(), "describe_repositories", repositoryNames=["gone"])
    await tap.client("sts").call("get_caller_identity")
    anonymous = await house.face.handle(unsigned("GET"))

    answers = [*tap.answers, anonymous]
    assert all(dict(answer.headers)["x-amzn-requestid"] == REQUEST_ID for answer in answers)
    assert [dict(answer.headers)["content-type"] for answer in answers] == [
        CONTENT_TYPE,
        CONTENT_TYPE,
        "text/xml",
        "text/xml",
    ]
    assert REQUEST_ID.encode() in await content_of(anonymous)


async def test_every_request_has_one_outcome(ecr: AwsClient, house: House) -> None:
    house.outcomes.clear()
    await ecr.call("describe_repositories")
    await refused(house.stranger(), "list_images", repositoryName="app", registryId=ACCOUNT)
    await attempt(house, scoped("Signature=", "Signature=0"))
    await house.client("sts").call("get_caller_identity")
    await house.face.handle(unsigned("GET"))

    told = [
        (each.door, each.caller, each.resources, each.decision, each.status, each.error_code)
        for each in house.outcomes
    ]
    owner = Root(account_id=ACCOUNT, access_key_id=house.key[0])
    stranger = Root(account_id=OTHER_ACCOUNT, access_key_id=house.stranger_key[0])
    app = "arn:aws:ecr:us-east-1:000000000000:repository/app"
    assert told == [
        ("ecr:DescribeRepositories", owner, (REPOSITORIES,), Decision.ALLOW, 200, None),
        ("ecr:ListImages", stranger, (app,), Decision.IMPLICIT_DENY, 400, "AccessDeniedException"),
        ("ecr:DescribeRepositories", None, (), None, 400, "InvalidSignatureException"),
        ("sts:GetCallerIdentity", owner, (), None, 200, None),
        ("unknown", None, (), None, 403, "MissingAuthenticationToken"),
    ]
    assert all(each.context.request_id == REQUEST_ID for each in house.outcomes)
    assert [each.context.region for each in house.outcomes] == ["us-east-1"] * 4 + [""]


class BrokenHosts(RegistryHosts):
    """Host names with a bug."""

    def repository_uri(self, registry: Any, repository_name: str) -> str:
        message = f"a bug with {repository_name}'s secrets"
        raise RuntimeError(message)


async def test_a_bug_is_told_as_the_requests_id_and_no_more(house: House) -> None:
    hosts = BrokenHosts(
        default=house.services.hosts.default,
        regions=("us-east-1",),
        domains=("localhost",),
        plain_names=(),
        scheme="http",
        port=5050,
        default_host="localhost:5050",
    )
    face = AwsFace(
        services=replace(house.services, hosts=hosts),
        authenticator=house.authenticator,
        authorizer=house.authorizer,
        regions=("us-east-1",),
        clock=house.clock,
        record=house.outcomes.append,
    )

    answer = await refused(AwsClient(face.handle, house.key), "create_repository", repositoryName="app")

    assert answer == ("ServerException", f"An internal error occurred. Request id: {REQUEST_ID}")
    assert house.outcomes[-1].status == 500


# --- whatever anybody sends ---------------------------------------------------------------------------------

ECR_ROWS = [row for row in ROWS if row.service == "ecr"]
NAMED = {"repositoryName": "app", "resourceArn": "arn:aws:ecr:us-east-1:000000000000:repository/app"}
INPUTS = st.sampled_from(ECR_ROWS).flatmap(lambda row: st.tuples(st.just(row), values(row.model.input)))


@given(sent=INPUTS, is_named=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_input_of_the_right_types_is_a_servers_fault(
    house: House, sent: tuple[Any, dict[str, Any]], *, is_named: bool
) -> None:
    """Also where the repository is there, so that handlers see what comes."""
    row, given_input = sent
    if is_named:
        await signed_call(house, "CreateRepository", b'{"repositoryName":"app"}')
        given_input |= {name: value for name, value in NAMED.items() if name in row.model.input.members}
        given_input.pop("registryId", None)
    body = json.dumps(given_input, default=lambda blob: base64.b64encode(blob).decode())

    answer, content = await signed_call(house, row.name, body.encode())

    assert answer.status < 500, content
    if answer.status != 200:
        assert json.loads(content)["__type"]


@given(body=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_body_is_a_servers_fault(house: House, body: bytes) -> None:
    answer, _ = await signed_call(house, "PutImage", body)

    assert answer.status == 400


@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    query=st.text(max_size=80),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["authorization", "x-amz-target", "x-amz-date", "host", "content-length"]),
            st.text(max_size=80)
            | st.just("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=a, Signature=b"),
        ),
        max_size=4,
    ),
    content=st.binary(max_size=80),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_nothing_unsigned_is_a_servers_fault(
    house: House, method: str, query: str, headers: list[tuple[str, str]], content: bytes
) -> None:
    request = unsigned(method, query=query, headers=tuple(headers), content=content)

    assert (await house.face.handle(request)).status in {400, 403}
