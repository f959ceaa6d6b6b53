"""`openecr database copy`: move an embedded server to PostgreSQL."""

from typing import Any

import click

from openecr.cli.options import read_settings


@click.group()
def database() -> None:
    """Move the database of a server."""


@database.command()
@click.option(
    "--from", "data", metavar="FOLDER", required=True, help="Data folder of a server that is stopped."
)
@click.option("--to", "url", metavar="URL", required=True, help="An empty PostgreSQL: postgresql://...")
@click.option("--config", metavar="FILE", help="TOML file with settings.  [variable: OPENECR_CONFIG]")
@click.option("--trial", is_flag=True, help="The folder's database may be used again afterwards.")
@click.option(
    "--abandon", is_flag=True, help="Give up a copy that was broken off; nothing of it may have arrived."
)
def copy(*, data: str, url: str, config: str | None, trial: bool, abandon: bool) -> None:
    """Copy what SQLite in a data folder holds to an empty PostgreSQL, all of it or nothing.

    Keys and blobs stay where they are. The folder's own database is not used any more: two servers that collect
    apart from each other would remove each other's blobs. A copy that was broken off is ended by the same command.
    """
    from openecr.cli import moving

    flags: dict[str, Any] = {"data": data, "database": url, "config": config}
    settings = read_settings(flags)
    if abandon:
        moving.abandon(settings)
        click.echo(f"Given up. As before:  openecr serve --data {data}")
        return
    copied = moving.move(settings, is_trial=trial)
    if copied is None:
        click.echo(f"Everything was copied before. From now on:  openecr serve --data {data} --database URL")
        return
    for table, count in copied.counts.items():
        click.echo(f"{table:20} {count:>12,}")
    for column, count in copied.mended.items():
        click.echo(
            f"{column}: {count:,} texts held the character NUL, and have \N{REPLACEMENT CHARACTER} there now"
        )
    if trial:
        click.echo(
            "Copied. A server on it must not work with the blobs of the folder, or of --blobs, while the folder's own "
            "server goes on: each would remove what the other needs. Give it a copy of them."
        )
    else:
        click.echo(f"Copied. From now on:  openecr serve --data {data} --database URL")
