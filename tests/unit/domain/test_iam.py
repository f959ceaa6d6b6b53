"""Ids and ARNs of IAM."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.iam import (
    ACCESS_KEY_RANDOM_BYTES,
    UNIQUE_ID_RANDOM_BYTES,
    EntityKind,
    access_key_id,
    account_of_access_key,
    entity_arn,
    policy_arn,
    root_arn,
    unique_id,
)

ACCOUNTS = st.integers(min_value=0, max_value=10**12 - 1).map(lambda number: f"{number:012}")


def test_the_published_key_tells_its_account() -> None:
    """The example of the researchers who found out how keys hold accounts."""
    assert account_of_access_key("ASIAQNZGKIQY56JQ7WML") == "029608264753"


@given(account_id=ACCOUNTS, random=st.binary(min_size=5, max_size=5))
def test_a_key_tells_its_account(account_id: str, random: bytes) -> None:
    key_id = access_key_id("AKIA", account_id, random)

    assert re.fullmatch("AKIA[A-Z2-7]{16}", key_id)
    assert account_of_access_key(key_id) == account_id


@given(first=st.binary(min_size=5, max_size=5), second=st.binary(min_size=5, max_size=5))
def test_keys_are_as_different_as_what_was_drawn_but_for_one_bit(first: bytes, second: bytes) -> None:
    """The bit that tells an odd account from an even one takes the place of a random one."""
    same = access_key_id("AKIA", "000000000000", first) == access_key_id("AKIA", "000000000000", second)

    assert same == (first[0] & 0x7F == second[0] & 0x7F and first[1:] == second[1:])


@pytest.mark.parametrize(
    "key_id",
    [
        "",
        "AKIA",
        "AKIAIOSFODNN7EXAMPL1",
        "AKIAAAAAAAAAAAAAAAAA",
        "AKIA7777777777777777",
        "AKIAQNZGKIQY56JQ7WMLX",
    ],
)
def test_a_key_that_holds_no_account_tells_none(key_id: str) -> None:
    assert account_of_access_key(key_id) is None


@given(random=st.binary(min_size=UNIQUE_ID_RANDOM_BYTES, max_size=UNIQUE_ID_RANDOM_BYTES))
def test_unique_ids_are_a_prefix_and_seventeen_characters(random: bytes) -> None:
    for kind in EntityKind:
        assert re.fullmatch(f"{kind.id_prefix}[A-Z2-7]{{17}}", unique_id(kind.id_prefix, random))


def test_so_many_bytes_are_drawn() -> None:
    assert ACCESS_KEY_RANDOM_BYTES == 5
    assert UNIQUE_ID_RANDOM_BYTES * 8 >= 17 * 5


def test_arns_hold_the_path() -> None:
    account_id = "111111111111"

    assert root_arn(account_id) == "arn:aws:iam::111111111111:root"
    assert entity_arn(EntityKind.USER, account_id, "alice") == "arn:aws:iam::111111111111:user/alice"
    assert (
        entity_arn(EntityKind.ROLE, account_id, "ci", path="/a/b/") == "arn:aws:iam::111111111111:role/a/b/ci"
    )
    assert policy_arn(account_id, "push", path="/a/") == "arn:aws:iam::111111111111:policy/a/push"
