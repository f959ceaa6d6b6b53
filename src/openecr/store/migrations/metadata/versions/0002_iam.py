"""IAM: principals, their policies, and the policies of repositories and registries."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _principals() -> None:
    op.create_table(
        "principals",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("name_key", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("boundary_arn", TEXT, nullable=True),
        sa.Column("trust_policy", sa.Text(), nullable=True),
        sa.Column("trust_principals", TEXT, nullable=True),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("max_session_seconds", sa.Integer(), nullable=True),
        sa.CheckConstraint("kind IN ('user', 'group', 'role')", name=op.f("ck_principals_kind")),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name=op.f("fk_principals_account_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principals")),
        sa.UniqueConstraint(
            "account_id", "kind", "name_key", name=op.f("uq_principals_account_id_kind_name_key")
        ),
        sqlite_strict=True,
    )
    op.create_index("ix_principals_boundary", "principals", ["boundary_arn"], unique=False)


def _managed_policies() -> None:
    op.create_table(
        "managed_policies",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("name_key", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("arn", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("updated_at", BIG, nullable=False),
        sa.Column("default_version", sa.Integer(), nullable=False),
        sa.Column("newest_version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name=op.f("fk_managed_policies_account_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_managed_policies")),
        sa.UniqueConstraint("account_id", "name_key", name=op.f("uq_managed_policies_account_id_name_key")),
        sa.UniqueConstraint("arn", name=op.f("uq_managed_policies_arn")),
        sqlite_strict=True,
    )


def _group_members() -> None:
    op.create_table(
        "group_members",
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("group_id", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["principals.id"], name=op.f("fk_group_members_group_id"), ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["principals.id"], name=op.f("fk_group_members_user_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("user_id", "group_id", name=op.f("pk_group_members")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_group_members_group_id"), "group_members", ["group_id"], unique=False)


def _inline_policies() -> None:
    op.create_table(
        "inline_policies",
        sa.Column("principal_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"],
            ["principals.id"],
            name=op.f("fk_inline_policies_principal_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("principal_id", "name", name=op.f("pk_inline_policies")),
        sqlite_strict=True,
    )


def _attachments() -> None:
    op.create_table(
        "attachments",
        sa.Column("principal_id", TEXT, nullable=False),
        sa.Column("policy_arn", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["principal_id"], ["principals.id"], name=op.f("fk_attachments_principal_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("principal_id", "policy_arn", name=op.f("pk_attachments")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_attachments_policy_arn"), "attachments", ["policy_arn"], unique=False)


def _policy_versions() -> None:
    op.create_table(
        "policy_versions",
        sa.Column("policy_id", TEXT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["managed_policies.id"],
            name=op.f("fk_policy_versions_policy_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("policy_id", "version", name=op.f("pk_policy_versions")),
        sqlite_strict=True,
    )


def _iam_tags() -> None:
    op.create_table(
        "iam_tags",
        sa.Column("entity_id", TEXT, nullable=False),
        sa.Column("key_key", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("entity_id", "key_key", name=op.f("pk_iam_tags")),
        sqlite_strict=True,
    )


def _oidc_providers() -> None:
    op.create_table(
        "oidc_providers",
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("client_ids", TEXT, nullable=False),
        sa.Column("thumbprints", TEXT, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name=op.f("fk_oidc_providers_account_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("account_id", "url", name=op.f("pk_oidc_providers")),
        sqlite_strict=True,
    )


def _repository_policies() -> None:
    op.create_table(
        "repository_policies",
        sa.Column("repository_id", BIG, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("principals", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_repository_policies_repository_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_repository_policies")),
        sqlite_strict=True,
    )


def _registry_policies() -> None:
    op.create_table(
        "registry_policies",
        sa.Column("registry_id", TEXT, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("principals", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("registry_id", name=op.f("pk_registry_policies")),
        sqlite_strict=True,
    )


def _large_sessions() -> None:
    op.create_table(
        "large_sessions",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.account_id"],
            name=op.f("fk_large_sessions_account_id"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_large_sessions")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_large_sessions_expires_at"), "large_sessions", ["expires_at"], unique=False)


def upgrade() -> None:
    """Make every table of IAM."""
    _principals()
    _managed_policies()
    _group_members()
    _inline_policies()
    _attachments()
    _policy_versions()
    _iam_tags()
    _oidc_providers()
    _repository_policies()
    _registry_policies()
    _large_sessions()
