"""`openecr status` and `openecr stop`: about the server that runs on a data folder."""

from typing import Any

import click

from openecr.cli.options import read_settings, setting_options
from openecr.domain.errors import OperatorError


def _ask(flags: dict[str, Any], name: str) -> dict[str, Any]:
    from openecr.cli.control import ask
    from openecr.web.control import Command

    data = read_settings(flags).data
    answer = ask(data, Command(command="stop" if name == "stop" else "status"))
    if answer is None:
        raise OperatorError(message=f"no server runs on {data}")
    return answer


@click.command()
@setting_options(only=("data",))
def status(**flags: Any) -> None:
    """Say what the running server is; fails where none runs."""
    for name, value in _ask(flags, "status").items():
        click.echo(f"{name}: {value}")


@click.command()
@setting_options(only=("data",))
def stop(**flags: Any) -> None:
    """Stop the running server, as SIGTERM does."""
    _ask(flags, "stop")
    click.echo("stopping")
