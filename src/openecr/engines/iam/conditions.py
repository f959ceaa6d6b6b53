"""Condition operators (IAM user guide, "IAM JSON policy elements: Condition operators")."""

import base64
import binascii
import ipaddress
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

from openecr.engines.iam.patterns import ARN_PARTS, UNDECIDED, ArnPattern, ContextKeys, Template, waits

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_EPOCH = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_MAX_CHARACTERS = 40
_READ_KEPT = 1_024
"""So many instants and addresses of requests are remembered as they were read."""

Test = Callable[[str, ContextKeys], bool | None]
"""Tells whether a value of the request meets one of the policy; None where one of them cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key under one operator.

    `meets` tells whether a value of the request meets what the policy says of it, a negation too. `every`: ForAllValues
    is True, ForAnyValue False, neither None. `keys` are those of the variables in the policy's values.
    """

    key: str
    meets: Callable[[str, ContextKeys], bool]
    keys: frozenset[str] = frozenset()
    is_negated: bool = False
    if_exists: bool = False
    every: bool | None = None
    is_absent: tuple[bool, ...] | None = None

    def holds(self, context: ContextKeys) -> bool | None:
        """Tell whether it is met; None where that is not known yet."""
        values = context.get(self.key)
        if values is UNDECIDED or (self.keys and waits(self.keys, context)):
            return None
        if self.is_absent is not None:
            return (not values) in self.is_absent
        if not values:
            return self._without_value()
        if self.every:
            return all(self.meets(value, context) for value in values)
        if len(values) == 1:  # as nearly always
            return self.meets(values[0], context)
        return any(self.meets(value, context) for value in values)

    def _without_value(self) -> bool:
        if self.every is not None:
            return self.every or self.if_exists
        return self.if_exists or self.is_negated


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    """How values are compared. `is_exact`: as they are written; `takes_variables`: there may be some in them."""

    make: Callable[[str, bool], Test]
    is_negated: bool = False
    is_exact: bool = False
    takes_variables: bool = False


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
        is_absent = tuple(text.lower() == "true" for text in texts)
        return Condition(key=key.lower(), meets=lambda _value, _context: False, is_absent=is_absent)
    found = _OPERATORS.get(base)
    if found is None:
        message = f"no condition operator: {name[:64]}"
        raise ValueError(message)
    has_variables = has_variables and found.takes_variables
    templates = (Template(text, has_variables=has_variables, has_wildcards=False) for text in texts)
    return Condition(
        key=key.lower(),
        meets=_meeting(found, texts, has_variables=has_variables),
        keys=frozenset(key for template in templates for key in template.keys),
        is_negated=found.is_negated,
        if_exists=if_exists,
        every=every,
    )


def _meeting(
    how: _Operator, texts: Sequence[str], *, has_variables: bool
) -> Callable[[str, ContextKeys], bool]:
    """Return what tells whether a value meets any of a policy's; of a negation, whether it fails them all."""
    if how.is_exact and not (has_variables and any("${" in text for text in texts)):
        wanted = frozenset(texts)
        if how.is_negated:
            return lambda value, _: value not in wanted
        return lambda value, _: value in wanted
    tests = tuple(how.make(text, has_variables) for text in texts)
    if how.is_negated:
        return lambda value, context: all(test(value, context) is False for test in tests)
    return lambda value, context: any(test(value, context) for test in tests)


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
    return lambda value, context: pattern.matches(value.split(":", ARN_PARTS - 1), context)


def _ordered(
    read: Callable[[str], Decimal | None], compare: Callable[[Decimal, Decimal], bool]
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


def _number(text: str) -> Decimal | None:
    text = text.strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=_READ_KEPT)
def _instant(text: str) -> Decimal | None:
    """Read W3C's form of ISO 8601, or seconds since the epoch. Returns seconds."""
    text = text.strip().upper()
    if _EPOCH.fullmatch(text) and len(text) != len("2026"):
        return Decimal(text)
    if len(text) > _DATE_MAX_CHARACTERS:
        return None
    padded = {4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text)
    try:
        found = datetime.fromisoformat(padded)
    except ValueError:
        return None
    since = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)) - _EPOCH_START
    return Decimal(since // timedelta(microseconds=1)) / 1_000_000


def _boolean(text: str, has_variables: bool) -> Test:  # noqa: FBT001 -- one of the two shapes of all makers
    template = Template(text.strip(), has_variables=has_variables, has_wildcards=False)

    def test(value: str, context: ContextKeys) -> bool:
        wanted = (template.text(context) or "").lower()
        return wanted in {"true", "false"} and value.strip().lower() == wanted

    return test


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
    version, mask, base = network.version, int(network.netmask), int(network.network_address)

    def test(value: str, context: ContextKeys) -> bool | None:
        del context
        address = _numbered(value)
        return None if address is None else address[0] == version and address[1] & mask == base

    return test


@lru_cache(maxsize=_READ_KEPT)
def _numbered(text: str) -> tuple[int, int] | None:
    """Read an address. Returns the protocol's version and the address's number."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


def _orders(read: Callable[[str], Decimal | None], prefix: str) -> dict[str, _Operator]:
    return {
        f"{prefix}equals": _Operator(make=_ordered(read, operator.eq)),
        f"{prefix}notequals": _Operator(make=_ordered(read, operator.eq), is_negated=True),
        f"{prefix}lessthan": _Operator(make=_ordered(read, operator.lt)),
        f"{prefix}lessthanequals": _Operator(make=_ordered(read, operator.le)),
        f"{prefix}greaterthan": _Operator(make=_ordered(read, operator.gt)),
        f"{prefix}greaterthanequals": _Operator(make=_ordered(read, operator.ge)),
    }


def _pair(name: str, positive: _Operator) -> dict[str, _Operator]:
    """Return an operator and its negation, which is called Not-so."""
    family = next(each for each in ("string", "ip", "arn") if name.startswith(each))
    negated = f"not{name}" if family == "ip" else f"{family}not{name.removeprefix(family)}"
    return {name: positive, negated: replace(positive, is_negated=True)}


_EXACTLY = _string(has_wildcards=False, ignores_case=False)
_IGNORING_CASE = _string(has_wildcards=False, ignores_case=True)
_LIKE = _string(has_wildcards=True, ignores_case=False)

_OPERATORS: Mapping[str, _Operator] = {
    **_pair("stringequals", _Operator(make=_EXACTLY, is_exact=True, takes_variables=True)),
    **_pair("stringequalsignorecase", _Operator(make=_IGNORING_CASE, takes_variables=True)),
    **_pair("stringlike", _Operator(make=_LIKE, takes_variables=True)),
    **_orders(_number, "numeric"),
    **_orders(_instant, "date"),
    "bool": _Operator(make=_boolean, takes_variables=True),
    "binaryequals": _Operator(make=_binary),
    **_pair("ipaddress", _Operator(make=_address)),
    **_pair("arnequals", _Operator(make=_arn, takes_variables=True)),
    **_pair("arnlike", _Operator(make=_arn, takes_variables=True)),
}


def operators() -> Sequence[str]:
    """Return the names of all operators but Null, in lower case."""
    return tuple(_OPERATORS)
