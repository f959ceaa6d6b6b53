"""`openecr audit`: read the audit trail."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import click
import msgspec

from openecr.cli.options import read_settings, setting_options

_AGO = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Instant(click.ParamType[int]):
    """An instant, or how long ago it was; microseconds since the epoch, UTC."""

    name = "instant"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `2026-01-31`, `2026-01-31T12:00:00Z` or `90m` (s, m, h, d)."""
        try:
            return _instant(value)
        except (ValueError, OverflowError):
            expected = "an instant such as 2026-01-31T12:00:00Z or an age such as 90m"
            return self.fail(f"{value!r} is not {expected}", param, ctx)


def _instant(text: str) -> int:
    ago = _AGO.fullmatch(text)
    if ago is not None:
        from openecr.adapters.clocks import SystemClock

        age = dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return SystemClock().now() - age // dt.timedelta(microseconds=1)
    found = dt.datetime.fromisoformat(text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=dt.UTC)
    return (found - _EPOCH) // dt.timedelta(microseconds=1)


@click.command()
@click.option("--since", type=_Instant(), default="1d", show_default=True, help="Instant (UTC) or age.")
@click.option("--until", type=_Instant(), help="Instant (UTC) or age.")
@click.option("--principal", help="ARN, user or session name, or access key of who called.")
@click.option("--repository", help="Name or ARN of a repository.")
@click.option("--account", default="", help="Account whose events are wanted.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print each event as a line of JSON, in CloudTrail's form."
)
@setting_options(only=("data",))
def audit(*, as_json: bool, **flags: Any) -> None:
    """Print who did what, the oldest first: calls, logins, pushes, pulls, deletions and denials."""
    from openecr.cli.control import ask_server
    from openecr.web.control import Command

    wanted = {name: flags.pop(name) for name in ("since", "until", "principal", "repository", "account")}
    data: Path = read_settings(flags).data
    after: str | None = None
    while True:
        answer = ask_server(data, Command(command="audit", after=after, **wanted))
        for event in answer["events"]:
            click.echo(msgspec.json.encode(event).decode() if as_json else _line(event))
        after = answer["after"]
        if after is None:
            return


def _line(event: dict[str, Any]) -> str:
    identity = event["userIdentity"]
    resources = " ".join(resource["ARN"] for resource in event["resources"])
    told = (
        event["eventTime"],
        event["sourceIPAddress"],
        identity.get("arn", identity.get("invokedBy")),
        event["eventName"],
        resources or "-",
        event.get("errorCode", "ok"),
        event["requestID"],
    )
    return "  ".join(map(str, told))
