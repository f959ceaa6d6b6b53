"""The audit trail, and why requests were denied."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "audit",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("region", TEXT, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", "account_id", name=op.f("pk_audit")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("ix_audit_account", "audit", ["account_id", "region", "id"], unique=False)
    op.create_table(
        "audit_explanations",
        sa.Column("request_id", TEXT, nullable=False),
        sa.Column("requested_at", BIG, nullable=False),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_audit_explanations")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_audit_explanations_requested_at"), "audit_explanations", ["requested_at"], unique=False
    )
