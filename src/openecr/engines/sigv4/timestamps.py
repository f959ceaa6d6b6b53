"""The one time format of Signature Version 4, `YYYYMMDDTHHMMSSZ`, and microseconds since the epoch."""

import re
from datetime import UTC, datetime, timedelta

MICROSECONDS = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BASIC = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z")
# IMF-fixdate, RFC 9110 section 5.6.7: what a `Date` header holds.
_FIXDATE = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) (?:GMT|UTC)"
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        [
            "Jan",
            "Feb",
            "Mar",
            "Apr",
            "May",
            "Jun",
            "Jul",
            "Aug",
            "Sep",
            "Oct",
            "Nov",
            "Dec",
        ],
        start=1,
    )
}


def read_timestamp(value: str) -> tuple[str, int] | None:
    """Read a basic-format or HTTP date as (basic format, microseconds), or None when it is neither."""
    text = value.strip()
    match = _BASIC.fullmatch(text)
    if match:
        year, month, day, hour, minute, second = (int(part) for part in match.groups())
    else:
        match = _FIXDATE.fullmatch(text)
        if not match or match[2] not in _MONTHS:
            return None
        day, month, year = int(match[1]), _MONTHS[match[2]], int(match[3])
        hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    try:
        instant = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    instant_at = (instant - _EPOCH) // timedelta(microseconds=1)
    return write_timestamp(instant_at), instant_at


def write_timestamp(instant_at: int) -> str:
    """Write microseconds as `YYYYMMDDTHHMMSSZ`, cut to whole seconds and to the years 1 to 9999."""
    seconds = max(-62_135_596_800, min(instant_at // MICROSECONDS, 253_402_300_799))
    instant = _EPOCH + timedelta(seconds=seconds)
    # strftime does not pad small years on every platform.
    return f"{instant.year:04d}{instant:%m%dT%H%M%SZ}"
