"""The models' patterns, read as Java reads them."""

import itertools
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.web.aws.model import read_published_model
from openecr.web.aws.patterns import matches
from tests.unit.web.aws.oracle import SERVED

SCANNING_FILTER = r"^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$"
REPOSITORY = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
TAG_KEY = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+"
SESSION_POLICY = r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+"


def published_patterns() -> list[str]:
    models = [msgspec.json.decode(read_published_model(service)) for service in SERVED]
    return sorted(
        {shape["pattern"] for raw in models for shape in raw["shapes"].values() if "pattern" in shape}
    )


@pytest.mark.parametrize("name", ["a", "1", "a__b", "a--b", "a.b/c_d/e-f", "a---b", "a" * 256])
def test_a_repository_name_of_ecr_matches(name: str) -> None:
    assert matches(REPOSITORY, name)


@pytest.mark.parametrize(
    "name", ["", "A", "a___b", "a..b", "a._b", "/a", "a/", "a//b", "a\n", "\u0661", "a-", "\u017f"]
)
def test_another_name_does_not_match(name: str) -> None:
    assert not matches(REPOSITORY, name)


def test_a_match_is_of_the_whole_text() -> None:
    assert not matches("[0-9]{12}", "0123456789012")
    assert not matches("^a$", "a\n")


def test_classes_are_ascii() -> None:
    assert not matches(r"[\w]+", "\u00e9")
    assert not matches(r"[\d]*", "\u0663")


def test_unicode_categories_are_translated() -> None:
    assert matches(TAG_KEY, "caf\u00e9 \u4e2d\U00020000\u0663\u2028")
    assert not matches(TAG_KEY, "a!")
    assert not matches(TAG_KEY, "\u0301")


def test_a_session_policy_may_hold_any_character_beyond_the_first_plane() -> None:
    assert matches(SESSION_POLICY, "\U0001f600\U0010ffff")
    assert not matches(SESSION_POLICY, "\x00")


def test_the_pattern_rewritten_for_speed_accepts_the_same() -> None:
    for length in range(7):
        for letters in itertools.product("a*-/A", repeat=length):
            text = "".join(letters)
            assert matches(SCANNING_FILTER, text) == bool(re.fullmatch(SCANNING_FILTER, text)), text


@given(
    unit=st.text("a0*._-/:@+=, Z\u00e9", min_size=1, max_size=4),
    tail=st.sampled_from(["!", "\n", "-", "/", " "]),
)
@pytest.mark.parametrize("pattern", published_patterns())
def test_no_text_makes_a_pattern_search_for_ages(pattern: str, unit: str, tail: str) -> None:
    # A pattern that backtracks exponentially would not come back from this within the test's time-out.
    assert matches(pattern, unit * 100 + tail) in {True, False}
