"""Tag mutability and its wildcard filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.repositories import TagMutability, TagMutabilitySetting, wildcard_matches

TAGS = st.text(alphabet="ab.-_*", max_size=8)


@pytest.mark.parametrize(
    ("mode", "is_immutable"),
    [
        (TagMutability.MUTABLE, {"dev-1": False, "v1": False}),
        (TagMutability.IMMUTABLE, {"dev-1": True, "v1": True}),
        (TagMutability.IMMUTABLE_WITH_EXCLUSION, {"dev-1": False, "v1": True}),
        (TagMutability.MUTABLE_WITH_EXCLUSION, {"dev-1": True, "v1": False}),
    ],
)
def test_exclusion_filters_turn_the_mode_around(mode: TagMutability, is_immutable: dict[str, bool]) -> None:
    filters = ("dev-*",) if mode.takes_filters else ()
    setting = TagMutabilitySetting(mode=mode, exclusion_filters=filters)

    assert {tag: setting.is_immutable(tag) for tag in is_immutable} == is_immutable


@given(pattern=TAGS, tag=TAGS)
def test_wildcards_agree_with_a_naive_matcher(pattern: str, tag: str) -> None:
    def naive(pattern: str, tag: str) -> bool:
        if not pattern:
            return not tag
        if pattern[0] == "*":
            return any(naive(pattern[1:], tag[start:]) for start in range(len(tag) + 1))
        return bool(tag) and tag[0] == pattern[0] and naive(pattern[1:], tag[1:])

    assert wildcard_matches(pattern, tag) == naive(pattern, tag)


def test_a_pattern_matches_the_whole_tag() -> None:
    assert not wildcard_matches("v1", "v1\n")
    assert not wildcard_matches("v", "v1")
