"""Paging tokens: where a list goes on, bound to the list that it was given for.

A token is base64url of `[version, list, key]`, opaque to clients. It is no secret and no permission: the list it
continues is authorized again, and a token of another operation, registry or filter is refused.
"""

import base64
import binascii
import hashlib
from typing import Any

import msgspec

from openecr.domain.errors import InvalidParameter
from openecr.domain.pages import Page, PageRequest
from openecr.web.aws.call import Call

DEFAULT_ITEMS = 100
"""ECR API: the length of a page where maxResults is not given."""

_VERSION = 1
_TOKEN_MAX_CHARACTERS = 4_096
_LIST_DIGEST_BYTES = 12
_NOT_PART_OF_THE_LIST = frozenset({"maxResults", "nextToken", "registryId"})


class _Token(msgspec.Struct, frozen=True, array_like=True):
    version: int
    list_digest: str
    after: str


def page_request(call: Call, *, default_items: int = DEFAULT_ITEMS) -> PageRequest:
    """Read maxResults and nextToken. Raises InvalidParameter for a token that was not given for this list."""
    limit = call.parameters.get("maxResults") or default_items
    text = call.parameters.get("nextToken")
    return PageRequest(limit=limit, after=None if text is None else _open(call, text))


def next_token(call: Call, page: Page[Any]) -> str | None:
    """Return the token that continues after a page, or None after the last one."""
    if page.after is None:
        return None
    token = _Token(version=_VERSION, list_digest=_list_digest(call), after=page.after)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def refuse_paging(call: Call, member: str) -> None:
    """Raise InvalidParameter where paging comes together with `member`, which names what is wanted."""
    for name in ("nextToken", "maxResults"):
        if name in call.parameters:
            raise InvalidParameter(parameter=name, constraint=f"Cannot be used together with '{member}'")


def _open(call: Call, text: str) -> str:
    invalid = InvalidParameter(parameter="nextToken", constraint="Invalid token")
    if len(text) > _TOKEN_MAX_CHARACTERS:
        raise invalid
    try:
        encoded = text.encode("ascii")
        plain = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        token = msgspec.json.decode(plain, type=_Token)
    except (UnicodeEncodeError, UnicodeDecodeError, binascii.Error, msgspec.DecodeError) as error:
        raise invalid from error
    if token.version != _VERSION or token.list_digest != _list_digest(call):
        raise invalid
    return token.after


def _list_digest(call: Call) -> str:
    """Name the list: operation, registry and every parameter that selects."""
    selecting = {name: call.parameters[name] for name in call.parameters.keys() - _NOT_PART_OF_THE_LIST}
    named = msgspec.json.encode([call.operation, str(call.registry), selecting], order="sorted")
    return hashlib.sha256(named, usedforsecurity=False).digest()[:_LIST_DIGEST_BYTES].hex()
