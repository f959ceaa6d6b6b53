"""Uploads belong to the principal that began them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column; of uploads that are open the owner is not known."""
    op.add_column("uploads", sa.Column("owner", TEXT, server_default=sa.text("''"), nullable=False))
