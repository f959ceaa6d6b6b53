"""`openecr migrate`: bring the schema of a PostgreSQL up to date."""

import sys
from typing import Any

import click

from openecr.cli.options import read_settings, setting_options


@click.command()
@click.option(
    "--check", is_flag=True, help="Change nothing; the exit status is 1 where something is to be done."
)
@click.option(
    "--blocking-seconds",
    type=click.IntRange(1, 3600),
    default=30,
    show_default=True,
    help="How long servers may have to wait for tables that are changed; a migration that takes longer is undone.",
)
@setting_options(only=("data", "database"))
def migrate(*, check: bool, blocking_seconds: int, **flags: Any) -> None:
    """Bring the schema of a PostgreSQL up to date.

    Servers of the last release may run, stop and start meanwhile and afterwards; where those of an older one could not
    start any more, this says so. Requests may wait while tables are changed. Nothing that is stored is lost; an upload
    under way may be told that it is unknown where a migration makes its table anew, and is begun again. It may be run
    again, and by several at once: each waits for the one before. SQLite needs no such command: a server does it when it
    starts.
    """
    import asyncio

    from openecr.settings import SettingsError
    from openecr.store.postgres_migrating import (
        SchemaState,
        examine_postgresql,
        migrate_postgresql,
        shuts_out_older,
    )

    url = read_settings(flags).database
    if url is None:
        raise SettingsError(
            message="which database? Give --database URL (SQLite is migrated by `openecr serve`)"
        )
    if asyncio.run(shuts_out_older(url.text)):
        click.echo(
            "warning: servers of the version that made this schema go on, but cannot start again on the new one: "
            "replace them soon",
            err=True,
        )
    found = asyncio.run(
        examine_postgresql(url.text)
        if check
        else migrate_postgresql(url.text, blocking_seconds=blocking_seconds)
    )
    is_behind = found in {SchemaState.EMPTY, SchemaState.OLDER}
    told = {
        SchemaState.EMPTY: "is not made yet" if check else "was made",
        SchemaState.OLDER: "is an earlier version's" if check else "was brought up to date",
        SchemaState.NEWER: "is a newer version's, which this one can work with",
        SchemaState.CURRENT: "is up to date",
    }
    click.echo(f"the schema of {url} {told[found]}")
    sys.exit(1 if check and is_behind else 0)
