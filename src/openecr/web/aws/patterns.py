r"""The patterns of the service models, as Python regular expressions.

They are written for Java: a match is of the whole text, the classes `\w`, `\d` and `\s` are ASCII, and
`\p{L}`, `\p{N}`, `\p{Z}` name Unicode categories.
"""

import re
import sys
import unicodedata
from functools import cache

_CATEGORY = re.compile(r"\\p\{([LNZ])\}")
# The one pattern that means code points beyond the first plane writes them in a way that no regular
# expression language reads so.
_ASTRAL_AS_WRITTEN = r"\u10000-\u10FFFF"
_ASTRAL_AS_MEANT = r"\U00010000-\U0010FFFF"
# Patterns whose nested repetition takes exponential time on a text that does not match, and what they accept,
# written without it.
_LINEAR_TIME = {
    r"^[a-z0-9*](?:[._\-/a-z0-9*]?[a-z0-9*]+)*$": r"[a-z0-9*](?:[._\-/]?[a-z0-9*])*",
}
# Letters, numbers and separators all lie below this plane; the rest of Unicode need not be searched.
_LAST_SEARCHED = min(0x3FFFF, sys.maxunicode)


def matches(pattern: str, text: str) -> bool:
    """Whether the model's `pattern` accepts the whole of `text`."""
    return compiled(pattern).fullmatch(text) is not None


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a model's pattern, to be used with `fullmatch`."""
    source = _LINEAR_TIME.get(pattern, pattern).replace(_ASTRAL_AS_WRITTEN, _ASTRAL_AS_MEANT)
    source = _CATEGORY.sub(lambda match: _category_ranges(match[1]), source)
    return re.compile(source, re.ASCII)


@cache
def _category_ranges(category: str) -> str:
    """Return the code points of a Unicode category (first letter) as ranges of a character class."""
    ranges: list[str] = []
    first: int | None = None
    for point in range(_LAST_SEARCHED + 2):
        inside = point <= _LAST_SEARCHED and unicodedata.category(chr(point))[0] == category
        if inside and first is None:
            first = point
        elif not inside and first is not None:
            ranges.append(f"\\U{first:08X}-\\U{point - 1:08X}")
            first = None
    return "".join(ranges)
