"""What keeps the audit trail: written every moment, forgotten when it is old."""

from openecr.application.audit_trail import AuditTrail
from openecr.jobs.runner import Job

_WRITE_SECONDS = 0.5
_EXPIRE_SECONDS = 600


def audit_jobs(trail: AuditTrail) -> tuple[Job, ...]:
    """Return the jobs. What was noted is written within a second."""
    return (
        Job(name="audit", run=trail.flush, interval_seconds=_WRITE_SECONDS),
        Job(name="audit retention", run=trail.expire, interval_seconds=_EXPIRE_SECONDS),
    )
