"""Policy texts as ECR echoes them, and what ECR takes for one."""

import json
from collections.abc import Mapping
from typing import cast

from openecr.domain.errors import InvalidParameter
from openecr.engines.iam import DocumentKind, MalformedPolicy, validate

_INDENT = "  "


def checked(text: str, kind: DocumentKind) -> str:
    """Return a valid text in ECR's layout. Raises InvalidParameter with ECR's sentence, which gives no reason."""
    try:
        validate(text, kind)
        return laid_out(json.loads(text))
    except (MalformedPolicy, ValueError) as error:
        raise invalid(kind) from error


def invalid(kind: DocumentKind) -> InvalidParameter:
    """Return ECR's error for a text that is no policy of its kind."""
    return InvalidParameter(parameter="PolicyText", constraint=f"Invalid {kind.value} policy provided")


def unknown_principal() -> InvalidParameter:
    """Return ECR's error for a principal that does not exist; tools try again upon it."""
    return InvalidParameter(parameter="PolicyText", constraint="Principal not found")


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
