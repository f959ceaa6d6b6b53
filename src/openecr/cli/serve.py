"""`openecr serve`: run the server."""

import sys
from typing import Any

import click

from openecr.cli.options import read_settings, setting_options


@click.command()
@setting_options()
def serve(**flags: Any) -> None:
    """Run the server until Ctrl-C or SIGTERM.

    The first start makes the data folder, the default account and one root access key.
    """
    settings = read_settings(flags)
    from openecr.adapters.logs import configure_logging
    from openecr.cli.announcement import announce
    from openecr.server import run

    configure_logging(log_format=settings.log_format, level=settings.log_level)
    sys.exit(run(settings, announce))
