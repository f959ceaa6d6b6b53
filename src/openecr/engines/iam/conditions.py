"""Condition operators (IAM user guide, "IAM JSON policy elements: Condition operators")."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from openecr.engines.iam.patterns import UNDECIDED, ArnPattern, ContextKeys, Template, split_arn

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_EPOCH = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)
_DATE_MAX_CHARACTERS = 40

Test = Callable[[str, ContextKeys], bool | None]
"""Tells whether a value of the request meets one of the policy; None where one of them cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key under one operator. `every`: ForAllValues is True, ForAnyValue False, neither None."""

    key: str
    tests: tuple[Test, ...]
    is_negated: bool = False
    if_exists: bool = False
    every: bool | None = None
    is_absent: tuple[bool, ...] | None = None

    def holds(self, context: ContextKeys) -> bool | None:
        """Tell whether it is met; None where that is not known yet."""
        values = context.get(self.key)
        if values is UNDECIDED:
            return None
        if self.is_absent is not None:
            return (not values) in self.is_absent
        if not values:
            return self._without_value()
        if self.every:
            return all(self._meets(value, context) for value in values)
        return any(self._meets(value, context) for value in values)

    def _without_value(self) -> bool:
        if self.every is not None:
            return self.every or self.if_exists
        return self.if_exists or self.is_negated

    def _meets(self, value: str, context: ContextKeys) -> bool:
        if not self.is_negated:
            return any(test(value, context) for test in self.tests)
        return all(test(value, context) is False for test in self.tests)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    make: Callable[[str, bool], Test]
    is_negated: bool = False


def compile_conditions(block: Mapping[str, Any], *, has_variables: bool) -> tuple[Condition, ...]:
    """Compile a Condition element. Raises ValueError for an operator that does not exist."""
    return tuple(
        _compile(name, key, values, has_variables=has_variables)
        for name, keys in block.items()
        for key, values in keys.items()
    )


def is_operator(name: str) -> bool:
    """Tell whether there is a condition operator of that name."""
    base, _, every = _take_apart(name)
    if base == "null":
        return every is None and not name.lower().endswith("ifexists")
    return base in _OPERATORS


def texts_of(values: object) -> list[str]:
    """Return the values of an element, one or many, as texts: numbers and booleans may be written without quotes."""
    many = cast("list[object]", values) if isinstance(values, list) else [values]
    return [("true" if each else "false") if isinstance(each, bool) else str(each) for each in many]


def _take_apart(name: str) -> tuple[str, bool, bool | None]:
    prefix, colon, rest = name.lower().partition(":")
    every = {"forallvalues": True, "foranyvalue": False}.get(prefix) if colon else None
    base = rest if every is not None else name.lower()
    if base.endswith("ifexists"):
        return base.removesuffix("ifexists"), True, every
    return base, False, every


def _compile(name: str, key: str, values: object, *, has_variables: bool) -> Condition:
    base, if_exists, every = _take_apart(name)
    texts = texts_of(values)
    if base == "null" and every is None and not if_exists:
        return Condition(key=key.lower(), tests=(), is_absent=tuple(text.lower() == "true" for text in texts))
    operator = _OPERATORS.get(base)
    if operator is None:
        message = f"no condition operator: {name[:64]}"
        raise ValueError(message)
    return Condition(
        key=key.lower(),
        tests=tuple(operator.make(text, has_variables) for text in texts),
        is_negated=operator.is_negated,
        if_exists=if_exists,
        every=every,
    )


# --- values ----------------------------------------------------------------------------------------------------------


def _string(*, has_wildcards: bool, ignores_case: bool) -> Callable[[str, bool], Test]:
    def make(text: str, has_variables: bool) -> Test:  # noqa: FBT001 -- one of the two shapes of all makers
        template = Template(text, has_variables=has_variables, has_wildcards=has_wildcards)
        if ignores_case:
            return lambda value, context: _equal_ignoring_case(template, text, value, context)

        def test(value: str, context: ContextKeys) -> bool:
            glob = template.glob(context)
            return glob is not None and glob.matches(value)

        return test

    return make


def _equal_ignoring_case(template: Template, text: str, value: str, context: ContextKeys) -> bool:
    if "${" not in text:
        return text.casefold() == value.casefold()
    filled = template.text(context)
    return filled is not None and filled.casefold() == value.casefold()


def _arn(text: str, has_variables: bool) -> Test:  # noqa: FBT001 -- one of the two shapes of all makers
    pattern = ArnPattern(text, has_variables=has_variables)
    return lambda value, context: pattern.matches(split_arn(value), context)


def _ordered(
    read: Callable[[str], float | None], compare: Callable[[float, float], bool]
) -> Callable[[str, bool], Test]:
    def make(text: str, has_variables: bool) -> Test:  # noqa: FBT001 -- one of the two shapes of all makers
        del has_variables
        wanted = read(text)

        def test(value: str, context: ContextKeys) -> bool | None:
            del context
            given = read(value)
            return None if wanted is None or given is None else compare(given, wanted)

        return test

    return make


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


def _instant(text: str) -> float | None:
    """Read W3C's form of ISO 8601, or seconds since the epoch."""
    text = text.strip()
    if _EPOCH.fullmatch(text) and len(text) != len("2026"):
        return float(text)
    if len(text) > _DATE_MAX_CHARACTERS:
        return None
    padded = {4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text)
    try:
        found = datetime.fromisoformat(padded)
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _boolean(text: str, has_variables: bool) -> Test:  # noqa: FBT001 -- one of the two shapes of all makers
    del has_variables
    wanted = text.strip().lower()
    return lambda value, _: value.strip().lower() == wanted and wanted in {"true", "false"}


def _binary(text: str, has_variables: bool) -> Test:  # noqa: FBT001 -- one of the two shapes of all makers
    del has_variables
    wanted = _decoded(text)
    return lambda value, _: wanted is not None and _decoded(value) == wanted


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _address(text: str, has_variables: bool) -> Test:  # noqa: FBT001 -- one of the two shapes of all makers
    del has_variables
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return lambda _value, _context: None

    def test(value: str, context: ContextKeys) -> bool | None:
        del context
        try:
            address = ipaddress.ip_address(value.strip())
        except ValueError:
            return None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.version == network.version and address in network

    return test


def _orders(read: Callable[[str], float | None], prefix: str) -> dict[str, _Operator]:
    return {
        f"{prefix}equals": _Operator(make=_ordered(read, lambda given, wanted: given == wanted)),
        f"{prefix}notequals": _Operator(
            make=_ordered(read, lambda given, wanted: given == wanted), is_negated=True
        ),
        f"{prefix}lessthan": _Operator(make=_ordered(read, lambda given, wanted: given < wanted)),
        f"{prefix}lessthanequals": _Operator(make=_ordered(read, lambda given, wanted: given <= wanted)),
        f"{prefix}greaterthan": _Operator(make=_ordered(read, lambda given, wanted: given > wanted)),
        f"{prefix}greaterthanequals": _Operator(make=_ordered(read, lambda given, wanted: given >= wanted)),
    }


def _pair(positive: str, negative: str, make: Callable[[str, bool], Test]) -> dict[str, _Operator]:
    return {positive: _Operator(make=make), negative: _Operator(make=make, is_negated=True)}


_OPERATORS: Mapping[str, _Operator] = {
    **_pair("stringequals", "stringnotequals", _string(has_wildcards=False, ignores_case=False)),
    **_pair(
        "stringequalsignorecase",
        "stringnotequalsignorecase",
        _string(has_wildcards=False, ignores_case=True),
    ),
    **_pair("stringlike", "stringnotlike", _string(has_wildcards=True, ignores_case=False)),
    **_orders(_number, "numeric"),
    **_orders(_instant, "date"),
    "bool": _Operator(make=_boolean),
    "binaryequals": _Operator(make=_binary),
    **_pair("ipaddress", "notipaddress", _address),
    **_pair("arnequals", "arnnotequals", _arn),
    **_pair("arnlike", "arnnotlike", _arn),
}


def operators() -> Sequence[str]:
    """Return the names of all operators but Null, in lower case."""
    return tuple(_OPERATORS)
