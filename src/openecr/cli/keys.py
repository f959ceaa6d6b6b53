"""`openecr keys`: the server's master keys, and their rotation."""

import sys
from typing import Any

import click
import msgspec

from openecr.cli.options import read_settings, setting_options
from openecr.cli.work import ask_work, run_work


@click.group()
def keys() -> None:
    """Rotate the master keys that everything secret is sealed under."""


@keys.command("add")
@setting_options()
def add_command(**flags: Any) -> None:
    """Make the next master key. It seals from the next start on; --sealing-key holds that up.

    A key for OPENECR_MASTER_KEYS is printed, and kept nowhere.
    """
    settings = read_settings(flags)
    from openecr.cli.control import ask
    from openecr.cli.offline import add_key
    from openecr.web.control import Command
    from openecr.web.work_commands import WorkCommand

    answer = ask(settings.data, Command(command="work", work=WorkCommand(command="add-key")))
    made = add_key(settings) if answer is None else answer["key"]
    if "setting" in made:
        click.echo("add this to OPENECR_MASTER_KEYS:", err=True)
        click.echo(made["setting"])
    else:
        click.echo(made["made"])


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_options(only=("data",))
def status(*, as_json: bool, **flags: Any) -> None:
    """Print which master keys the running server has, which one seals, and how many rows hang on each."""
    found = ask_work(read_settings(flags).data, "keys")["keys"]
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for key in found["keys"]:
        use = "seals" if key["number"] == found["sealing"] else "opens" if key["is_known"] else "is missing"
        click.echo(f"master key {key['number']} {use}: {key['rows']} rows")


@keys.command()
@setting_options(only=("data",))
def rewrap(**flags: Any) -> None:
    """Seal everything anew under the master key that seals now. Ends with status 1 where a row cannot be opened.

    Servers may run meanwhile; no blob is read or written.
    """
    report = run_work(read_settings(flags).data, ("rewrap-keys",))["rewrap-keys"]
    click.echo(
        f"{report['looked']} rows, {report['rewrapped']} sealed anew under master key {report['number']}, "
        f"{report['unopened']} unopened"
    )
    sys.exit(1 if report["unopened"] else 0)
