"""Tags of IAM: what their keys may be. Lengths and characters are the service model's to check."""

from collections.abc import Iterable

from openecr.domain.iam_errors import InvalidInput

_RESERVED_PREFIX = "aws:"


def checked_tags(tags: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return tags by key. Raises InvalidInput for reserved keys, and for keys that differ by letter case alone."""
    found: dict[str, str] = {}
    for key, value in tags:
        if key.lower().startswith(_RESERVED_PREFIX):
            raise InvalidInput(message="Tag keys beginning with 'aws:' are reserved.")
        if key.lower() in {each.lower() for each in found}:
            raise InvalidInput(
                message="Duplicate tag keys found. Please note that Tag keys are case insensitive."
            )
        found[key] = value
    return found
