"""Policy texts as ECR echoes them, and what ECR takes for one."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from openecr.domain.errors import InvalidParameter
from openecr.domain.registries import PARTITION, is_account_id
from openecr.engines.iam import DocumentKind, MalformedPolicy, actions_of, validate

_INDENT = "  "
_ANY_ACTION = "*"
_VENDOR = "ecr"


def checked(text: str, kind: DocumentKind) -> str:
    """Return a valid text in ECR's layout, which names accounts by their roots.

    Raises InvalidParameter with ECR's sentence, which gives no reason.
    """
    try:
        validate(text, kind)
        _check_actions(text)
        document: dict[str, Any] = json.loads(text)
        for element in principal_elements(document):
            if "AWS" in element:
                element["AWS"] = _each(element["AWS"])
        kept = laid_out(document)
        validate(kept, kind)  # what escapes stand for has to be of IAM's characters and numbers too
    except (MalformedPolicy, ValueError) as error:
        raise invalid(kind) from error
    return kept


def principal_elements(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each Principal and NotPrincipal of a valid document, but for those that are everybody."""
    found = document["Statement"]
    statements = cast("list[dict[str, Any]]", found) if isinstance(found, list) else [found]
    for statement in statements:
        for name in ("Principal", "NotPrincipal"):
            if isinstance(statement.get(name), dict):
                yield statement[name]


def invalid(kind: DocumentKind) -> InvalidParameter:
    """Return ECR's error for a text that is no policy of its kind."""
    return InvalidParameter(parameter="PolicyText", constraint=f"Invalid {kind.value} policy provided")


def unknown_principal() -> InvalidParameter:
    """Return ECR's error for a principal that does not exist; tools try again upon it."""
    return InvalidParameter(parameter="PolicyText", constraint="Principal not found")


def _check_actions(text: str) -> None:
    """Raise MalformedPolicy where a policy is about another service's actions."""
    for action in actions_of(text):
        if action != _ANY_ACTION and action.partition(":")[0].lower() != _VENDOR:
            raise MalformedPolicy(action)


def _each(named: str | list[str]) -> str | list[str]:
    if isinstance(named, list):
        return [_root_of(each) for each in named]
    return _root_of(named)


def _root_of(name: str) -> str:
    return f"arn:{PARTITION}:iam::{name}:root" if is_account_id(name) else name


def laid_out(value: object, depth: int = 0) -> str:
    """Write JSON as ECR does: two spaces, blanks around colons, lists of texts in one line."""
    inner, outer = _INDENT * (depth + 1), _INDENT * depth
    match value:
        case dict() if value:
            members = cast("Mapping[str, object]", value).items()
            lines = [f"{inner}{json.dumps(key)} : {laid_out(each, depth + 1)}" for key, each in members]
            return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
        case list() if value:
            items = cast("list[object]", value)
            return "[ " + ", ".join(laid_out(each, depth) for each in items) + " ]"
        case dict():
            return "{ }"
        case list():
            return "[ ]"
        case _:
            return json.dumps(value, ensure_ascii=False)
