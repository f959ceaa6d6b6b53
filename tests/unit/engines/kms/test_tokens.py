"""Grant tokens name their grant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.registries import RegistryId
from openecr.engines.kms import grant_token, parse_grant_token

REGISTRY = RegistryId(account_id="000000000000", region="us-east-1")
KEY_ID = "0b1c2d3e-0000-4000-8000-123456789abc"


def test_a_token_names_its_grant() -> None:
    assert parse_grant_token(grant_token(REGISTRY, KEY_ID, "ab" * 32)) == (REGISTRY, KEY_ID, "ab" * 32)


@given(st.text(max_size=200))
def test_any_other_text_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_grant_token(text)
