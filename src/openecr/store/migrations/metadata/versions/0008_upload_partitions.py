"""Uploads and their parts stand in partitions on PostgreSQL, so that pushes which do not meet can be serialized."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
oldest_compatible = "0007"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
PARTS = 32
COLUMNS = "id, repository_id, received_bytes, epoch, started_at, expires_at, owner, sealed_key"
PART_COLUMNS = "location, upload_id, epoch, first_byte, size_bytes"


def upgrade() -> None:
    """Make the tables anew and take over their few rows."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.drop_index("ix_upload_parts_upload", "upload_parts")
    op.rename_table("upload_parts", "upload_parts_before")
    if is_postgresql:
        op.execute(
            "ALTER TABLE upload_parts_before RENAME CONSTRAINT pk_upload_parts TO pk_upload_parts_before"
        )
        op.drop_constraint("fk_upload_parts_upload_id", "upload_parts_before", type_="foreignkey")
        _uploads()
    _upload_parts()
    if is_postgresql:
        _partition("upload_parts")
    op.execute(f"INSERT INTO upload_parts ({PART_COLUMNS}) SELECT {PART_COLUMNS} FROM upload_parts_before")  # noqa: S608 -- constants
    op.drop_table("upload_parts_before")


def _uploads() -> None:
    for name in ("ix_uploads_expires_at", "ix_uploads_repository_id"):
        op.drop_index(name, "uploads")
    op.rename_table("uploads", "uploads_before")
    op.execute("ALTER TABLE uploads_before RENAME CONSTRAINT pk_uploads TO pk_uploads_before")
    op.create_table(
        "uploads",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("received_bytes", BIG, nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("started_at", BIG, nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.Column("owner", TEXT, nullable=False, server_default=sa.text("''")),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_uploads_repository_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        postgresql_partition_by="HASH (id)",
    )
    _partition("uploads")
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"], unique=False)
    op.create_index(op.f("ix_uploads_repository_id"), "uploads", ["repository_id"], unique=False)
    op.execute(f"INSERT INTO uploads ({COLUMNS}) SELECT {COLUMNS} FROM uploads_before")  # noqa: S608 -- constants
    op.drop_table("uploads_before")


def _upload_parts() -> None:
    op.create_table(
        "upload_parts",
        sa.Column("location", TEXT, nullable=False),
        sa.Column("upload_id", TEXT, nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("first_byte", BIG, nullable=False),
        sa.Column("size_bytes", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["uploads.id"], name=op.f("fk_upload_parts_upload_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("upload_id", "location", name=op.f("pk_upload_parts")),
        sqlite_strict=True,
        postgresql_partition_by="HASH (upload_id)",
    )
    op.create_index("ix_upload_parts_upload", "upload_parts", ["upload_id", "first_byte"], unique=False)
    op.create_index(op.f("ix_upload_parts_location"), "upload_parts", ["location"], unique=False)


def _partition(table: str) -> None:
    for number in range(PARTS):
        op.execute(
            f"CREATE TABLE {table}_p{number:02} PARTITION OF {table} "
            f"FOR VALUES WITH (MODULUS {PARTS}, REMAINDER {number})"
        )
