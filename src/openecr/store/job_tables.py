"""The table of background work."""

from sqlalchemy import CheckConstraint, Column, Index, Table, Text, text

from openecr.store.tables import BIG, METADATA, TEXT

_IS_OPEN = text("state IN ('ready', 'running') AND unique_key IS NOT NULL")
_IS_READY = text("state = 'ready'")
_IS_RUNNING = text("state = 'running'")

JOBS = Table(
    "jobs",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("kind", TEXT, nullable=False),
    # Of open jobs of one kind no two have the same one; NULL: any number may be open.
    Column("unique_key", TEXT),
    Column("payload", Text, nullable=False),  # a JSON object
    # 'dead': it failed too often, and waits for an operator. What is done is removed, or begins again.
    Column("state", TEXT, nullable=False),
    Column("attempts", BIG, nullable=False),
    Column("created_at", BIG, nullable=False),
    # When it is due. Of a job that runs it stays as it was when it was claimed; any other value asks for one more run.
    Column("run_at", BIG, nullable=False),
    # How long after its end it begins again; NULL: it is done once.
    Column("every_seconds", BIG),
    Column("ended_at", BIG),
    # Raised by every claim. Whoever comes with an older one has lost the job.
    Column("token", BIG, nullable=False),
    Column("worker", TEXT),
    Column("lease_until", BIG),
    Column("last_error", TEXT),
    CheckConstraint("state IN ('ready', 'running', 'dead')", name="state"),
    Index(
        "uq_jobs_open", "kind", "unique_key", unique=True, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN
    ),
    Index(
        "ix_jobs_ready_of_kind", "kind", "run_at", "id", sqlite_where=_IS_READY, postgresql_where=_IS_READY
    ),
    Index("ix_jobs_running", "lease_until", sqlite_where=_IS_RUNNING, postgresql_where=_IS_RUNNING),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)
"""A row for each job, written in the transaction of its cause (design notes, section 10)."""
