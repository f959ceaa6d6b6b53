"""What keeps the audit trail: written every moment, forgotten when it is old."""

from openecr.application.audit_trail import AuditTrail
from openecr.jobs.routines import Routine

_WRITE_SECONDS = 0.5
_EXPIRE_SECONDS = 600


def audit_jobs(trail: AuditTrail) -> tuple[Routine, ...]:
    """Return the jobs. What was noted is written within a second."""
    return (
        Routine(name="audit", run=trail.flush, interval_seconds=_WRITE_SECONDS),
        Routine(name="audit retention", run=trail.expire, interval_seconds=_EXPIRE_SECONDS),
    )
