"""Jobs that wait are found by their kind: a backlog of one kind is in no other's way."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
oldest_compatible = "0007"


def upgrade() -> None:
    """Replace the index: the version before finds what it needs by either."""
    is_ready = sa.text("state = 'ready'")
    op.create_index(
        "ix_jobs_ready_of_kind",
        "jobs",
        ["kind", "run_at", "id"],
        sqlite_where=is_ready,
        postgresql_where=is_ready,
    )
    op.drop_index("ix_jobs_ready", "jobs")
