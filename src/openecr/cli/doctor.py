"""`openecr doctor`: checks what goes wrong, and says the mend."""

import sys
from typing import Any

import click

from openecr.cli.options import read_settings, setting_options


@click.command()
@setting_options()
def doctor(**flags: Any) -> None:
    """Check port, data folder, names, clock, disk space and TLS, with the flags that `serve` is given.

    Each line says ok, note or problem; a problem comes with its mend and makes the exit status 1.
    """
    settings = read_settings(flags)
    from openecr.cli.checks import Level, examine

    found_problem = False
    for finding in examine(settings):
        click.echo(f"{finding.level.value:8} {finding.text}")
        if finding.mend:
            click.echo(f"{'':8} mend: {finding.mend}")
        found_problem = found_problem or finding.level is Level.PROBLEM
    sys.exit(1 if found_problem else 0)
