"""`openecr settings`: the settings in force, or the page that documents them."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import msgspec

from openecr.cli.options import limit_defaults, read_settings, setting_options
from openecr.settings import SETTINGS, DatabaseUrl, S3Place, markdown


@click.command("settings")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print docs/settings.md instead.")
@setting_options()
def settings_command(*, as_markdown: bool, **flags: Any) -> None:
    """Print the settings in force."""
    if as_markdown:
        click.echo(markdown(limit_defaults()), nl=False)
        return
    settings = read_settings(flags)
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    for setting in SETTINGS:
        value = values[setting.name]
        if value is None:
            continue
        if isinstance(value, Path | S3Place | DatabaseUrl):
            value = str(value)
        elif setting.is_secret:
            value = "(secret)" if value else value
        shown = msgspec.json.encode(value).decode()
        click.echo(f"{setting.toml_key} = {shown}")
    for name, limit in {**limit_defaults(), **settings.limits}.items():
        click.echo(f"limits.{name} = {limit}")
