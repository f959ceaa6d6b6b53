"""The Authorization header of docker, and the challenge that asks for it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.errors import DomainError, TokenInvalid, TokenMalformed, TokenMissing
from openecr.web.oci.credentials import challenge, password_of


def basic(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    return "Basic " + base64.b64encode(content).decode()


def test_the_password_of_the_user_aws_is_read() -> None:
    assert password_of(basic("AWS:secret:with:colons")) == "secret:with:colons"
    assert password_of(basic("AWS:x").replace("Basic", "bASIC")) == "x"


@pytest.mark.parametrize("header", [None, "", "Bearer abc", "Basic2 QVdTOng="])
def test_no_basic_credentials_are_missing_ones(header: str | None) -> None:
    with pytest.raises(TokenMissing):
        password_of(header)


@pytest.mark.parametrize(
    "header", ["Basic", "Basic %%%", "Basic QVdT", basic(b"\xff\xfe:x"), "Basic QVdTOng", "Basic é"]
)
def test_what_cannot_be_decoded_is_malformed(header: str) -> None:
    with pytest.raises(TokenMalformed):
        password_of(header)


def test_another_user_is_nobody() -> None:
    with pytest.raises(TokenInvalid):
        password_of(basic("aws:x"))


@given(st.text(max_size=60))
def test_any_header_is_read_or_refused(text: str) -> None:
    for header in (text, "Basic " + text):
        try:
            assert isinstance(password_of(header), str)
        except DomainError:
            continue


def test_the_challenge_is_written_as_ecr_writes_it() -> None:
    expected = (
        'Basic realm="https://123456789012.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com"'
    )

    assert challenge("https", "123456789012.dkr.ecr.us-east-1.amazonaws.com") == (
        "www-authenticate",
        expected,
    )
    assert challenge("http", "localhost:5050")[1].startswith('Basic realm="http://localhost:5050/",')
    assert challenge("http", "[::1]:5050")[1].startswith('Basic realm="http://[::1]:5050/",')


@pytest.mark.parametrize("host", ['localhost:5"', "a\r\nb", "", "x y", "localhost:"])
def test_no_host_breaks_out_of_the_challenge(host: str) -> None:
    assert challenge("https", host)[1] == 'Basic realm="https://localhost/",service="ecr.amazonaws.com"'
