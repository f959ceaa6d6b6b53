"""What the handlers' answers have in common: headers, JSON, digests in paths, pages."""

import functools
import re
import urllib.parse
from collections.abc import Sequence
from typing import Any

import msgspec

from openecr.domain.digests import Digest
from openecr.domain.errors import UnsupportedDigest
from openecr.domain.pages import PageRequest
from openecr.web.messages import Headers, Request, Response
from openecr.web.oci.call import Call
from openecr.web.oci.errors import API_VERSION, ProtocolError

OCTET_STREAM = "application/octet-stream"
PAGE_MAX_ITEMS = 1000
"""ECR's limit. ECR refuses a larger `n`; we give a page of this size and a Link, as the specification allows."""

_JSON: Headers = (API_VERSION, ("content-type", "application/json"))
_MEDIA_TYPE = re.compile(r"[!-~]+(?:[ \t]*;[ !-~]*)?", re.ASCII)
_MEDIA_TYPE_MAX_CHARACTERS = 255
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


def json_reply(content: dict[str, Any], headers: Headers = ()) -> Response:
    """Return 200 with a JSON document."""
    return Response(status=200, headers=(*_JSON, *headers), body=msgspec.json.encode(content))


def empty_reply(status: int, *headers: tuple[str, str]) -> Response:
    """Return an answer without a body."""
    return Response(status=status, headers=(API_VERSION, *headers))


def parse_digest(text: str) -> Digest:
    """Read a digest of a path or a query. Raises UnsupportedDigest."""
    digest = Digest.find(text)
    if digest is None:
        raise UnsupportedDigest(digest=text)
    return digest


@functools.lru_cache(maxsize=256)
def content_type(media_type: str | None) -> str:
    """Return a media type that may stand in a header: a pushed document says what it likes about its layers."""
    if (
        media_type is None
        or len(media_type) > _MEDIA_TYPE_MAX_CHARACTERS
        or _MEDIA_TYPE.fullmatch(media_type) is None
    ):
        return OCTET_STREAM
    return media_type


def is_unchanged(request: Request, digest: str) -> bool:
    """Tell whether If-None-Match names this digest, quoted, weak or bare."""
    wanted = request.header("if-none-match")
    if wanted is None:
        return False
    return any(tag.strip().removeprefix("W/").strip('"') in {digest, "*"} for tag in wanted.split(","))


def not_modified(digest: str) -> Response:
    """Return 304."""
    return empty_reply(304, ("docker-content-digest", digest), ("etag", f'"{digest}"'))


def page_of(call: Call) -> PageRequest:
    """Read `n` and `last`. Raises ProtocolError for an `n` that is no number."""
    text = call.parameter("n")
    if text is None:
        limit = PAGE_MAX_ITEMS
    elif _NUMBER.fullmatch(text):
        limit = min(int(text), PAGE_MAX_ITEMS)
    else:
        raise ProtocolError(
            code="PAGINATION_NUMBER_INVALID", status=400, message="The parameter 'n' must be a number"
        )
    # Nothing that is listed holds a NUL, and PostgreSQL takes none: what precedes it sorts the same.
    last = (call.parameter("last") or "").partition("\0")[0]
    return PageRequest(limit=limit, after=last or None)


def link(path: str, page: PageRequest, after: str | None, extra: Sequence[tuple[str, str]] = ()) -> Headers:
    """Return the Link header to the page that follows `after`; nothing where there is none."""
    if after is None:
        return ()
    query = urllib.parse.urlencode([("n", str(page.limit)), ("last", after), *extra])
    return (("link", f'<{path}?{query}>; rel="next"'),)
