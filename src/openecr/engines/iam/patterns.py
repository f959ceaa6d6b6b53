"""Patterns with `*` and `?`, and the policy variables in them (IAM user guide, "Policy elements: variables").

A pattern is cut at its asterisks once; matching then looks for each piece in turn, which takes time proportional to the
text for each piece, whatever the pattern is.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

ARN_PARTS = 6
_RESOURCE_PART = 5

_VARIABLE = re.compile(r"\$\{([^}]{0,256})\}")
_ESCAPES: Mapping[str, str] = {"*": "*", "?": "?", "$": "$"}
_DEFAULT = re.compile(r"([^,]+?)\s*,\s*'([^']*)'\s*")


class Undecided(tuple[str, ...]):
    """Stands for the values of a key that will be known later only."""

    __slots__ = ()


UNDECIDED = Undecided()


class ContextKeys(Protocol):
    """What is known of a request."""

    def get(self, key: str) -> tuple[str, ...] | None:
        """Return the values of a key (its name in lower case), None where it is absent, or UNDECIDED."""
        ...


def waits(keys: Iterable[str], context: ContextKeys) -> bool:
    """Tell whether one of some keys will be known later only."""
    return any(context.get(key) is UNDECIDED for key in keys)


@dataclass(frozen=True, slots=True)
class _Wild:
    """A wildcard: `*` or `?`."""

    many: bool


@dataclass(frozen=True, slots=True)
class _Variable:
    """A policy variable; `default` None: without a value nothing matches."""

    key: str
    default: str | None


_Token = str | _Wild | _Variable
_MANY, _ONE = _Wild(many=True), _Wild(many=False)


class Glob:
    """A pattern without variables. `matches` tells whether a whole text fits, `is_everything` that every one does."""

    __slots__ = ("is_everything", "matches")

    def __init__(self, tokens: Sequence[str | _Wild]) -> None:
        pieces: list[list[str | _Wild]] = [[]]
        for token in tokens:
            if token is _MANY:
                pieces.append([])
            else:
                pieces[-1].append(token)
        self.is_everything = len(pieces) > 1 and not any(pieces)
        self.matches = _matcher([_piece(piece) for piece in pieces])


def _matcher(pieces: Sequence["_Piece"]) -> Callable[[str], bool]:
    """Return what compares texts with pieces between asterisks; the common forms take one call."""
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return first.is_whole
    middle = [piece for piece in pieces[1:-1] if piece.size]
    if not middle and not last.size:
        return first.is_start
    return _Pieces(first, middle, last).matches


class _Pieces:
    """Pieces with anything between them: each is looked for where the one before it ended."""

    __slots__ = ("_first", "_last", "_middle", "_minimum")

    def __init__(self, first: "_Piece", middle: Sequence["_Piece"], last: "_Piece") -> None:
        self._first = first
        self._middle = middle
        self._last = last
        self._minimum = first.size + last.size

    def matches(self, text: str) -> bool:
        end = len(text) - self._last.size
        if len(text) < self._minimum or not self._first.is_start(text) or not self._last.is_at(text, end):
            return False
        at = self._first.size
        for piece in self._middle:
            found = piece.find(text, at, end)
            if found < 0:
                return False
            at = found + piece.size
        return True


class _Text:
    """A piece of a pattern without question marks."""

    __slots__ = ("_text", "size")

    def __init__(self, text: str) -> None:
        self._text = text
        self.size = len(text)

    def is_whole(self, text: str) -> bool:
        return text == self._text

    def is_start(self, text: str) -> bool:
        return text.startswith(self._text)

    def is_at(self, text: str, at: int) -> bool:
        return text.startswith(self._text, at)

    def find(self, text: str, at: int, end: int) -> int:
        return text.find(self._text, at, end)


class _Blanks:
    """A piece with question marks."""

    __slots__ = ("_regex", "size")

    def __init__(self, tokens: Sequence[str | _Wild]) -> None:
        self._regex = re.compile(
            "".join("." if isinstance(token, _Wild) else re.escape(token) for token in tokens), re.DOTALL
        )
        self.size = sum(1 if isinstance(token, _Wild) else len(token) for token in tokens)

    def is_whole(self, text: str) -> bool:
        return self._regex.fullmatch(text) is not None

    def is_start(self, text: str) -> bool:
        return self._regex.match(text) is not None

    def is_at(self, text: str, at: int) -> bool:
        return self._regex.match(text, at) is not None

    def find(self, text: str, at: int, end: int) -> int:
        found = self._regex.search(text, at, end)
        return -1 if found is None else found.start()


_Piece = _Text | _Blanks


def _piece(tokens: Sequence[str | _Wild]) -> _Piece:
    if any(isinstance(token, _Wild) for token in tokens):
        return _Blanks(tokens)
    return _Text("".join(str(token) for token in tokens))


class Template:
    """A value of a policy that may hold variables. `has_wildcards`: `*` and `?` are no plain characters."""

    __slots__ = ("_fixed", "_tokens")

    def __init__(self, text: str, *, has_variables: bool, has_wildcards: bool) -> None:
        self._tokens = _tokens(text, has_variables=has_variables, has_wildcards=has_wildcards)
        self._fixed = (
            None if any(isinstance(token, _Variable) for token in self._tokens) else self._glob(None)
        )

    @property
    def fixed(self) -> Glob | None:
        """Return the pattern of a template without variables."""
        return self._fixed

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of its variables."""
        return frozenset(token.key for token in self._tokens if isinstance(token, _Variable))

    def glob(self, context: ContextKeys) -> Glob | None:
        """Return the pattern for a request, or None where a variable has no value in it."""
        return self._fixed if self._fixed is not None else self._glob(context)

    def text(self, context: ContextKeys) -> str | None:
        """Return the text of a template without wildcards, or None where a variable has no value."""
        found = self._filled(context)
        return None if found is None else "".join(str(token) for token in found)

    def _glob(self, context: ContextKeys | None) -> Glob | None:
        found = self._filled(context)
        return None if found is None else Glob(found)

    def _filled(self, context: ContextKeys | None) -> list[str | _Wild] | None:
        found: list[str | _Wild] = []
        for token in self._tokens:
            if isinstance(token, _Variable):
                value = _value(token, context)
                if value is None:
                    return None
                found.append(value)
            else:
                found.append(token)
        return found


def _value(variable: _Variable, context: ContextKeys | None) -> str | None:
    values = None if context is None else context.get(variable.key)
    return values[0] if values is not None and len(values) == 1 else variable.default


def _tokens(text: str, *, has_variables: bool, has_wildcards: bool) -> tuple[_Token, ...]:
    found: list[_Token] = []
    at = 0
    if has_variables:
        for match in _VARIABLE.finditer(text):
            found += _plain(text[at : match.start()], has_wildcards=has_wildcards)
            found.append(_variable(match[1]))
            at = match.end()
    found += _plain(text[at:], has_wildcards=has_wildcards)
    return tuple(found)


def _variable(name: str) -> _Token:
    if name in _ESCAPES:
        return _ESCAPES[name]
    with_default = _DEFAULT.fullmatch(name)
    if with_default is not None:
        return _Variable(key=with_default[1].strip().lower(), default=with_default[2])
    return _Variable(key=name.strip().lower(), default=None)


def _plain(text: str, *, has_wildcards: bool) -> list[_Token]:
    if not has_wildcards:
        return [text] if text else []
    return [
        _MANY if each == "*" else _ONE if each == "?" else each for each in re.split(r"([*?])", text) if each
    ]


class ArnPattern:
    """A pattern for ARNs: each of the six parts is matched by itself; parts that are missing match everything.

    `is_resource`: variables before the fifth colon are plain text, as IAM has it of resources.
    """

    __slots__ = ("_filled", "_fixed", "is_everything", "keys")

    def __init__(self, text: str, *, has_variables: bool, is_resource: bool = False) -> None:
        self.is_everything = text.strip("*") == "" and text != ""
        fixed: list[tuple[int, Callable[[str], bool]]] = []
        filled: list[tuple[int, Template]] = []
        keys: frozenset[str] = frozenset()
        for at, part in enumerate(split_arn(text)):
            is_variable = has_variables and (not is_resource or at == _RESOURCE_PART)
            template = Template(part, has_variables=is_variable, has_wildcards=True)
            if template.fixed is None:
                filled.append((at, template))
                keys |= template.keys
            elif not template.fixed.is_everything:
                fixed.append((at, template.fixed.matches))
        self._fixed = tuple(reversed(fixed))  # the last part differs most often
        self._filled = tuple(filled)
        self.keys = keys

    def matches(self, parts: Sequence[str], context: ContextKeys) -> bool:
        """Tell whether an ARN, cut into its parts, fits. What is no ARN fits `*` alone."""
        if self.is_everything:
            return True
        if len(parts) != ARN_PARTS:
            return False
        for at, fits in self._fixed:
            if not fits(parts[at]):
                return False
        for at, template in self._filled:
            glob = template.glob(context)
            if glob is None or not glob.matches(parts[at]):
                return False
        return True


def split_arn(text: str) -> list[str]:
    """Cut an ARN into its six parts; colons of the last one, and those inside `${...}`, do not cut."""
    parts: list[str] = []
    start = depth = 0
    for at, character in enumerate(text):
        if character == "{" and at and text[at - 1] == "$":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
        elif character == ":" and not depth and len(parts) < ARN_PARTS - 1:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return parts
