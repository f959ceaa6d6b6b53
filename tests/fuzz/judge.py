"""What every answer has to be, whatever was asked."""

import json
import re
from typing import Any, cast
from xml.etree import ElementTree as ET

from openecr.testing.aws import content_of as all_of
from openecr.web.messages import Response, StreamBody
from openecr.web.oci.errors import ERRORS as REGISTRY_ERRORS
from tests.fuzz.requests import Shot

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)
_FIELD_VALUE = re.compile(r"[\t -~]*", re.ASCII)
_REGISTRY_CODES = {row.code for row in REGISTRY_ERRORS.values()} | {
    "RANGE_INVALID",
    "PAGINATION_NUMBER_INVALID",
    "UNSUPPORTED",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "TAG_INVALID",
}
_ERROR = 400
_FAILURE = 500


class Verdict(AssertionError):
    """An answer is not what it has to be."""


async def content_of(response: Response) -> bytes:
    """Return the bytes of an answer, as the server would send them."""
    content = await all_of(response)
    if isinstance(response.body, StreamBody):
        _demand(len(content) == response.body.size_bytes, "a stream of another length than announced")
    return content


def judge(shot: Shot, response: Response, content: bytes) -> None:
    """Raise Verdict unless the answer is one that the face gives."""
    _demand(200 <= response.status < _FAILURE, f"status {response.status}: {content[:300]!r}")
    for name, value in response.headers:
        # The HTTP server would not answer at all.
        _demand(_FIELD_NAME.fullmatch(name) is not None, f"header name {name!r}")
        _demand(_FIELD_VALUE.fullmatch(value) is not None, f"header {name} with {value!r}")
    headers = dict(response.headers)
    if shot.method != "HEAD" and "content-length" in headers:
        _demand(int(headers["content-length"]) == len(content), "a content-length that is not the body's")
    path = shot.request().path
    if path in {"", "/"}:
        _judge_aws(shot, response.status, headers, content)
    elif path == "/v2" or path.startswith("/v2/"):
        _judge_registry(shot, response.status, headers, content)


def _judge_aws(shot: Shot, status: int, headers: dict[str, str], content: bytes) -> None:
    _demand("x-amzn-requestid" in headers, "no request id")
    media_type = headers.get("content-type")
    _demand(media_type in {"text/xml", "application/x-amz-json-1.1"}, f"content-type {media_type}")
    if shot.method == "HEAD":
        return
    if media_type == "text/xml":
        root = ET.fromstring(content.decode())
        if status >= _ERROR:
            _demand(root.find(".//{*}Error/{*}Code") is not None, "an XML error without its code")
        return
    document = json.loads(content.decode())
    _demand(isinstance(document, dict), "an answer that is no object")
    if status >= _ERROR:
        _demand(isinstance(document.get("__type"), str), "an error without a type")
        _demand(isinstance(document.get("message", ""), str), "an error without a message")


def _judge_registry(shot: Shot, status: int, headers: dict[str, str], content: bytes) -> None:
    _demand(headers.get("docker-distribution-api-version") == "registry/2.0", "no API version")
    if status == 401:
        _demand(headers.get("www-authenticate", "").startswith("Basic "), "no challenge")
    elif status >= _ERROR and shot.method != "HEAD":
        _demand(
            headers.get("content-type") == "application/json", f"content-type {headers.get('content-type')}"
        )
        entries = cast("list[dict[str, Any]]", json.loads(content.decode())["errors"])
        _demand(len(entries) == 1 and entries[0]["code"] in _REGISTRY_CODES, f"errors {entries}")
        _demand(
            isinstance(entries[0]["message"], str) and bool(entries[0]["message"]),
            "an error that says nothing",
        )


def _demand(holds: object, why: str) -> None:
    if not holds:
        raise Verdict(why)
