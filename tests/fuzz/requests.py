"""What a fuzzed request is, how it reaches the application, and how it is kept."""

import base64
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

from openecr.domain.errors import BodyStalled
from openecr.web.messages import Request

Pairs = list[tuple[str, str]]

_VISIBLE = re.compile(r"[\t -~]*", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Shot:
    """A request before it is sent. `cut` are the places where its body is parted into chunks.

    `signed` says with whose key an AWS request is signed, if at all; the signature is made when it is sent.
    """

    method: str
    target: str
    headers: Pairs = field(default_factory=list)
    body: bytes = b""
    cuts: Sequence[int] = ()
    stalls: bool = False
    signed: str | None = None

    def replaced(self, **names: str) -> "Shot":
        """Return the same with `{name}` replaced wherever it stands; a body of another length says so."""

        def fill(text: str) -> str:
            for name, value in names.items():
                text = text.replace("{" + name + "}", value)
            return text

        body = self.body
        for name, value in names.items():
            body = body.replace(f"{{{name}}}".encode(), value.encode())
        grown = len(body) - len(self.body)
        headers = [
            (name, str(int(value) + grown) if name == "content-length" else fill(value))
            for name, value in self.headers
        ]
        return Shot(
            method=self.method,
            target=fill(self.target),
            headers=headers,
            body=body,
            cuts=self.cuts,
            stalls=self.stalls,
            signed=self.signed,
        )

    def kept(self) -> dict[str, Any]:
        """Return it as JSON, to be kept."""
        return {
            "method": self.method,
            "target": self.target,
            "headers": [list(pair) for pair in self.headers],
            "body": base64.b64encode(self.body).decode(),
            "cuts": list(self.cuts),
            "stalls": self.stalls,
            "signed": self.signed,
        }

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Shot":
        """Read what `kept` wrote."""
        return cls(
            method=kept["method"],
            target=kept["target"],
            headers=[(str(name), str(value)) for name, value in kept["headers"]],
            body=base64.b64decode(kept["body"]),
            cuts=list(kept["cuts"]),
            stalls=bool(kept["stalls"]),
            signed=kept["signed"],
        )

    def request(self) -> Request:
        """Return it as the driver hands it to the application.

        The HTTP server decodes the path, loses headers whose values are not visible ASCII, and refuses a
        Content-Length that is no number, or that is not alone.
        """
        path, _, query = self.target.partition("?")
        headers = visible(self.headers)
        host = next((value for name, value in headers if name == "host"), "")
        return Request(
            method=self.method,
            path=unquote(path, errors="replace"),
            query=query,
            host=host,
            scheme="http",
            client_address="127.0.0.1",
            headers=headers,
            body=_Body(self),
        )


class _Body:
    def __init__(self, shot: Shot) -> None:
        self._shot = shot

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._shot.body
        places = sorted({min(cut, len(content)) for cut in self._shot.cuts} | {0, len(content)})
        for start, stop in pairwise(places):
            yield content[start:stop]
        if self._shot.stalls:
            raise BodyStalled


def visible(headers: Pairs) -> tuple[tuple[str, str], ...]:
    """Return the headers that the HTTP server hands on."""
    return tuple((name, value.strip()) for name, value in headers if _VISIBLE.fullmatch(value))
