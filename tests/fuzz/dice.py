"""Chance that can be repeated, and what it does to texts, bytes, JSON and percent-encodings."""

import json
import random
from collections.abc import Sequence
from typing import Any, TypeVar, cast

T = TypeVar("T")

DEPTH_MAX = 4
DEEP = 3_000
LONG = 5_000

NASTY_TEXTS = (
    "",
    " ",
    "\x00",
    "\t",
    "\r\n",
    "a\r\nX-Injected: b",
    "..",
    "../../etc/passwd",
    ".",
    "-",
    "_",
    "/",
    "//",
    "\\",
    "%",
    "%00",
    "%2e%2e",
    "%252f",
    "*",
    "?",
    "#",
    "'",
    '"',
    "';--",
    "{}",
    "[]",
    "null",
    "None",
    "true",
    "NaN",
    "-1",
    "0",
    "00",
    "1e400",
    "99999999999999999999999999",
    "٣",
    "ä",
    "İ",
    "\u017f",
    "\u2028",
    "\ufeff",
    "\uffff",
    "\U0001f433",
    "\ud800",
    "a" * 256,
    "a" * 4_097,
    "a/" * 200,
    "a" * 70_000,
    "sha256:",
    "sha256:" + "0" * 63,
    "sha256:" + "0" * 65,
    "sha256:" + "A" * 64,
    "sha256:" + "g" * 64,
    "sha512:" + "0" * 64,
    "sha512:" + "0" * 128,
    "md5:" + "0" * 32,
    "SHA256:" + "0" * 64,
    "sha256:" + "0" * 64 + "\n",
    "sha256+b64:AAAA",
    ":" * 40,
    "latest\n",
    "arn:aws:ecr:us-east-1:000000000000:repository/",
    "arn:" * 50,
    "====",
    "A===",
    "AAA",
    "A-_=",
)

NASTY_NUMBERS: tuple[Any, ...] = (
    0,
    -0.0,
    -1,
    1,
    0.5,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**30,
    10**400,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)


class Dice(random.Random):
    """One request's chances."""

    def chance(self, part: float) -> bool:
        """Tell yes in so many of all cases."""
        return self.random() < part

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of them."""
        return choices[self.randrange(len(choices))]

    def nasty(self) -> str:
        """Return a text that some parser will not expect."""
        return self.pick(NASTY_TEXTS)

    def value(self, depth: int = 0) -> Any:
        """Return any JSON value."""
        simple: Sequence[Any] = (
            self.nasty(),
            self.pick(NASTY_NUMBERS),
            self.pick((None, True, False)),
            self.text("latest"),
            self.randrange(-5, 5),
        )
        if depth >= DEPTH_MAX or self.chance(0.6):
            return self.pick(simple)
        count = self.pick((0, 1, 2, 5))
        if self.chance(0.4):
            return [self.value(depth + 1) for _ in range(count)]
        return {self.nasty(): self.value(depth + 1) for _ in range(count)}

    def text(self, text: str) -> str:
        """Change a text a little, or for good."""
        if not text or self.chance(0.2):
            return self.nasty()
        at = self.randrange(len(text))
        return self.pick(
            (
                text[:at] + text[at + 1 :],
                text[:at] + chr(self.randrange(256)) + text[at:],
                text[:at] + chr(self.randrange(0x11000)) + text[at + 1 :],
                text[:at],
                text[:at] + self.nasty() + text[at:],
                text + text,
                text.swapcase(),
                text[at:] + text[:at],
            )
        )

    def noise(self, content: bytes) -> bytes:
        """Change bytes, wherever."""
        changed = bytearray(content)
        for _ in range(self.pick((1, 1, 2, 8))):
            at = self.randrange(len(changed) + 1)
            match self.randrange(5):
                case 0:
                    changed[at : at + 1] = bytes([self.randrange(256)])
                case 1:
                    changed[at:at] = self.randbytes(self.pick((1, 2, 16)))
                case 2:
                    del changed[at : at + self.pick((1, 2, 16, 10_000))]
                case 3:
                    changed[at:at] = changed[: self.pick((1, 16, 256))]
                case _:
                    changed[at:at] = self.pick(
                        (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\x00", b"\\u0000", b"\\ud800")
                    )
        return bytes(changed)

    def tree(self, value: Any) -> Any:
        """Change one place of a JSON document."""
        if isinstance(value, dict) and value and self.chance(0.8):
            return self._object(cast("dict[str, Any]", value))
        if isinstance(value, list) and value and self.chance(0.8):
            return self._list(cast("list[object]", value))
        if isinstance(value, str) and self.chance(0.85):
            return self.text(value)
        if isinstance(value, int) and self.chance(0.6):
            return self.pick(NASTY_NUMBERS)
        return self.value()

    def _list(self, value: list[object]) -> list[object]:
        at = self.randrange(len(value))
        before, after = value[:at], value[at + 1 :]
        return self.pick(
            (
                [*before, *after],
                value * self.pick((2, 3, 60)),
                [*before, self.tree(value[at]), *after],
                [*before, self.tree(value[at]), *after],
            )
        )

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        name = self.pick(list(value))
        changed = dict(value)
        match self.randrange(12):
            case 0:
                del changed[name]
            case 1:
                changed[self.text(name)] = changed.pop(name)
            case 2:
                changed[self.nasty()] = self.value()
            case 3:
                changed[name] = self.value()
            case _:
                changed[name] = self.tree(value[name])
        return changed

    def document(self, value: Any) -> bytes:
        """Write JSON: mostly well, at times with a name twice, too deep, in another encoding, or broken."""
        text = json.dumps(value, ensure_ascii=self.chance(0.5), indent=self.pick((None, None, 2)))
        match self.randrange(60):
            case 0 if text.startswith("{") and len(text) > 2:
                text = "{" + text[1:-1] + "," + text[1:-1] + "}"
            case 1:
                text = "[" * DEEP + text + "]" * DEEP
            case 2:
                text = '{"a":' * DEEP + text + "}" * DEEP
            case 3:
                return text.encode(self.pick(("utf-16", "utf-32", "latin-1")), "replace")
            case 4:
                text = self.pick(("", " ", "\ufeff")) + text + self.pick((" ", "\n\n", "x", ",", "{}"))
            case 5:
                text = text.replace("0", self.pick(("00", "-0", "1e9999", "0x1", "9" * LONG)), 1)
            case 6:
                text = text.replace('"', "'")
            case _:
                pass
        content = text.encode("utf-8", "surrogatepass")
        return self.noise(content) if self.chance(0.07) else content

    def escaped(self, text: str) -> str:
        """Percent-encode a text for a path or query, as needed or for fun; every character may go over the wire."""
        plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:=&*,;+@!$'()"
        fun = self.chance(0.1)
        escaped: list[str] = []
        for character in text:
            if character in plain and not (fun and self.chance(0.3)):
                escaped.append(character)
            elif character == "%" and self.chance(0.3):
                escaped.append("%")
            else:
                octets = character.encode("utf-8", "surrogatepass")
                escaped.extend(f"%{octet:02{self.pick('xX')}}" for octet in octets)
        return "".join(escaped)
