"""`openecr env`: what a shell needs so that AWS clients reach the server."""

import shlex
from typing import Any

import click

from openecr.cli.options import read_settings, setting_options

UNSET = ("AWS_SESSION_TOKEN", "AWS_PROFILE")
"""Variables that would lead clients to other credentials."""


@click.command()
@setting_options(only=("data",))
def env(**flags: Any) -> None:
    r"""Print variables for AWS clients, as shell commands.

    \b
    Use it so:  eval "$(openecr env)"

    The AWS CLI, boto3 and Terraform then talk to this server as the root of its default account. The AWS CLI v2
    before 2.13 ignores AWS_ENDPOINT_URL: give it --endpoint-url "$AWS_ENDPOINT_URL".
    """
    from openecr.adapters.env_file import read_environment

    settings = read_settings(flags)
    for name, value in read_environment(settings.data).variables().items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"unset {' '.join(UNSET)}")
