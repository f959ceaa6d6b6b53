"""Reading the claims of a signature, and every way in which they can be malformed."""

from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.engines.sigv4 import (
    IncompleteSignature,
    MissingAuthentication,
    SignatureError,
    SignedRequest,
    parse,
)

CREDENTIAL = "AKIDEXAMPLE/20260102/us-east-1/ecr/aws4_request"
SIGNATURE = "0" * 64
GOOD = f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host;x-amz-date, Signature={SIGNATURE}"
DATE = ("x-amz-date", "20260102T030405Z")


def received(*headers: tuple[str, str], query: str = "") -> SignedRequest:
    return SignedRequest(method="POST", path="/", query=query, headers=(("host", "localhost"), *headers))


def presigned(**changes: str | None) -> SignedRequest:
    parameters: dict[str, str | None] = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": CREDENTIAL,
        "X-Amz-Date": DATE[1],
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": SIGNATURE,
    }
    parameters.update({f"X-Amz-{name.replace('_', '-')}": value for name, value in changes.items()})
    pairs = [f"{name}={quote(value, safe='')}" for name, value in parameters.items() if value is not None]
    return received(query="&".join(pairs))


def message_of(request: SignedRequest) -> str:
    with pytest.raises(IncompleteSignature) as caught:
        parse(request)
    return caught.value.message


def test_the_header_form_is_read() -> None:
    authorization = parse(received(("authorization", GOOD), DATE, ("x-amz-security-token", "token")))

    assert authorization.access_key_id == "AKIDEXAMPLE"
    assert authorization.date == "20260102"
    assert authorization.region == "us-east-1"
    assert authorization.service == "ecr"
    assert authorization.terminator == "aws4_request"
    assert authorization.signed_headers == ("host", "x-amz-date")
    assert authorization.signature == SIGNATURE
    assert authorization.timestamp == "20260102T030405Z"
    assert authorization.signed_at == 1_767_323_045_000_000
    assert authorization.session_token == "token"
    assert not authorization.presigned


@pytest.mark.parametrize(
    "value",
    [
        GOOD.replace(", ", ","),
        f"AWS4-HMAC-SHA256 Signature={SIGNATURE}, SignedHeaders=host;x-amz-date, Credential={CREDENTIAL}",
        f"  {GOOD}  ",
    ],
)
def test_parts_are_found_by_name_and_not_by_position(value: str) -> None:
    good = parse(received(("authorization", GOOD), DATE))

    assert parse(received(("authorization", value), DATE)) == good


def test_the_query_form_is_read() -> None:
    authorization = parse(presigned(Security_Token="a/b+c="))

    assert authorization.presigned
    assert authorization.expires_seconds == 60
    assert authorization.session_token == "a/b+c="
    assert authorization.signed_headers == ("host",)
    assert authorization.timestamp == "20260102T030405Z"


def test_a_presigned_request_without_expiry_gets_a_quarter_of_an_hour() -> None:
    assert parse(presigned(Expires=None)).expires_seconds == 900


@pytest.mark.parametrize(
    "request_",
    [
        received(),
        received(query="Action=GetCallerIdentity&Version=2011-06-15"),
        received(("authorization", "Basic QVdTOng=")),
        received(("authorization", "Bearer x")),
        received(("authorization", "")),
    ],
)
def test_without_a_signature_authentication_is_missing(request_: SignedRequest) -> None:
    with pytest.raises(MissingAuthentication) as caught:
        parse(request_)

    assert caught.value.message == "Missing Authentication Token"


def test_each_missing_part_of_the_header_has_its_sentence() -> None:
    assert message_of(received(("authorization", "AWS4-HMAC-SHA256 "))) == (
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "Authorization=AWS4-HMAC-SHA256"
    )


@pytest.mark.parametrize("name", ["Credential", "Signature", "SignedHeaders"])
def test_one_missing_part_of_the_header_is_named_alone(name: str) -> None:
    parts = {"Credential": CREDENTIAL, "SignedHeaders": "host", "Signature": SIGNATURE}
    del parts[name]
    value = "AWS4-HMAC-SHA256 " + ", ".join(f"{key}={part}" for key, part in parts.items())

    message = message_of(received(("authorization", value), DATE))

    assert message == f"Authorization header requires '{name}' parameter. Authorization={value}"


def test_a_missing_date_is_named() -> None:
    assert message_of(received(("authorization", GOOD))).startswith(
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
    )


def test_the_date_header_serves_when_there_is_no_x_amz_date() -> None:
    value = GOOD.replace("x-amz-date", "x-some")
    date = ("date", "Fri, 02 Jan 2026 03:04:05 GMT")

    assert parse(received(("authorization", value), date)).timestamp == "20260102T030405Z"


def test_x_amz_date_wins_over_the_date_header() -> None:
    date = ("date", "Fri, 02 Jan 2026 03:04:06 GMT")

    assert parse(received(("authorization", GOOD), date, DATE)).timestamp == "20260102T030405Z"


@pytest.mark.parametrize(
    "headers",
    [
        (("authorization", GOOD), ("authorization", GOOD), DATE),
        (("authorization", GOOD), DATE, DATE),
        (("authorization", GOOD), DATE, ("x-amz-security-token", "a"), ("x-amz-security-token", "b")),
        (("authorization", GOOD.replace("SHA256 ", "SHA512 ")), DATE),
        (("authorization", GOOD.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")), DATE),
        (("authorization", GOOD + ", Signature=1"), DATE),
        (("authorization", GOOD + ", Extra=1"), DATE),
        (("authorization", GOOD + ", word"), DATE),
        (("authorization", GOOD + "," * 20_000), DATE),
        (("authorization", GOOD.replace("/ecr/", "/")), DATE),
        (("authorization", GOOD.replace("/ecr/", "//")), DATE),
        (("authorization", GOOD.replace("/ecr/", "/ecr/ecr/")), DATE),
        (("authorization", GOOD.replace("AKID", "AK\u00ffID")), DATE),
        (("authorization", GOOD.replace("AKID", "A" * 600)), DATE),
        (("authorization", GOOD.replace("host;x-amz-date", "x-amz-date;host")), DATE),
        (("authorization", GOOD.replace("host;x-amz-date", "host;host;x-amz-date")), DATE),
        (("authorization", GOOD.replace("host;x-amz-date", "Host;x-amz-date")), DATE),
        (("authorization", GOOD.replace("host;x-amz-date", "host;;x-amz-date")), DATE),
        (("authorization", GOOD.replace("host;", "authorization;host;")), DATE),
        (("authorization", GOOD.replace("host;x-amz-date", ";".join(f"h{n:03}" for n in range(200)))), DATE),
        (("authorization", GOOD.replace(SIGNATURE, "0" * 300)), DATE),
        (("authorization", GOOD), ("x-amz-date", "2026-01-02T03:04:05Z")),
        (("authorization", GOOD), ("x-amz-date", "20260102T030405")),
        (("authorization", GOOD), ("x-amz-date", "20261302T030405Z")),
        (("authorization", GOOD), ("x-amz-date", "20260102T030461Z")),
        (("authorization", GOOD), ("x-amz-date", "")),
        (("authorization", GOOD), ("date", "Fri, 02 Foo 2026 03:04:05 GMT")),
        (("authorization", GOOD), DATE, ("x-amz-security-token", "a" * 20_000)),
        (("authorization", GOOD), DATE, *(("x-a", "b") for _ in range(600))),
    ],
)
def test_a_malformed_header_form_is_incomplete(headers: tuple[tuple[str, str], ...]) -> None:
    assert message_of(received(*headers))


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Date", "SignedHeaders", "Signature"])
def test_one_missing_parameter_of_the_query_form_is_named(name: str) -> None:
    assert message_of(presigned(**{name: None})) == (
        f"AWS query-string parameters must include 'X-Amz-{name}'. Re-examine the query-string parameters."
    )


@pytest.mark.parametrize(
    "request_",
    [
        presigned(Algorithm="AWS4-HMAC-SHA1"),
        presigned(Credential="AKID/20260102"),
        presigned(Date="yesterday"),
        presigned(Expires="0"),
        presigned(Expires="604801"),
        presigned(Expires="-1"),
        presigned(Expires="1e3"),
        presigned(Expires=""),
        presigned(Expires="\u0663"),
        presigned(SignedHeaders="host;HOST"),
        presigned(Security_Token="a" * 20_000),
        received(query="X-Amz-Algorithm=%ff"),
        received(query="X-Amz-Algorithm=\u00e9"),
        received(query="a=1&a=2"),
        received(query="X-Amz-Signature=1&X-Amz-Signature=2"),
        received(query="X-Amz-Signature=1&X%2DAmz-Signature=2"),
        received(query="&".join(f"a{n}=1" for n in range(2_000))),
        received(query="a" * 70_000),
    ],
)
def test_a_malformed_query_form_is_incomplete(request_: SignedRequest) -> None:
    assert message_of(request_)


def test_the_longest_expiry_is_a_week() -> None:
    assert parse(presigned(Expires="604800")).expires_seconds == 604_800


@pytest.mark.parametrize("name", ["X-Amz-Signature", "x-amz-signature", "X-Amz-Date", "X-Amz-Security-Token"])
def test_the_two_forms_are_not_mixed(name: str) -> None:
    assert "not in both" in message_of(received(("authorization", GOOD), DATE, query=f"{name}=1"))


def test_a_presigned_request_has_no_second_token_in_a_header() -> None:
    request = presigned()
    headers = (*request.headers, ("x-amz-security-token", "other"))

    assert "session token" in message_of(replace(request, headers=headers))


def test_an_unprintable_header_is_not_echoed_as_it_came() -> None:
    message = message_of(received(("authorization", "AWS4-HMAC-SHA256 a\x1b[2J\u2028"), DATE))

    assert message.isprintable()
    assert message.isascii()


texts = st.text(max_size=60)
fragments = st.sampled_from(
    [
        "AWS4-HMAC-SHA256",
        " ",
        ",",
        "=",
        "/",
        ";",
        "Credential=",
        "SignedHeaders=host",
        CREDENTIAL,
        "Signature=",
    ]
)


@given(
    value=st.lists(fragments | texts, max_size=12).map("".join),
    date=texts | st.just(DATE[1]),
    query=texts | st.just("X-Amz-Signature=") | st.lists(fragments | texts, max_size=8).map("&".join),
    with_header=st.booleans(),
)
def test_nothing_but_a_signature_error_comes_of_any_input(
    value: str, date: str, query: str, *, with_header: bool
) -> None:
    headers = [("x-amz-date", date), *([("authorization", value)] if with_header else [])]

    with pytest.raises(SignatureError):
        parse(received(*headers, query=query))


@given(
    text=st.text(max_size=30),
    name=st.sampled_from(["Credential", "Date", "Expires", "Signature", "SignedHeaders"]),
)
def test_any_text_in_a_presigned_parameter_parses_or_is_refused(text: str, name: str) -> None:
    try:
        request = presigned(**{name: text})
    except UnicodeEncodeError:  # a lone surrogate cannot be sent
        return
    with suppress(IncompleteSignature):
        assert parse(request).presigned
