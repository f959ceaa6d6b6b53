"""Background work: jobs and schedules."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "jobs",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("unique_key", TEXT),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", BIG, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("run_at", BIG, nullable=False),
        sa.Column("every_seconds", BIG),
        sa.Column("ended_at", BIG),
        sa.Column("token", BIG, nullable=False),
        sa.Column("worker", TEXT),
        sa.Column("lease_until", BIG),
        sa.Column("last_error", TEXT),
        sa.CheckConstraint("state IN ('ready', 'running', 'dead')", name="state"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    is_open = sa.text("state IN ('ready', 'running') AND unique_key IS NOT NULL")
    op.create_index(
        "uq_jobs_open",
        "jobs",
        ["kind", "unique_key"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    for name, column, state in (
        ("ix_jobs_ready", "run_at", "state = 'ready'"),
        ("ix_jobs_running", "lease_until", "state = 'running'"),
    ):
        op.create_index(name, "jobs", [column], sqlite_where=sa.text(state), postgresql_where=sa.text(state))
