"""`openecr accounts`: make and list accounts, give one a new root key."""

import datetime as dt
from typing import Any, Literal

import click
import msgspec

from openecr.cli.options import read_settings, setting_options

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_DATA = setting_options(only=("data", "database", "keys"))


@click.group()
def accounts() -> None:
    """Make and list accounts, and change their root keys.

    A live server does it, through a private socket in its data folder; else it is done here.
    """


@accounts.command()
@click.argument("account")
@_JSON
@_DATA
def create(*, account: str, as_json: bool, **flags: Any) -> None:
    """Make an account (twelve digits) and print its root access key."""
    _tell_key(_obey(flags, "account-create", account), as_json=as_json)


@accounts.command("rotate-key")
@click.argument("account")
@_JSON
@_DATA
def rotate_key(*, account: str, as_json: bool, **flags: Any) -> None:
    """Give an account a new root access key; the ones before stop working at once.

    The `env` file follows when it is the default account's.
    """
    _tell_key(_obey(flags, "account-rotate-key", account), as_json=as_json)


@accounts.command("list")
@_JSON
@_DATA
def list_accounts(*, as_json: bool, **flags: Any) -> None:
    """List the accounts and the ids of their root keys."""
    after: str | None = None
    while True:
        answer = _obey(flags, "account-list", after=after)
        for account in answer["accounts"]:
            click.echo(msgspec.json.encode(account).decode() if as_json else _line(account))
        after = answer["after"]
        if after is None:
            return


def _obey(
    flags: dict[str, Any],
    command: Literal["account-create", "account-list", "account-rotate-key"],
    account: str = "",
    after: str | None = None,
) -> dict[str, Any]:
    from openecr.cli.control import ask
    from openecr.web.control import Command

    settings = read_settings(flags)
    question = Command(command=command, account=account, after=after)
    answer = ask(settings.data, question)
    if answer is None:
        from openecr.cli.offline import obey

        answer = obey(settings, question)
    return answer


def _tell_key(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(answer).decode())
        return
    click.echo(f"account            {answer['account']}")
    click.echo(f"access key id      {answer['access_key_id']}")
    click.echo(f"secret access key  {answer['secret_access_key']}")


def _line(account: dict[str, Any]) -> str:
    created = dt.datetime.fromtimestamp(account["created_at"] // 1_000_000, tz=dt.UTC)
    keys = ", ".join(account["access_key_ids"]) or "no active key"
    default = "  (default)" if account["is_default"] else ""
    return f"{account['account']}  {created:%Y-%m-%d %H:%M:%S}Z  {keys}{default}"
