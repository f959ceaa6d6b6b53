"""The keys of KMS, their aliases and grants."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _keys() -> None:
    op.create_table(
        "kms_keys",
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("registry_id", TEXT, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("manager", TEXT, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("policy_principals", TEXT, nullable=False),
        sa.Column("material_id", TEXT, nullable=False),
        sa.Column("deletion_at", BIG, nullable=True),
        sa.Column("rotation_period_days", sa.Integer(), nullable=True),
        sa.Column("next_rotation_at", BIG, nullable=True),
        sa.CheckConstraint(
            "state IN ('Enabled', 'Disabled', 'PendingDeletion')", name=op.f("ck_kms_keys_state")
        ),
        sa.CheckConstraint("manager IN ('AWS', 'CUSTOMER')", name=op.f("ck_kms_keys_manager")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_kms_keys")),
        sqlite_strict=True,
    )
    op.create_index("ix_kms_keys_registry", "kms_keys", ["registry_id", "key_id"])
    op.create_index("ix_kms_keys_deletion", "kms_keys", ["deletion_at"])
    op.create_index("ix_kms_keys_rotation", "kms_keys", ["next_rotation_at"])


def _of_key(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["key_id"], ["kms_keys.key_id"], name=op.f(f"fk_{table}_key_id"), ondelete="RESTRICT"
    )


def _materials_and_tags() -> None:
    op.create_table(
        "kms_materials",
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("material_id", TEXT, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("rotation", TEXT, nullable=True),
        _of_key("kms_materials"),
        sa.PrimaryKeyConstraint("key_id", "material_id", name=op.f("pk_kms_materials")),
        sa.UniqueConstraint("key_id", "number", name=op.f("uq_kms_materials_key_id_number")),
        sqlite_strict=True,
    )
    op.create_table(
        "kms_key_tags",
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        _of_key("kms_key_tags"),
        sa.PrimaryKeyConstraint("key_id", "key", name=op.f("pk_kms_key_tags")),
        sqlite_strict=True,
    )


def _aliases() -> None:
    op.create_table(
        "kms_aliases",
        sa.Column("registry_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("updated_at", BIG, nullable=False),
        _of_key("kms_aliases"),
        sa.PrimaryKeyConstraint("registry_id", "name", name=op.f("pk_kms_aliases")),
        sqlite_strict=True,
    )
    op.create_index("ix_kms_aliases_key", "kms_aliases", ["key_id", "name"])


def _grants() -> None:
    op.create_table(
        "kms_grants",
        sa.Column("grant_id", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("registry_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=True),
        sa.Column("grantee", TEXT, nullable=False),
        sa.Column("retiring", TEXT, nullable=True),
        sa.Column("principal_ids", TEXT, nullable=False),
        sa.Column("operations", TEXT, nullable=False),
        sa.Column("constraints", sa.Text(), nullable=False),
        sa.Column("issuing_account", TEXT, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        _of_key("kms_grants"),
        sa.PrimaryKeyConstraint("grant_id", name=op.f("pk_kms_grants")),
        sqlite_strict=True,
    )
    op.create_index("ix_kms_grants_key", "kms_grants", ["key_id", "grant_id"])
    op.create_index("ix_kms_grants_grantee", "kms_grants", ["key_id", "grantee", "name"])
    op.create_index("ix_kms_grants_retiring", "kms_grants", ["retiring", "grant_id"])


def upgrade() -> None:
    """Make the tables."""
    _keys()
    _materials_and_tags()
    _aliases()
    _grants()
