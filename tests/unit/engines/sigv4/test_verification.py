"""Signatures made by botocore are verified, and nothing of what they cover can be changed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.engines.sigv4 import (
    InvalidSignature,
    SignatureError,
    SignedRequest,
    UnknownKey,
    check_time_and_scope,
    parse,
    verify,
)
from tests.unit.engines.sigv4.signing import ACCESS_KEY_ID, SECRET, TARGET, Client, Sent

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details."
)


def accept(sent: Sent, secret: str = SECRET, service: str = "ecr") -> None:
    """Everything the server does with a request whose key it knows."""
    authorization = parse(sent.request)
    if authorization.access_key_id != ACCESS_KEY_ID:
        raise UnknownKey
    check_time_and_scope(
        authorization,
        now_at=authorization.signed_at,
        services=frozenset({service}),
        regions=frozenset({"us-east-1"}),
    )
    verify(authorization, sent.request, secret=secret, body_digest_hex=sent.body_digest_hex)


def refusal(sent: Sent, secret: str = SECRET, service: str = "ecr") -> str:
    with pytest.raises(SignatureError) as caught:
        accept(sent, secret, service)
    return caught.value.message


def authorization_of(sent: Sent) -> str:
    return sent.request.values("authorization")[0]


def test_a_signed_call_is_accepted(client: Client) -> None:
    accept(client.sign())


def test_a_signed_call_with_a_session_token_is_accepted(client: Client) -> None:
    accept(client.sign(token="FwoGZXIvYXdzE/+=="))


def test_a_presigned_call_is_accepted(client: Client) -> None:
    accept(client.presign(), service="sts")


def test_a_presigned_call_with_a_token_and_more_signed_headers_is_accepted(client: Client) -> None:
    sent = client.presign(token="to/ken+==", headers={"x-k8s-aws-id": "cluster  one"})

    assert parse(sent.request).signed_headers == ("host", "x-k8s-aws-id")
    accept(sent, service="sts")


def test_a_published_vector_is_accepted() -> None:
    # "get-vanilla" of AWS's Signature Version 4 test suite.
    signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    request = SignedRequest(
        method="GET",
        path="/",
        query="",
        headers=(
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            (
                "authorization",
                (
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                    f"SignedHeaders=host;x-amz-date, Signature={signature}"
                ),
            ),
        ),
    )

    verify(parse(request), request, secret=SECRET, body_digest_hex=Sent(request).body_digest_hex)


def test_unsigned_headers_added_on_the_way_do_no_harm(client: Client) -> None:
    sent = client.sign().with_header("amz-sdk-request", "attempt=1").with_header("x-forwarded-for", "::1")

    accept(sent)


def test_a_signed_header_that_botocore_itself_would_skip_counts(client: Client) -> None:
    # Some SDKs sign user-agent; botocore never does, so its request is signed under another name and renamed.
    sent = client.sign(headers={"X-Amz-Target": TARGET, "User-Agent": "sdk"})
    assert "user-agent" not in authorization_of(sent)
    listed = sent.with_header("authorization", authorization_of(sent).replace("host;", "host;user-agent;"))

    assert refusal(listed) == MISMATCH


def test_repeated_signed_headers_count_in_wire_order(client: Client) -> None:
    sent = client.sign(headers={"X-Amz-Target": TARGET, "X-Two": "a,b"})
    others = tuple(pair for pair in sent.request.headers if pair[0] != "x-two")

    accept(replace(sent, request=replace(sent.request, headers=(*others, ("x-two", "a"), ("x-two", "b")))))
    swapped = (*others, ("x-two", "b"), ("x-two", "a"))
    assert refusal(replace(sent, request=replace(sent.request, headers=swapped))) == MISMATCH


def test_white_space_in_header_values_is_folded(client: Client) -> None:
    sent = client.sign(headers={"X-Amz-Target": TARGET, "X-Some": "a   b  c"})

    accept(sent.with_header("x-some", "  a b \t c "))


def test_header_values_beyond_ascii_are_verified(client: Client) -> None:
    accept(client.sign(headers={"X-Amz-Target": TARGET, "X-Some": "caf\u00e9 \u2603"}))


def test_another_secret_is_refused(client: Client) -> None:
    assert refusal(client.sign(), secret=SECRET + "x") == MISMATCH


def test_a_changed_body_is_refused(client: Client) -> None:
    assert refusal(replace(client.sign(), body=b'{"repositoryNames":["x"]}')) == MISMATCH


def test_a_changed_method_is_refused(client: Client) -> None:
    sent = client.sign()

    assert refusal(replace(sent, request=replace(sent.request, method="PUT"))) == MISMATCH


def test_a_changed_path_is_refused(client: Client) -> None:
    sent = client.sign()

    assert refusal(replace(sent, request=replace(sent.request, path="/v2/"))) == MISMATCH


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-target", TARGET.replace("Describe", "Delete")),
        ("host", "other:5050"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-amz-date", "20260102T030405Z"),
        ("x-amz-security-token", "other"),
    ],
)
def test_a_changed_signed_header_is_refused(client: Client, name: str, value: str) -> None:
    assert refusal(client.sign(token="token").with_header(name, value))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/us-east-1/", "/eu-west-1/"),
        ("/ecr/", "/sts/"),
        ("aws4_request", "aws5_request"),
        ("content-type;host", "host;content-type"),
        ("content-type;", ""),
        ("AKIDEXAMPLE/20", "AKIDEXAMPLE/19"),
        ("Signature=", "Signature=0"),
    ],
)
def test_a_changed_authorization_header_is_refused(client: Client, old: str, new: str) -> None:
    sent = client.sign()
    value = authorization_of(sent)
    assert old in value

    assert refusal(sent.with_header("authorization", value.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GetCallerIdentity", "GetSessionToken"),
        ("Version=2011-06-15", "Version=2010-05-08"),
        ("X-Amz-Expires=60", "X-Amz-Expires=600000"),
        ("%2Fus-east-1%2F", "%2Feu-west-1%2F"),
        ("Action=", "Extra=1&Action="),
        ("&Version", "&Action=GetSessionToken&Version"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("X-Amz-Security-Token=", "X-Amz-Security-Token=x"),
    ],
)
def test_a_changed_presigned_query_is_refused(client: Client, old: str, new: str) -> None:
    sent = client.presign(token="token")
    assert old in sent.request.query

    assert refusal(sent.with_query(sent.request.query.replace(old, new)), service="sts")


def test_a_changed_query_of_a_header_signed_call_is_refused(client: Client) -> None:
    sent = client.sign(query="a=1&b=2", method="GET", body=b"")

    accept(sent.with_query("b=2&a=1"))
    assert refusal(sent.with_query("a=1&b=3")) == MISMATCH
    assert refusal(sent.with_query("a=1&b=2&c")) == MISMATCH
    assert refusal(sent.with_query("")) == MISMATCH


def test_a_body_under_a_presigned_call_is_refused(client: Client) -> None:
    assert refusal(replace(client.presign(), body=b"Action=GetSessionToken"), service="sts") == MISMATCH


def test_a_target_must_be_signed(client: Client) -> None:
    sent = client.sign(headers={"Content-Type": "application/x-amz-json-1.1"})

    assert refusal(sent.with_header("x-amz-target", TARGET)) == (
        "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."
    )


def test_a_session_token_must_be_signed(client: Client) -> None:
    assert "'x-amz-security-token' must be" in refusal(client.sign().with_header("x-amz-security-token", "t"))


def test_the_host_must_be_signed(client: Client) -> None:
    sent = client.sign()
    value = authorization_of(sent).replace("host;", "")

    assert refusal(sent.with_header("authorization", value)).startswith("'host' must be")


def test_the_header_that_gives_the_date_must_be_signed(client: Client) -> None:
    sent = client.sign()
    value = authorization_of(sent).replace("x-amz-date;", "")

    assert refusal(sent.with_header("authorization", value)).startswith("'x-amz-date' must be")


def test_a_signed_header_must_be_there(client: Client) -> None:
    assert "'content-type' is not in the request" in refusal(client.sign().without_header("content-type"))


def test_two_host_headers_are_refused(client: Client) -> None:
    sent = client.sign()
    doubled = replace(sent.request, headers=(*sent.request.headers, ("host", "other")))

    assert "exactly one Host" in refusal(replace(sent, request=doubled))


def test_a_declared_digest_is_compared_with_the_body_itself(client: Client) -> None:
    sent = client.sign()
    declaring = client.sign(headers={"X-Amz-Target": TARGET, "X-Amz-Content-SHA256": sent.body_digest_hex})

    accept(declaring)
    assert "X-Amz-Content-SHA256" in refusal(replace(declaring, body=b'{"a":1}'))


@pytest.mark.parametrize("declared", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""])
def test_payloads_left_open_are_refused(client: Client, declared: str) -> None:
    # botocore signs over the declared value: exactly what a client that leaves the body open would send.
    sent = client.sign(headers={"X-Amz-Target": TARGET, "X-Amz-Content-SHA256": declared})

    assert "X-Amz-Content-SHA256" in refusal(sent)


@given(
    body=st.binary(max_size=200),
    value=st.text(st.characters(min_codepoint=33, max_codepoint=1_000), max_size=20),
)
def test_whatever_botocore_signs_is_accepted(client: Client, body: bytes, value: str) -> None:
    accept(client.sign(body=body, headers={"X-Amz-Target": TARGET, "X-Some": value}))


@given(position=st.integers(0, 10_000), letter=st.characters(codec="utf-8"))
def test_no_letter_of_the_authorization_can_change(client: Client, position: int, letter: str) -> None:
    sent = client.sign()
    value = authorization_of(sent)
    position %= len(value)
    changed = value[:position] + letter + value[position + 1 :]
    # Spaces around commas carry no meaning.
    if changed == value or (value[position] == " " and value[position - 1] == ","):
        return

    with pytest.raises(SignatureError):
        accept(sent.with_header("authorization", changed))


@given(
    path=st.text(max_size=30).map(lambda text: "/" + text),
    value=st.text(max_size=30),
    method=st.text(max_size=8),
    signature=st.text(max_size=70),
)
def test_no_input_makes_verification_fail_otherwise(
    client: Client, path: str, value: str, method: str, signature: str
) -> None:
    sent = client.sign(headers={"X-Amz-Target": TARGET, "X-Some": "x"}).with_header("x-some", value)
    authorization = replace(parse(sent.request), signature=signature)

    with pytest.raises(InvalidSignature):
        verify(
            authorization,
            replace(sent.request, path=path, method=method),
            secret=SECRET,
            body_digest_hex=sent.body_digest_hex,
        )
