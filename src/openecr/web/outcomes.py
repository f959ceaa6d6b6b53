"""What the log tells of outcomes. What happened otherwise is in the audit trail."""

import structlog

from openecr.domain.decisions import Decision, Outcome

_LOG = structlog.get_logger(__name__)
_FAILED = 500


def record_outcome(outcome: Outcome) -> None:
    """Tell denials and failures; what went well is in the access log, where one is kept."""
    if outcome.status < _FAILED and outcome.decision in {Decision.ALLOW, None}:
        return
    _LOG.warning(
        "request refused" if outcome.status < _FAILED else "request failed",
        door=outcome.door,
        request_id=outcome.context.request_id,
        caller=None if outcome.caller is None else outcome.caller.arn,
        resources=outcome.resources,
        status=outcome.status,
        error_code=outcome.error_code,
        source_address=outcome.context.source_address,
    )
