"""The page of settings, the flags of the command line and the table agree."""

from pathlib import Path

import click

from openecr.cli.main import cli
from openecr.cli.options import limit_defaults
from openecr.settings import SETTINGS, markdown

PAGE = Path(__file__).resolve().parents[3] / "docs" / "settings.md"


def flags_of(command: str) -> set[str]:
    options = [option for option in cli.commands[command].params if isinstance(option, click.Option)]
    return {flag for option in options for flag in (*option.opts, *option.secondary_opts)}


def test_the_page_is_what_the_command_prints() -> None:
    assert PAGE.read_text() == markdown(limit_defaults()), (
        "run: openecr settings --markdown > docs/settings.md"
    )


def test_every_setting_stands_on_the_page_with_flag_key_variable_and_description() -> None:
    page = PAGE.read_text()
    for setting in SETTINGS:
        assert setting.flag is None or f"`{setting.flag}`" in page
        assert f"| `{setting.toml_key}` | `{setting.variable}` |" in page
        assert setting.description.endswith(".")
        assert setting.description in page


def test_every_limit_stands_on_the_page() -> None:
    page = PAGE.read_text()
    for name, value in limit_defaults().items():
        assert f"| `{name}` | `OPENECR_{name.upper()}` | {value} |" in page


def test_names_are_used_once() -> None:
    variables = [setting.variable for setting in SETTINGS]
    variables += [f"OPENECR_{name.upper()}" for name in limit_defaults()]
    assert len(set(variables)) == len(variables)
    flags = [setting.flag for setting in SETTINGS if setting.flag is not None]
    assert len(set(flags)) == len(flags)


def test_serve_and_doctor_take_the_flag_of_every_setting() -> None:
    wanted = {setting.flag for setting in SETTINGS if setting.flag is not None} | {"--config"}
    for command in ("serve", "doctor", "settings"):
        assert wanted <= flags_of(command)
    switches = {setting.flag for setting in SETTINGS if setting.kind is bool and setting.flag is not None}
    assert {flag.replace("--", "--no-", 1) for flag in switches} <= flags_of("serve")
