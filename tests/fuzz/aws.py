"""Requests for the AWS face: parameters bent out of shape, and heads and signatures that do not hold."""

import json
from pathlib import Path
from typing import Any, cast

from tests.fuzz.arsenal import FUZZED, HELLO, KEPT, LAYERS, SAMPLES, digest
from tests.fuzz.dice import Dice
from tests.fuzz.requests import Pairs, Shot

_SEEDS: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("seeds").joinpath("aws.json").read_text()
)
_PREFIX = "AmazonEC2ContainerRegistry_V20150921."
_READS = ("Get", "Describe", "List", "BatchGet", "BatchCheck")
_JSON = "application/x-amz-json-1.1"
_TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "",
    "a/b; charset=utf-16",
    "\x7f",
)
_FORMS = (
    "Action=GetCallerIdentity&Version=2011-06-15",
    "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/a&RoleSessionName=b",
    "Action=ListUsers&Version=2010-05-08&MaxItems=10",
    "Action=GetCallerIdentity&Version=2011-06-15&Tags.member.1.Key=a&Tags.member.1.Value=b",
)


def shot(dice: Dice) -> Shot:
    """Make one request."""
    made = _form(dice) if dice.chance(0.12) else _call(dice)
    if dice.chance(0.08):
        made.headers = _bent(dice, made.headers)
    if dice.chance(0.03):
        made.method = dice.pick(("GET", "PUT", "HEAD", "DELETE", "OPTIONS", "get", "X" * 30))
    if dice.chance(0.04):
        made.target = "/?" + dice.escaped(dice.pick(_FORMS) if dice.chance(0.7) else dice.nasty())
    _frame(dice, made)
    return made


def _frame(dice: Dice, made: Shot) -> None:
    """Say how long the body is, or not, and part it; at times it ends early, or stalls."""
    if not dice.chance(0.05):
        cut_off = dice.chance(0.02)
        made.headers.append(("content-length", str(len(made.body) + (10 if cut_off else 0))))
        made.stalls = cut_off and dice.chance(0.5)
    made.cuts = [dice.randrange(len(made.body) + 1) for _ in range(dice.pick((0, 0, 1, 4)))]


def _call(dice: Dice) -> Shot:
    operation = dice.pick(list(_SEEDS))
    parameters: Any = _filled(dice, dice.pick(_SEEDS[operation]))
    for _ in range(dice.pick((0, 0, 1, 1, 1, 2, 4))):
        parameters = dice.tree(parameters)
    if not operation.startswith(_READS) and KEPT in json.dumps(parameters):
        parameters = {"repositoryName": FUZZED[0]}
    body = dice.document(parameters)
    if not operation.startswith(_READS) and KEPT.encode() in body:
        body = b"{}"
    target = _PREFIX + operation
    if dice.chance(0.03):
        target = dice.text(target)
    content_type = dice.pick(_TYPES) if dice.chance(0.05) else _JSON
    headers = [("host", "localhost:5050"), ("x-amz-target", target), ("content-type", content_type)]
    return Shot(method="POST", target="/", headers=headers, body=body, signed=_signer(dice, "ecr"))


def _form(dice: Dice) -> Shot:
    form = dice.pick(_FORMS)
    for _ in range(dice.pick((0, 1, 2))):
        form = dice.text(form)
    body = form.encode("utf-8", "surrogatepass")
    if dice.chance(0.3):
        body = dice.noise(body)
    content_type = "application/x-www-form-urlencoded; charset=utf-8"
    headers = [("host", "localhost:5050"), ("content-type", content_type)]
    service = dice.pick(("sts", "sts", "sts", "iam", "ecr"))
    return Shot(method="POST", target="/", headers=headers, body=body, signed=_signer(dice, service))


def _signer(dice: Dice, service: str) -> str | None:
    """Choose whose signature it is: `service root`, `service stranger`, or none."""
    if dice.chance(0.92):
        return f"{service} root"
    return dice.pick((f"{service} stranger", f"{service} nobody", "sts root", "kms root", None))


def _filled(dice: Dice, parameters: dict[str, Any]) -> dict[str, Any]:
    sample = dice.pick(SAMPLES)
    document: Any = sample.document
    if dice.chance(0.6):
        document = dice.tree(document)
    content = (
        dice.document(document).decode("utf-8", "replace") if dice.chance(0.6) else sample.content.decode()
    )
    named = {
        "{manifest}": content,
        "{digest}": digest(dice.pick(SAMPLES).content),
        "{layer}": digest(dice.pick(LAYERS)),
        "{hello}": digest(HELLO),
    }
    return {name: _fill(value, named) for name, value in parameters.items()}


def _fill(value: Any, named: dict[str, str]) -> Any:
    if isinstance(value, str):
        return named.get(value, value)
    if isinstance(value, list):
        return [_fill(item, named) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {name: _fill(item, named) for name, item in cast("dict[str, Any]", value).items()}
    return value


def _bent(dice: Dice, headers: Pairs) -> Pairs:
    """Spoil the head. What is signed later covers what is left."""
    at = dice.randrange(len(headers))
    name, value = headers[at]
    match dice.randrange(6):
        case 0:
            return [*headers[:at], *headers[at + 1 :]]
        case 1:
            return [*headers, headers[at]]
        case 2:
            return [*headers[:at], (name, dice.text(value)), *headers[at + 1 :]]
        case 3:
            return [*headers, ("x-amz-security-token", dice.nasty())]
        case 4:
            return [*headers, (dice.pick(SPOILED), dice.nasty())]
        case _:
            return [*headers, (dice.pick(SPOILED), dice.text(value))]


SPOILED = (
    "authorization",
    "x-amz-date",
    "date",
    "x-amz-content-sha256",
    "x-amz-target",
    "content-encoding",
    "transfer-encoding",
    "x-forwarded-for",
    "expect",
    "user-agent",
)
