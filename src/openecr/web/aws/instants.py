"""Instants as ISO 8601 text, the query protocol's form. Inside they are microseconds since the epoch, UTC."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXTENDED = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})"
)


def instant_from_text(text: str) -> int | None:
    """Read ISO 8601 with a zone (`2026-01-01T00:00:00Z`, fractions cut to microseconds), or None."""
    match = _EXTENDED.fullmatch(text)
    if match is None:
        return None
    if match[1] is not None:
        text = text.replace(match[1], f".{match[1][1:7]:0<6}", 1)
    try:
        instant = datetime.fromisoformat(text)
        return (instant.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


def instant_to_text(instant_at: int) -> str:
    """Write whole seconds with `Z`, as AWS's query services do. The year must be within 1 and 9999."""
    instant = _EPOCH + timedelta(seconds=instant_at // 1_000_000)
    return f"{instant.year:04d}{instant:-%m-%dT%H:%M:%SZ}"
