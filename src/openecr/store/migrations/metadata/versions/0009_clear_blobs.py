"""An index of the blobs that are stored in clear: whoever seals them finds the next one among any number."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
oldest_compatible = "0007"


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "ix_blobs_clear",
        "blobs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("header IS NULL"),
        postgresql_where=sa.text("header IS NULL"),
    )
