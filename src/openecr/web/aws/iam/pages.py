"""Lists of IAM: MaxItems and Marker, IsTruncated and Marker.

A marker is base64url of the key that the page ended at; it is no secret and no permission. IAM allows 320 characters.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

from openecr.domain.iam_errors import IamValidationError
from openecr.domain.pages import Page, PageRequest
from openecr.web.aws.call import Call, Output

DEFAULT_ITEMS = 100
"""IAM API reference, "MaxItems"."""

T = TypeVar("T")


def page_request(call: Call) -> PageRequest:
    """Read MaxItems and Marker. Raises IamValidationError for a marker that no list gave."""
    marker = call.parameters.get("Marker")
    return PageRequest(
        limit=call.parameters.get("MaxItems") or DEFAULT_ITEMS,
        after=None if marker is None else _open(marker),
    )


def paged(member: str, page: Page[T], told: Callable[[T], Any]) -> Output:
    """Return the output of a list: the items under `member`, and where to go on."""
    marker = marker_of(page)
    return {
        member: [told(item) for item in page.items],
        "IsTruncated": marker is not None,
        "Marker": marker,
    }


def marker_of(page: Page[Any]) -> str | None:
    """Return where a list goes on after a page, or None after the last one."""
    if page.after is None:
        return None
    return base64.urlsafe_b64encode(page.after.encode()).decode().rstrip("=")


def empty(member: str) -> Output:
    """Return the output of a list of what this server has none of."""
    return {member: [], "IsTruncated": False}


def _open(marker: str) -> str:
    try:
        encoded = marker.encode("ascii")
        text = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (UnicodeEncodeError, UnicodeDecodeError, binascii.Error) as error:
        raise IamValidationError(message="Invalid Marker.") from error
    if "\0" in text:  # PostgreSQL's text takes none
        raise IamValidationError(message="Invalid Marker.")
    return text
