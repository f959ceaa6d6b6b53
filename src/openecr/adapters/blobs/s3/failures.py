"""What may go wrong with one call, sorted by what to do about it."""

from enum import Enum, auto

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from openecr.domain.errors import ContentDamaged, StorageFull, Unavailable

_FULL_CODES = frozenset({"InsufficientStorage", "QuotaExceeded", "StorageFull", "XMinioStorageFull"})
_MISSING_CODES = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})
_PASSING_CODES = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "XAmzContentChecksumMismatch",
    }
)
_PASSING_STATUSES = frozenset({408, 429})
_NOT_SERVED, _PRECONDITION_FAILED, _FULL, _BROKEN = 501, 412, 507, 500


_AGAIN = "The registry's storage failed. Try again."


class Refused(Unavailable):
    """The server answers, and does not do this."""


class Kind(Enum):
    """What a failure means."""

    MISSING = auto()
    """The object, or the multipart upload, is not there."""

    DAMAGED = auto()
    """The bytes that were asked for are surely not there: no object is, or a shorter one."""

    TAKEN = auto()
    """An object is there already."""

    NOT_SERVED = auto()
    """The server does not have what was asked for."""

    FULL = auto()
    PASSING = auto()
    """May succeed when it is tried again. Whether it was done is not known."""

    FINAL = auto()


class CallFailed(Exception):
    """One call failed."""

    def __init__(self, kind: Kind, context: str) -> None:
        super().__init__(kind.name, context)
        self.kind = kind
        self.context = context


def failure_of(error: Exception) -> CallFailed:
    """Sort what botocore raised."""
    context = f"{type(error).__name__}: {error}"[:500]
    if isinstance(error, ClientError):
        return CallFailed(_kind_of(error), context)
    passing = (
        CredentialRetrievalError,
        HTTPClientError,
        HTTPError,
        IncompleteReadError,
        MetadataRetrievalError,
        OSError,
        ResponseParserError,
        ResponseStreamingError,
    )
    return CallFailed(Kind.PASSING if isinstance(error, passing) else Kind.FINAL, context)


FAILURES = (BotoCoreError, ClientError, HTTPError, OSError, ResponseParserError)
"""What `failure_of` is for; anything else is a mistake of ours."""


def told(failure: CallFailed) -> Unavailable:
    """Return the error of the port that stands for a failure."""
    if failure.kind is Kind.FULL:
        return StorageFull(context=failure.context)
    if failure.kind is Kind.FINAL:
        return Refused(message=_AGAIN, context=failure.context)
    if failure.kind is Kind.DAMAGED:
        return ContentDamaged(message="A layer could not be read", context=failure.context)
    return out_of_reach(failure.context)


def out_of_reach(context: str) -> Unavailable:
    """Return the error of the port for a store that does not do what it should."""
    return Unavailable(message=_AGAIN, context=context)


def code_of(error: ClientError) -> str:
    """Return what the server calls it."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _kind_of(error: ClientError) -> Kind:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _FULL_CODES or status == _FULL:
        return Kind.FULL
    if code in _MISSING_CODES:
        return Kind.MISSING
    if code in _PASSING_CODES or status in _PASSING_STATUSES:
        return Kind.PASSING
    if status == _PRECONDITION_FAILED:
        return Kind.TAKEN
    if status == _NOT_SERVED:
        return Kind.NOT_SERVED
    return Kind.PASSING if status >= _BROKEN else Kind.FINAL
