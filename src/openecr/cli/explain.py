"""`openecr explain`: why somebody may, or may not, do a thing."""

from pathlib import Path
from typing import Any, cast

import click
import msgspec

from openecr.cli.options import read_settings, setting_options

_ALLOW, _EXPLICIT_DENY = "ALLOW", "EXPLICIT_DENY"


@click.command()
@click.option("--request", "request_id", default="", help="Id of a request that was denied.")
@click.option("--principal", default="", help="ARN of a root, user, role or role session.")
@click.option("--action", default="", help="Such as ecr:PutImage.")
@click.option("--resource", default="*", show_default=True, help="ARN of the resource.")
@click.option("--context", multiple=True, metavar="KEY=VALUE", help="A condition key of the request.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_options(only=("data",))
def explain(*, as_json: bool, context: tuple[str, ...], **flags: Any) -> None:
    """Print a verdict, the statement that decided, and what would have to change.

    Of a request that was denied it is that very decision; of a principal, action and resource the one that would be
    made now.
    """
    from openecr.cli.control import ask_server
    from openecr.web.control import Command, Question

    wanted = {name: flags.pop(name) for name in ("request_id", "principal", "action", "resource")}
    if not wanted["request_id"] and not (wanted["principal"] and wanted["action"]):
        raise click.UsageError("give --request, or --principal and --action")
    data: Path = read_settings(flags).data
    question = Question(**wanted, context=_keys(context))
    answer = ask_server(data, Command(command="explain", question=question))
    click.echo(msgspec.json.encode(answer).decode() if as_json else "\n".join(_lines(answer)))


def _keys(pairs: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"not KEY=VALUE: {pair}")
        found.setdefault(name, []).append(value)
    return found


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = [
        f"verdict    {_verdict(answer)}",
        f"principal  {answer['principal']}",
        f"action     {answer['action']}",
        f"resource   {answer['resource']}",
    ]
    if answer["statement"] is not None:
        lines.append(f"decided by {_statement(answer['statement'])}")
    lines += [f"context    {name} = {_text(value)}" for name, value in sorted(answer["context"].items())]
    return [*lines, f"to change  {_advice(answer)}"]


def _verdict(answer: dict[str, Any]) -> str:
    match answer["decision"]:
        case "ALLOW":
            return "allowed"
        case "EXPLICIT_DENY":
            return "denied by a statement"
        case _:
            return f"denied: no {answer['missing'] or 'identity-based'} policy allows it"


def _statement(statement: dict[str, Any]) -> str:
    name = f"'{statement['sid']}'" if statement["sid"] else f"number {statement['index'] + 1}"
    return f"statement {name} of the {statement['kind']} policy {statement['source']}"


def _text(value: object) -> str:
    return ", ".join(map(str, cast("list[object]", value))) if isinstance(value, list) else str(value)


def _advice(answer: dict[str, Any]) -> str:
    if answer["decision"] == _ALLOW:
        return "nothing"
    if answer["decision"] == _EXPLICIT_DENY:
        return "the statement that denies: no other policy can allow what it denies"
    missing = answer["missing"] or "identity-based"
    return f"allow {answer['action']} on {answer['resource']} in a policy of the kind '{missing}'"
