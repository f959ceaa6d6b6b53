"""The first schema of the metadata database."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _account_settings() -> None:
    op.create_table(
        "account_settings",
        sa.Column("registry_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("registry_id", "name", name=op.f("pk_account_settings")),
        sqlite_strict=True,
    )


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("authorization_epoch", BIG, server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_accounts")),
        sqlite_strict=True,
    )


def _blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("id", BIG, nullable=False),
        sa.Column("region", TEXT, nullable=False),
        sa.Column("key_id", TEXT, server_default=sa.text("''"), nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("location", TEXT, nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=True),
        sa.Column("state", TEXT, server_default=sa.text("'stored'"), nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.CheckConstraint("state IN ('stored', 'lost')", name=op.f("ck_blobs_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
        sa.UniqueConstraint("location", name=op.f("uq_blobs_location")),
        sa.UniqueConstraint("region", "key_id", "digest", name=op.f("uq_blobs_region_key_id_digest")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )


def _doomed() -> None:
    op.create_table(
        "doomed",
        sa.Column("location", TEXT, nullable=False),
        sa.Column("not_before", BIG, nullable=False),
        sa.PrimaryKeyConstraint("location", name=op.f("pk_doomed")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_doomed_not_before"), "doomed", ["not_before"], unique=False)


def _repositories() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", BIG, nullable=False),
        sa.Column("registry_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("state", TEXT, server_default=sa.text("'live'"), nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("tag_mutability", TEXT, nullable=False),
        sa.Column("exclusion_filters", TEXT, nullable=False),
        sa.Column("scan_on_push", sa.Integer(), nullable=False),
        sa.Column("encryption_type", TEXT, nullable=False),
        sa.Column("kms_key", TEXT, nullable=True),
        sa.CheckConstraint("state IN ('live', 'deleted')", name=op.f("ck_repositories_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index(
        "ix_repositories_deleted",
        "repositories",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'deleted'"),
        postgresql_where=sa.text("state = 'deleted'"),
    )
    op.create_index(
        "uq_repositories_live_name",
        "repositories",
        ["registry_id", "name"],
        unique=True,
        sqlite_where=sa.text("state = 'live'"),
        postgresql_where=sa.text("state = 'live'"),
    )


def _server_state() -> None:
    op.create_table(
        "server_state",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_state")),
        sqlite_strict=True,
    )


def _access_keys() -> None:
    op.create_table(
        "access_keys",
        sa.Column("access_key_id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("principal_id", TEXT, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.CheckConstraint("status IN ('Active', 'Inactive')", name=op.f("ck_access_keys_status")),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name=op.f("fk_access_keys_account_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("access_key_id", name=op.f("pk_access_keys")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_access_keys_account_id"), "access_keys", ["account_id"], unique=False)


def _images() -> None:
    op.create_table(
        "images",
        sa.Column("id", BIG, nullable=False),
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("media_type", TEXT, nullable=False),
        sa.Column("artifact_type", TEXT, nullable=True),
        sa.Column("subject_digest", TEXT, nullable=True),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("manifest_size_bytes", BIG, nullable=False),
        sa.Column("pushed_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_images_repository_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("repository_id", "digest", name=op.f("uq_images_repository_id_digest")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index(
        "ix_images_subject",
        "images",
        ["repository_id", "subject_digest", "digest"],
        unique=False,
        sqlite_where=sa.text("subject_digest IS NOT NULL"),
        postgresql_where=sa.text("subject_digest IS NOT NULL"),
    )


def _links() -> None:
    op.create_table(
        "links",
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("blob_id", BIG, nullable=False),
        sa.Column("grace_until", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["blob_id"], ["blobs.id"], name=op.f("fk_links_blob_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_links_repository_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("repository_id", "digest", name=op.f("pk_links")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_links_blob_id"), "links", ["blob_id"], unique=False)
    op.create_index(op.f("ix_links_grace_until"), "links", ["grace_until"], unique=False)


def _resource_tags() -> None:
    op.create_table(
        "resource_tags",
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_resource_tags_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", "key", name=op.f("pk_resource_tags")),
        sqlite_strict=True,
    )


def _uploads() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("received_bytes", BIG, nullable=False),
        sa.Column("epoch", BIG, nullable=False),
        sa.Column("started_at", BIG, nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_uploads_repository_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_uploads_expires_at"), "uploads", ["expires_at"], unique=False)
    op.create_index(op.f("ix_uploads_repository_id"), "uploads", ["repository_id"], unique=False)


def _image_blobs() -> None:
    op.create_table(
        "image_blobs",
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("media_type", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_image_blobs_image_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"],
            ["links.repository_id", "links.digest"],
            name="fk_image_blobs_link",
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("image_id", "digest", name=op.f("pk_image_blobs")),
        sqlite_strict=True,
    )
    op.create_index("ix_image_blobs_link", "image_blobs", ["repository_id", "digest"], unique=False)


def _image_children() -> None:
    op.create_table(
        "image_children",
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("child_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["child_id"], ["images.id"], name=op.f("fk_image_children_child_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_image_children_image_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", "child_id", name=op.f("pk_image_children")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_image_children_child_id"), "image_children", ["child_id"], unique=False)


def _image_tags() -> None:
    op.create_table(
        "image_tags",
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("tag", TEXT, nullable=False),
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("tagged_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_image_tags_image_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository_id", "tag", name=op.f("pk_image_tags")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_image_tags_image_id"), "image_tags", ["image_id"], unique=False)


def _manifests() -> None:
    op.create_table(
        "manifests",
        sa.Column("image_id", BIG, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image_id"], ["images.id"], name=op.f("fk_manifests_image_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image_id", name=op.f("pk_manifests")),
        sqlite_strict=True,
    )


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
        sa.PrimaryKeyConstraint("location", name=op.f("pk_upload_parts")),
        sqlite_strict=True,
    )
    op.create_index("ix_upload_parts_upload", "upload_parts", ["upload_id", "first_byte"], unique=False)


def upgrade() -> None:
    """Make every table."""
    _account_settings()
    _accounts()
    _blobs()
    _doomed()
    _repositories()
    _server_state()
    _access_keys()
    _images()
    _links()
    _resource_tags()
    _uploads()
    _image_blobs()
    _image_children()
    _image_tags()
    _manifests()
    _upload_parts()
