"""Authorization tokens: sealed, bounded, of one region, for twelve hours."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.adapters.keys import MasterKeyRing
from openecr.application.authorization_tokens import (
    LIFETIME_SECONDS,
    TOKEN_MAX_CHARACTERS,
    AuthorizationTokens,
    TokenEnd,
)
from openecr.application.sessions import CARRIED_MAX_BYTES, caller_of, pack, unpack
from openecr.domain.callers import FederatedUser, RoleSession, Root, Session, User
from openecr.domain.errors import TokenExpired, TokenInvalid
from openecr.testing.clocks import MovableClock

REGION = "us-east-1"
KEYS = MasterKeyRing({1: bytes(32)})
CALLER = Root(account_id="000000000000", access_key_id="AKIAIOSFODNN7EXAMPLE")


def hand_clock() -> MovableClock:
    return MovableClock(1_900_000_000_000_000)


def make(clock: MovableClock | None = None, keys: MasterKeyRing = KEYS) -> AuthorizationTokens:
    return AuthorizationTokens(keys=keys, clock=clock or hand_clock())


def test_a_token_says_who_where_and_until_when() -> None:
    clock = hand_clock()
    token = make(clock).issue(CALLER, REGION)
    claims = make(clock).open(token.token_text, region=REGION)
    assert (claims.region, claims.account_id) == (REGION, "000000000000")
    assert (claims.principal_id, claims.access_key_id) == (CALLER.unique_id, CALLER.access_key_id)
    assert (claims.issued_at, claims.expires_at, claims.session) == (clock.now(), token.expires_at, None)
    assert token.expires_at == clock.now() + 12 * 60 * 60 * 1_000_000


def test_a_token_survives_the_aws_cli_and_windows_credential_store() -> None:
    session = Session(issued_at=1, expires_at=2**50, name="s" * 64)
    for caller in (
        CALLER,
        User(account_id="1" * 12, access_key_id="A" * 20, unique_id="U" * 21, name="n" * 64),
        RoleSession(
            account_id="1" * 12,
            access_key_id="A" * 20,
            unique_id="U" * 21,
            role_name="r" * 64,
            session=session,
        ),
        FederatedUser(
            account_id="1" * 12,
            access_key_id="A" * 20,
            unique_id="U" * 100,
            user_id="U" * 21,
            session=session,
        ),
    ):
        carried = None if caller.session is None else pack(caller)
        text = make().issue(caller, "r" * 40, carried).token_text
        assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
        assert len(text) <= TOKEN_MAX_CHARACTERS


def role_session(*, expires_at: int) -> RoleSession:
    session = Session(issued_at=1, expires_at=expires_at, name="build")
    return RoleSession(
        account_id="1" * 12, access_key_id="ASIA", unique_id="AROA", role_name="ci", session=session
    )


def test_the_session_of_temporary_credentials_is_in_the_token() -> None:
    caller = role_session(expires_at=2)
    tokens = make()
    claims = tokens.open(tokens.issue(caller, REGION, pack(caller)).token_text, region=REGION)
    assert isinstance(claims.session, bytes)
    assert caller_of(unpack(claims.session), None) == caller


def test_the_largest_session_that_is_carried_fits_into_a_token() -> None:
    caller = role_session(expires_at=2**50)
    text = make().issue(caller, "r" * 40, bytes(CARRIED_MAX_BYTES)).token_text
    assert len(text) <= TOKEN_MAX_CHARACTERS


@pytest.mark.parametrize(
    ("end", "session_seconds", "token_seconds"),
    [
        (TokenEnd.ALONE, 900, LIFETIME_SECONDS),
        (TokenEnd.WITH_SESSION, 900, 900),
        (TokenEnd.WITH_SESSION, 2 * LIFETIME_SECONDS, LIFETIME_SECONDS),
    ],
)
def test_a_token_outlives_its_session_unless_the_operator_says_otherwise(
    end: TokenEnd, session_seconds: int, token_seconds: int
) -> None:
    clock = hand_clock()
    caller = role_session(expires_at=clock.now() + session_seconds * 1_000_000)
    token = AuthorizationTokens(keys=KEYS, clock=clock, end=end).issue(caller, REGION, pack(caller))
    assert token.expires_at == clock.now() + token_seconds * 1_000_000


def test_two_logins_get_different_tokens_and_both_work() -> None:
    tokens = make()
    one, other = (tokens.issue(CALLER, REGION).token_text for _ in range(2))
    assert one != other
    assert tokens.open(one, region=REGION).principal_id == tokens.open(other, region=REGION).principal_id


def test_a_token_works_for_twelve_hours_and_no_longer() -> None:
    clock = hand_clock()
    tokens = make(clock)
    text = tokens.issue(CALLER, REGION).token_text
    clock.move(seconds=LIFETIME_SECONDS - 1)
    tokens.open(text, region=REGION)
    clock.move(seconds=1)
    with pytest.raises(TokenExpired):
        tokens.open(text, region=REGION)


def test_a_token_is_refused_in_another_region_even_when_expired() -> None:
    clock = hand_clock()
    tokens = make(clock)
    text = tokens.issue(CALLER, REGION).token_text
    with pytest.raises(TokenInvalid):
        tokens.open(text, region="eu-west-1")
    clock.move(seconds=LIFETIME_SECONDS)
    with pytest.raises(TokenInvalid):
        tokens.open(text, region="eu-west-1")


def test_another_servers_token_is_refused() -> None:
    foreign = make(keys=MasterKeyRing({1: bytes(31) + b"x"})).issue(CALLER, REGION).token_text
    with pytest.raises(TokenInvalid):
        make().open(foreign, region=REGION)


def test_what_was_sealed_for_another_purpose_is_no_token() -> None:
    sealed = KEYS.seal("download-link", b"anything")
    with pytest.raises(TokenInvalid):
        make().open(base64.urlsafe_b64encode(sealed).decode().rstrip("="), region=REGION)


@given(text=st.text(max_size=300) | st.text("abcABC012_-=+/.", max_size=300))
def test_no_text_but_a_token_is_taken(text: str) -> None:
    with pytest.raises(TokenInvalid):
        make().open(text, region=REGION)


@given(data=st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    text = make().issue(CALLER, REGION).token_text
    position = data.draw(st.integers(0, len(text) - 2))  # the last character may hold unused bits
    drawn = data.draw(st.sampled_from("ABCxyz"))
    # Not filtered: the token is another one each time, and what is drawn must not hang on it.
    character = drawn.swapcase() if drawn == text[position] else drawn
    with pytest.raises(TokenInvalid):
        make().open(text[:position] + character + text[position + 1 :], region=REGION)


def test_a_text_longer_than_any_token_is_refused_unread() -> None:
    with pytest.raises(TokenInvalid):
        make().open("A" * (TOKEN_MAX_CHARACTERS + 1), region=REGION)


def test_a_token_that_was_opened_before_is_checked_again() -> None:
    clock = hand_clock()
    tokens = make(clock)
    text = tokens.issue(CALLER, REGION).token_text
    for _ in range(3):
        tokens.open(text, region=REGION)
    with pytest.raises(TokenInvalid):
        tokens.open(text, region="eu-west-1")
    clock.move(seconds=LIFETIME_SECONDS)
    with pytest.raises(TokenExpired):
        tokens.open(text, region=REGION)
