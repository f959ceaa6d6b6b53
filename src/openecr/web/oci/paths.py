"""Paths under `/v2`: what a request names. Knows neither methods nor permissions.

Repository names hold slashes and may hold words of the grammar (`tags/list` is a legal name), so the name takes as
much as it can and the endpoint is what remains at the end.
"""

import enum
import functools
import re
from dataclasses import dataclass, field
from typing import cast

from openecr.domain.names import is_repository_name


class Endpoint(enum.Enum):
    """The shapes of paths; each value is the group of the pattern below that matches it."""

    PING = "ping"
    CATALOG = "catalog"
    MANIFEST = "manifest"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parsed path. `name` and `tail` (reference, digest or upload id) are as written.

    `repository_name` is the name where it is a legal one; the tail is not validated.
    """

    endpoint: Endpoint
    name: str = ""
    tail: str = ""
    repository_name: str | None = field(default=None, compare=False)


PING = Target(endpoint=Endpoint.PING)
CATALOG = Target(endpoint=Endpoint.CATALOG)

_FIXED = {"/v2/": PING, "/v2": PING, "/v2/_catalog": CATALOG}

_PATH = re.compile(
    r"/v2/(?P<name>.+)/"
    r"(?:manifests/(?P<manifest>[^/]+)"
    r"|blobs/(?P<uploads>uploads/?)"
    r"|blobs/uploads/(?P<upload>[^/]+)"
    r"|blobs/(?P<blob>[^/]+)"
    r"|(?P<tags>tags/list)"
    r"|referrers/(?P<referrers>[^/]+))"
)
_KEPT_PATHS = 4096
_KEPT_CHARACTERS = 512
"""A path that is longer is read anew each time: the memory for those that are kept has a bound."""

_ENDPOINTS = {endpoint.value: endpoint for endpoint in Endpoint}


def parse_path(path: str) -> Target | None:
    """Return what a decoded path names, or None where no endpoint has that shape."""
    return _parse_kept(path) if len(path) <= _KEPT_CHARACTERS else _parse(path)


def _parse(path: str) -> Target | None:
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    group = cast("str", match.lastgroup)
    name = match["name"]
    return Target(
        endpoint=_ENDPOINTS[group],
        name=name,
        tail=match[group],
        repository_name=name if is_repository_name(name) else None,
    )


_parse_kept = functools.lru_cache(maxsize=_KEPT_PATHS)(_parse)


def manifest_url(name: str, digest: object) -> str:
    """Return the path of a manifest. Paths in answers are relative and query-free: every client keeps them whole."""
    return f"/v2/{name}/manifests/{digest}"


def blob_url(name: str, digest: object) -> str:
    """Return the path of a blob."""
    return f"/v2/{name}/blobs/{digest}"


def upload_url(name: str, upload_id: str) -> str:
    """Return the path of an upload session."""
    return f"/v2/{name}/blobs/uploads/{upload_id}"
