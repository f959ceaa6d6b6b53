"""How a request's end stands in its audit record, on both faces."""

from openecr.domain.decisions import AuditRecord
from openecr.domain.errors import AccessDenied, DomainError, InvalidManifest

_FAILED = 400
_DENIED = "AccessDenied"
_UNTOLD = "InternalFailure"


def close_record(record: AuditRecord, status: int, error: Exception | None, code: str | None) -> None:
    """Fill in what went wrong, if anything did. `code` is AWS's; None for a bug.

    Messages of wrong parameters are left out: they repeat what was sent, which may be a secret.
    """
    if status < _FAILED:
        return
    record.error_code = code or _UNTOLD
    if isinstance(error, AccessDenied):
        record.error_code, record.explanation = _DENIED, error.explanation
    if isinstance(error, DomainError) and not isinstance(error, InvalidManifest):
        record.error_message = error.message
