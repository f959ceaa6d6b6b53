"""The tables of KMS. Every change to what decisions read here raises the owner's `authorization_epoch`."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from openecr.store.tables import BIG, METADATA, TEXT

KMS_KEYS = Table(
    "kms_keys",
    METADATA,
    Column("key_id", TEXT, primary_key=True),
    Column("registry_id", TEXT, nullable=False),
    Column("description", Text(), nullable=False),
    Column("state", TEXT, nullable=False),
    Column("manager", TEXT, nullable=False),
    Column("created_at", BIG, nullable=False),
    Column("policy", Text(), nullable=False),
    Column("policy_principals", TEXT, nullable=False),  # as `principals.trust_principals`
    Column("material_id", TEXT, nullable=False),  # the one that encrypts
    Column("deletion_at", BIG),
    Column("rotation_period_days", Integer),
    Column("next_rotation_at", BIG),
    CheckConstraint("state IN ('Enabled', 'Disabled', 'PendingDeletion')", name="state"),
    CheckConstraint("manager IN ('AWS', 'CUSTOMER')", name="manager"),
    Index("ix_kms_keys_registry", "registry_id", "key_id"),
    Index("ix_kms_keys_deletion", "deletion_at"),
    Index("ix_kms_keys_rotation", "next_rotation_at"),
    sqlite_strict=True,
)

KMS_MATERIALS = Table(
    "kms_materials",
    METADATA,
    Column("key_id", TEXT, ForeignKey("kms_keys.key_id", ondelete="RESTRICT"), primary_key=True),
    Column("material_id", TEXT, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BIG, nullable=False),
    Column("rotation", TEXT),
    UniqueConstraint("key_id", "number"),
    sqlite_strict=True,
)
"""A key's materials, sealed by the key ring: the newest encrypts, all decrypt."""

KMS_ALIASES = Table(
    "kms_aliases",
    METADATA,
    Column("registry_id", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("key_id", TEXT, ForeignKey("kms_keys.key_id", ondelete="RESTRICT"), nullable=False),
    Column("created_at", BIG, nullable=False),
    Column("updated_at", BIG, nullable=False),
    Index("ix_kms_aliases_key", "key_id", "name"),
    sqlite_strict=True,
)

KMS_GRANTS = Table(
    "kms_grants",
    METADATA,
    Column("grant_id", TEXT, primary_key=True),
    Column("key_id", TEXT, ForeignKey("kms_keys.key_id", ondelete="RESTRICT"), nullable=False),
    Column("registry_id", TEXT, nullable=False),
    Column("name", TEXT),
    Column("grantee", TEXT, nullable=False),
    Column("retiring", TEXT),
    Column("principal_ids", TEXT, nullable=False),  # as `principals.trust_principals`
    Column("operations", TEXT, nullable=False),  # a JSON array
    Column("constraints", Text(), nullable=False),  # a JSON object
    Column("issuing_account", TEXT, nullable=False),
    Column("created_at", BIG, nullable=False),
    Index("ix_kms_grants_key", "key_id", "grant_id"),
    Index("ix_kms_grants_grantee", "key_id", "grantee", "name"),
    Index("ix_kms_grants_retiring", "retiring", "grant_id"),
    sqlite_strict=True,
)

KMS_KEY_TAGS = Table(
    "kms_key_tags",
    METADATA,
    Column("key_id", TEXT, ForeignKey("kms_keys.key_id", ondelete="RESTRICT"), primary_key=True),
    Column("key", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    sqlite_strict=True,
)
