"""`openecr`: the group of commands, and what every command's failure looks like."""

from typing import Any

import click

from openecr import __version__
from openecr.cli.accounts import accounts
from openecr.cli.audit import audit
from openecr.cli.database import database
from openecr.cli.doctor import doctor
from openecr.cli.env import env
from openecr.cli.explain import explain
from openecr.cli.keys import keys
from openecr.cli.migrate import migrate
from openecr.cli.policies import policies
from openecr.cli.running import status, stop
from openecr.cli.serve import serve
from openecr.cli.settings import settings_command
from openecr.cli.work import blobs, gc, jobs, scrub, worker
from openecr.domain.errors import OperatorError
from openecr.settings import SettingsError

USAGE_STATUS = 2


class OperatorGroup(click.Group):
    """Tells what cannot be done in one line, never by a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- as Click has it
        """Run the command."""
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            click.echo(f"openecr: {error.message}", err=True)
            ctx.exit(USAGE_STATUS if isinstance(error, SettingsError) else 1)


@click.group(cls=OperatorGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openecr")
def cli() -> None:
    """Amazon ECR that you run yourself."""


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


for command in (
    serve,
    env,
    accounts,
    audit,
    blobs,
    database,
    doctor,
    explain,
    gc,
    jobs,
    keys,
    migrate,
    policies,
    scrub,
    settings_command,
    status,
    stop,
    version,
    worker,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    cli(prog_name="openecr")
