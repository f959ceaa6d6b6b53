"""Keys of tags."""

import pytest

from openecr.domain.iam_errors import InvalidInput
from openecr.domain.iam_tags import checked_tags


def test_tags_are_kept_in_their_order() -> None:
    assert list(checked_tags([("team", "a"), ("Stage", "")]).items()) == [("team", "a"), ("Stage", "")]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("Team", "team"), "Duplicate tag keys found"),
        (("team", "team"), "Duplicate tag keys found"),
        (("aws:team",), "reserved"),
        (("AWS:team",), "reserved"),
    ],
)
def test_keys_differ_by_more_than_case_and_are_not_reserved(keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        checked_tags((key, "x") for key in keys)
