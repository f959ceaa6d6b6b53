"""Sealed blobs: keys of uploads, blobs, links and repositories."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns. Empty ones mean what there was before: bytes in clear."""
    for table in ("repositories", "blobs", "links", "uploads", "manifests"):
        op.add_column(table, sa.Column("sealed_key", sa.LargeBinary(), nullable=True))
