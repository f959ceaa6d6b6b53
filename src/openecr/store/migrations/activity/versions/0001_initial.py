"""The first schema of the activity database."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "image_pulls",
        sa.Column("image_id", BIG, autoincrement=False, nullable=False),
        sa.Column("pulled_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_image_pulls")),
        sqlite_strict=True,
    )
