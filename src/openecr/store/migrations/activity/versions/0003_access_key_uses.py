"""When access keys were last used."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "access_key_uses",
        sa.Column("access_key_id", TEXT, nullable=False),
        sa.Column("used_at", BIG, nullable=False),
        sa.Column("service", TEXT, nullable=False),
        sa.Column("region", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("access_key_id", name=op.f("pk_access_key_uses")),
        sqlite_strict=True,
    )
