"""The tables of IAM: principals, their policies, and the policies of repositories and registries.

Every change to what is kept here, tags included, raises the account's `authorization_epoch` in its transaction.
"""

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

PRINCIPALS = Table(
    "principals",
    METADATA,
    Column("id", TEXT, primary_key=True),  # AIDA, AGPA or AROA and 17 more: never given to another one
    Column("account_id", TEXT, ForeignKey("accounts.account_id", ondelete="RESTRICT"), nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("name_key", TEXT, nullable=False),  # the name in lower case: no two differ by case alone
    Column("path", TEXT, nullable=False),
    Column("created_at", BIG, nullable=False),
    Column("boundary_arn", TEXT),
    # Of roles alone: who may assume it, and the ids that the principals in it had when it was stored (a JSON object).
    Column("trust_policy", Text()),
    Column("trust_principals", TEXT),
    Column("description", TEXT),
    Column("max_session_seconds", Integer),
    CheckConstraint("kind IN ('user', 'group', 'role')", name="kind"),
    UniqueConstraint("account_id", "kind", "name_key"),
    Index("ix_principals_boundary", "boundary_arn"),
    sqlite_strict=True,
)
"""Users, groups and roles."""

GROUP_MEMBERS = Table(
    "group_members",
    METADATA,
    Column("user_id", TEXT, ForeignKey("principals.id", ondelete="RESTRICT"), primary_key=True),
    Column("group_id", TEXT, ForeignKey("principals.id", ondelete="RESTRICT"), primary_key=True, index=True),
    sqlite_strict=True,
)

INLINE_POLICIES = Table(
    "inline_policies",
    METADATA,
    Column("principal_id", TEXT, ForeignKey("principals.id", ondelete="RESTRICT"), primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("document", Text(), nullable=False),
    sqlite_strict=True,
)

ATTACHMENTS = Table(
    "attachments",
    METADATA,
    Column("principal_id", TEXT, ForeignKey("principals.id", ondelete="RESTRICT"), primary_key=True),
    Column("policy_arn", TEXT, primary_key=True, index=True),
    sqlite_strict=True,
)
"""Managed policies of principals: those of an account, and AWS's own, which are no rows."""

MANAGED_POLICIES = Table(
    "managed_policies",
    METADATA,
    Column("id", TEXT, primary_key=True),  # ANPA and 17 more
    Column("account_id", TEXT, ForeignKey("accounts.account_id", ondelete="RESTRICT"), nullable=False),
    Column("name", TEXT, nullable=False),
    Column("name_key", TEXT, nullable=False),
    Column("path", TEXT, nullable=False),
    Column("arn", TEXT, nullable=False, unique=True),
    Column("description", TEXT),
    Column("created_at", BIG, nullable=False),
    Column("updated_at", BIG, nullable=False),
    Column("default_version", Integer, nullable=False),
    Column("newest_version", Integer, nullable=False),  # numbers are never given again
    UniqueConstraint("account_id", "name_key"),
    sqlite_strict=True,
)

POLICY_VERSIONS = Table(
    "policy_versions",
    METADATA,
    Column("policy_id", TEXT, ForeignKey("managed_policies.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("document", Text(), nullable=False),
    Column("created_at", BIG, nullable=False),
    sqlite_strict=True,
)

IAM_TAGS = Table(
    "iam_tags",
    METADATA,
    Column("entity_id", TEXT, primary_key=True),  # of a principal or managed policy; of a provider its ARN
    Column("key_key", TEXT, primary_key=True),  # the key in lower case: no two differ by case alone
    Column("key", TEXT, nullable=False),
    Column("value", TEXT, nullable=False),
    sqlite_strict=True,
)

OIDC_PROVIDERS = Table(
    "oidc_providers",
    METADATA,
    Column("account_id", TEXT, ForeignKey("accounts.account_id", ondelete="RESTRICT"), primary_key=True),
    Column("url", TEXT, primary_key=True),  # without https://
    Column("client_ids", TEXT, nullable=False),  # a JSON array
    Column("thumbprints", TEXT, nullable=False),  # a JSON array
    Column("created_at", BIG, nullable=False),
    sqlite_strict=True,
)

REPOSITORY_POLICIES = Table(
    "repository_policies",
    METADATA,
    Column("repository_id", BIG, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("document", Text(), nullable=False),
    Column("principals", TEXT, nullable=False),  # as `principals.trust_principals`
    sqlite_strict=True,
)

REGISTRY_POLICIES = Table(
    "registry_policies",
    METADATA,
    Column("registry_id", TEXT, primary_key=True),
    Column("document", Text(), nullable=False),
    Column("principals", TEXT, nullable=False),
    sqlite_strict=True,
)

LARGE_SESSIONS = Table(
    "large_sessions",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("account_id", TEXT, ForeignKey("accounts.account_id", ondelete="RESTRICT"), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("expires_at", BIG, nullable=False, index=True),
    sqlite_strict=True,
)
"""Sessions of authorization tokens that would be too long to be self-contained."""
