"""Lists of KMS: Limit and Marker, Truncated and NextMarker. A marker is no secret and no permission."""

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

from openecr.domain.kms_errors import InvalidMarker
from openecr.domain.pages import Page, PageRequest
from openecr.web.aws.call import Call, Output

T = TypeVar("T")


def page_request(call: Call, *, usual: int = 100, most: int = 1_000) -> PageRequest:
    """Read Limit and Marker. Raises InvalidMarker for a marker that no list gave."""
    marker = call.parameters.get("Marker")
    return PageRequest(
        limit=min(call.parameters.get("Limit") or usual, most),
        after=None if marker is None else _open(marker),
    )


def paged(member: str, page: Page[T], told: Callable[[T], Any]) -> Output:
    """Return the output of a list: the items under `member`, and where to go on."""
    output: Output = {member: [told(item) for item in page.items], "Truncated": page.after is not None}
    if page.after is not None:
        output["NextMarker"] = base64.urlsafe_b64encode(page.after.encode()).decode().rstrip("=")
    return output


def _open(marker: str) -> str:
    try:
        encoded = marker.encode("ascii")
        text = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (UnicodeEncodeError, UnicodeDecodeError, binascii.Error) as error:
        raise InvalidMarker from error
    if "\0" in text:  # PostgreSQL's text takes none
        raise InvalidMarker
    return text
