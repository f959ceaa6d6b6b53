"""`openecr jobs`, `gc`, `scrub`, `blobs` and `worker`: background work, seen and moved by the operator."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from openecr.cli.options import read_settings, setting_options
from openecr.domain.errors import OperatorError
from openecr.settings import SETTINGS, S3Place

_POLL_SECONDS = 0.5
_LISTED_MAX = 1000
_STATES = ("dead", "running", "ready")
_TOLD_EVERY = 1000
_S3 = tuple(setting.name for setting in SETTINGS if setting.name.startswith("s3_"))
COLLECTION = ("purge-repositories", "expire-uploads", "expire-sessions", "collect-blobs", "remove-bytes")
"""In the order in which one leaves work to the next."""

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_SECOND = 1_000_000


@click.group()
def jobs() -> None:
    """See background work, and what failed."""


@jobs.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Print those of one state only.")
@_AS_JSON
@setting_options(only=("data",))
def list_jobs(*, state: str | None, as_json: bool, **flags: Any) -> None:
    """Print jobs, dead ones first: id, kind, state, attempts, when each runs, and its last error.

    At most a thousand are printed.
    """
    found = _listed(read_settings(flags).data, _STATES if state is None else (state,))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for job in found:
        told = (job["id"], job["kind"], job["state"], job["attempts"], _instant(job["run_at"]))
        click.echo("  ".join(map(str, (*told, job["last_error"] or "-"))))


@jobs.command()
@click.argument("job", type=click.IntRange(1))
@setting_options(only=("data",))
def retry(*, job: int, **flags: Any) -> None:
    """Try a dead job again."""
    ask_work(read_settings(flags).data, "retry", job=job)


@jobs.command()
@click.argument("job", type=click.IntRange(1))
@setting_options(only=("data",))
def cancel(*, job: int, **flags: Any) -> None:
    """Remove a job; who runs it loses it."""
    ask_work(read_settings(flags).data, "cancel", job=job)


@jobs.command("run")
@click.argument("kind")
@setting_options(only=("data",))
def run_kind(*, kind: str, **flags: Any) -> None:
    """Do now what is done again and again, and wait for its end."""
    run_work(read_settings(flags).data, (kind,))


@click.command()
@click.option("--run", "runs", is_flag=True, help="Remove it, and wait until it is gone.")
@_AS_JSON
@setting_options(only=("data",))
def gc(*, runs: bool, as_json: bool, **flags: Any) -> None:
    """Print what collection would remove now: deleted repositories, late uploads, and blobs that no image needs."""
    data = read_settings(flags).data
    found = ask_work(data, "garbage")["garbage"]
    click.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(_garbage(found)))
    if runs:
        for kind in COLLECTION:
            click.echo(f"{kind} ...", err=True)
            run_work(data, (kind,))
        click.echo("\n".join(["left:", *_garbage(ask_work(data, "garbage")["garbage"])]), err=True)


@click.command()
@setting_options(only=("data",))
def scrub(**flags: Any) -> None:
    """Read every blob again and compare it with its digest. Ends with status 1 where one is lost or unreadable.

    A lost blob answers 404 until it is uploaded again, or found again: lost ones are read too. An unreadable one could
    not be read now: the store failed, or the key of its repository is disabled.
    """
    data = read_settings(flags).data
    report = run_work(data, ("scrub",))["scrub"]
    click.echo(
        f"{report['checked']} blobs, {report['checked_bytes']} bytes, {report['unreadable']} unreadable, "
        f"{report['lost_count']} lost, {report['found_again']} found again"
    )
    for digest in report["lost"]:
        click.echo(f"lost {digest}")
    sys.exit(1 if report["lost_count"] or report["unreadable"] else 0)


@click.group()
def blobs() -> None:
    """Look after stored bytes."""


@blobs.command()
@click.option("--remove-orphans", is_flag=True, help="Let the next collection remove what nobody names.")
@setting_options(only=("data",))
def audit(*, remove_orphans: bool, **flags: Any) -> None:
    """Compare the blob store with the database. Ends with status 1 where bytes are missing, too few or too many.

    Orphans are stored bytes that no row of the database names. After a database was restored from a backup they may
    be of images that the backup does not know.
    """
    data = read_settings(flags).data
    if remove_orphans:
        begun = ask_work(data, "remove-orphans")
        _follow(data, ("remove-orphans",), begun["patience_seconds"], until=lambda found: not found)
        run_work(data, ("remove-bytes",))
    report = run_work(data, ("audit-blobs",))["audit-blobs"]
    click.echo(
        f"{report['stored']} locations, {report['orphans']} orphans; {report['blobs']} blobs, "
        f"{report['missing_count']} missing, {report['damaged_count']} damaged, {report['lost_count']} lost"
    )
    for location in report["orphans_told"]:
        click.echo(f"orphan {location}")
    for word in ("missing", "damaged", "lost"):
        for digest in report[word]:
            click.echo(f"{word} {digest}")
    sys.exit(1 if any(report[f"{word}_count"] for word in ("missing", "damaged", "lost")) else 0)


@blobs.command("copy")
@click.option("--from", "source", required=True, metavar="PLACE", help="A folder, or s3://bucket/prefix.")
@click.option("--to", "target", required=True, metavar="PLACE", help="A folder, or s3://bucket/prefix.")
@setting_options(only=("data", *_S3))
def copy_command(*, source: str, target: str, **flags: Any) -> None:
    """Copy blobs from one store to another while servers run, and read each back. Ends with status 1 where one failed.

    Start all servers and workers anew with --blobs FROM --blobs-old TO: where there are several, each must read from
    both before the first of them writes to TO. Then start them with --blobs TO --blobs-old FROM, and run this until it
    says that TO is complete: only then it may be used alone, and --blobs-old is left out.
    """
    settings = read_settings(flags)
    from openecr.server import copy

    report = copy(settings, _place(source, must_exist=True), _place(target, must_exist=False), _copied)
    click.echo(f"{report.found} locations, {report.copied} copied ({report.copied_bytes} bytes)")
    for failure in report.failed:
        click.echo(f"failed {failure}")
    click.echo(
        f"complete: {target} may be used alone, without --blobs-old"
        if report.is_complete
        else f"not complete: start with --blobs {target} --blobs-old {source}, and run this again"
    )
    sys.exit(1 if report.failed_count else 0)


def _place(text: str, *, must_exist: bool) -> Path | S3Place:
    from openecr.settings import place_of

    try:
        place = place_of(Path.cwd(), text)
    except ValueError as error:
        raise OperatorError(message=f"{text}: {error}") from error
    if must_exist and isinstance(place, Path) and not place.is_dir():
        raise OperatorError(message=f"there is no folder {place}")
    return place


def _copied(report: Any) -> None:  # noqa: ANN401 -- its class is imported when it is needed
    if report.found % _TOLD_EVERY == 0:
        click.echo(f"{report.found} locations, {report.copied} copied ...", err=True)


@click.command()
@setting_options()
def worker(**flags: Any) -> None:
    """Do background work of a PostgreSQL database without serving, until Ctrl-C or SIGTERM."""
    settings = read_settings(flags)
    from openecr.adapters.logs import configure_logging
    from openecr.server import run_worker

    configure_logging(log_format=settings.log_format, level=settings.log_level)
    sys.exit(run_worker(settings))


def run_work(data: Path, kinds: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Let schedules run now, wait until each has ended once more, and return their payloads by kind.

    Raises OperatorError where one fails, or nobody works.
    """
    begun = ask_work(data, "run", kinds=kinds)
    before = {job["kind"]: job["ended_at"] for job in begun["jobs"]}

    def have_ended(found: Mapping[str, dict[str, Any]]) -> bool:
        return all(found[kind]["ended_at"] != before[kind] for kind in kinds)

    found = _follow(data, kinds, begun["patience_seconds"], until=have_ended)
    return {kind: found[kind]["payload"] for kind in kinds}


def _follow(
    data: Path,
    kinds: tuple[str, ...],
    patience_seconds: float,
    *,
    until: Callable[[Mapping[str, dict[str, Any]]], bool],
) -> Mapping[str, dict[str, Any]]:
    """Look at jobs until they stand as wanted. Whoever works on one renews its lease, or has it end.

    So does whoever works on another job of the kind, which may have to end before.
    """
    seen: dict[str, Any] = {}
    seen_at = time.monotonic()
    while True:
        watched = ask_work(data, "watch", kinds=kinds)
        found = {job["kind"]: job for job in watched["jobs"]}
        if until(found):
            return found
        for kind, job in found.items():
            if job["last_error"] is not None:
                raise OperatorError(
                    message=f"{kind} has failed: {job['last_error']} (it is tried again at {_instant(job['run_at'])})"
                )
        if watched != seen:
            seen, seen_at = watched, time.monotonic()
        elif time.monotonic() - seen_at > patience_seconds:
            raise OperatorError(
                message=f"nobody has worked on {', '.join(found)} for {patience_seconds:.0f} seconds: "
                "is there a worker (`serve --worker`, or `openecr worker`)?"
            )
        time.sleep(_POLL_SECONDS)


def _listed(data: Path, states: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for state in states:
        after = 0
        while len(found) < _LISTED_MAX and (page := ask_work(data, "list", state=state, after=after)["jobs"]):
            found += page
            after = page[-1]["id"]
    return found[:_LISTED_MAX]


def ask_work(data: Path, command: Any, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 -- one of the commands' words
    """Ask the live server about background work. Raises OperatorError."""
    from openecr.cli.control import ask_server
    from openecr.web.control import Command
    from openecr.web.work_commands import WorkCommand

    return ask_server(data, Command(command="work", work=WorkCommand(command=command, **parameters)))


def _garbage(found: dict[str, Any]) -> list[str]:
    return [
        f"deleted repositories  {found['repositories']}",
        f"late uploads          {found['uploads']}",
        f"links                 {found['links']}",
        *(f"blobs in {region}    {count} ({size} bytes)" for region, (count, size) in found["blobs"].items()),
        f"bytes to remove now   {found['doomed']} locations ({found['doomed_later']} later)",
    ]


def _instant(microseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(microseconds / _SECOND))
