"""Where statements stand in the text of a policy document."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a text. Lines and columns count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From a statement's first character to its last."""

    start: Position
    end: Position


def statement_spans(text: str) -> tuple[Span, ...]:
    """Return where each statement of a document stands, in their order. The document is valid JSON of a policy."""
    return tuple(
        Span(start=_position(text, start), end=_position(text, end - 1)) for start, end in _statements(text)
    )


def _statements(text: str) -> Iterator[tuple[int, int]]:
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # the colon
        _, end = _DECODER.raw_decode(text, at)
        if key == "Statement":
            yield from _elements(text, at) if text[at] == "[" else ((at, end),)
        at = _skip_comma(text, end)


def _elements(text: str, at: int) -> Iterator[tuple[int, int]]:
    at = _skip(text, at + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        yield at, end
        at = _skip_comma(text, end)


def _skip_comma(text: str, at: int) -> int:
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None, "the pattern matches nothing too"
    return match.end()


def _position(text: str, at: int) -> Position:
    line_start = text.rfind("\n", 0, at) + 1
    return Position(line=text.count("\n", 0, at) + 1, column=at - line_start + 1)
