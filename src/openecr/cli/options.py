"""Flags, made from the table of settings, and the settings they lead to."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from openecr.application.limits import AT_LEAST_ONE, Limits
from openecr.settings import CONFIG_VARIABLE, SETTINGS, Setting, Settings, load

Command = TypeVar("Command", bound=Callable[..., Any])


def setting_options(only: Collection[str] | None = None) -> Callable[[Command], Command]:
    """Give a command `--config` and the flags of all settings, or of some."""
    wanted = [setting for setting in SETTINGS if setting.flag and (only is None or setting.name in only)]

    def decorate(command: Command) -> Command:
        config = click.option(
            "--config", metavar="FILE", help=f"TOML file with settings.  [variable: {CONFIG_VARIABLE}]"
        )
        for decorator in [*(_option(setting) for setting in reversed(wanted)), config]:
            command = decorator(command)
        return command

    return decorate


def read_settings(flags: Mapping[str, Any]) -> Settings:
    """Put the settings together. Raises SettingsError."""
    return load(flags, os.environ, limits=limit_defaults(), at_least_one=AT_LEAST_ONE)


def limit_defaults() -> dict[str, int]:
    """Return the names and defaults of what `[limits]` may change."""
    return asdict(Limits())


def _option(setting: Setting) -> Callable[[Command], Command]:
    """Make one flag. Its value stays a string: the settings convert and check it, wherever it came from."""
    assert setting.flag is not None
    text = f"{setting.description.replace('`', '')}  [variable: {setting.variable}]"
    if setting.kind is bool:
        negative = setting.flag.replace("--", "--no-", 1)
        return click.option(f"{setting.flag}/{negative}", setting.name, default=None, help=text)
    if setting.is_list:
        return click.option(setting.flag, setting.name, multiple=True, metavar="TEXT", help=text)
    return click.option(setting.flag, setting.name, metavar=_metavar(setting), help=text)


def _metavar(setting: Setting) -> str:
    if get_origin(setting.kind) is Literal:
        return "|".join(get_args(setting.kind))
    if setting.name in {"data", "tls_cert", "tls_key"}:
        return "PATH"
    return "TEXT" if setting.kind is str else "NUMBER"
