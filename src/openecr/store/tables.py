"""The tables. Every one hangs on a registry; instants are UTC microseconds; no column needs a result processor.

Safety lives here: what refers is a foreign key that restricts, so nothing that is needed can be deleted.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

from openecr.store.partitions import partition

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BIG = BigInteger().with_variant(Integer, "sqlite")
"""An integer of 64 bits that SQLite accepts as a row id."""

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text in byte order, on PostgreSQL too: lists are paged by it, and locales differ between machines."""

# --- the server and its accounts ---------------------------------------------------------------------------------

SERVER_STATE = Table(
    "server_state",
    METADATA,
    Column("name", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    sqlite_strict=True,
)
"""What the first start decided: the default account, the format of the data."""

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("account_id", TEXT, primary_key=True),
    Column("created_at", BIG, nullable=False),
    # Raised in the transaction of every change to keys, principals or policies; it validates every cache.
    Column("authorization_epoch", BIG, nullable=False, server_default=text("0")),
    sqlite_strict=True,
)

ACCESS_KEYS = Table(
    "access_keys",
    METADATA,
    Column("access_key_id", TEXT, primary_key=True),
    Column(
        "account_id", TEXT, ForeignKey("accounts.account_id", ondelete="RESTRICT"), nullable=False, index=True
    ),
    Column("principal_id", TEXT, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("created_at", BIG, nullable=False),
    CheckConstraint("status IN ('Active', 'Inactive')", name="status"),
    sqlite_strict=True,
)

ACCOUNT_SETTINGS = Table(
    "account_settings",
    METADATA,
    Column("registry_id", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    sqlite_strict=True,
)

# --- repositories ------------------------------------------------------------------------------------------------

REPOSITORIES = Table(
    "repositories",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("registry_id", TEXT, nullable=False),
    Column("name", TEXT, nullable=False),
    # 'live', or 'deleted': the name is free at once and a job purges the rest.
    Column("state", TEXT, nullable=False, server_default=text("'live'")),
    Column("created_at", BIG, nullable=False),
    Column("tag_mutability", TEXT, nullable=False),
    Column("exclusion_filters", TEXT, nullable=False),  # a JSON array of wildcard patterns
    Column("scan_on_push", Integer, nullable=False),
    Column("encryption_type", TEXT, nullable=False),
    Column("kms_key", TEXT),
    # Of a repository with a key of KMS: its own key, which seals its manifests and the keys of its links and uploads;
    # a ciphertext of KMS.
    Column("sealed_key", LargeBinary),
    CheckConstraint("state IN ('live', 'deleted')", name="state"),
    Index(
        "uq_repositories_live_name",
        "registry_id",
        "name",
        unique=True,
        sqlite_where=text("state = 'live'"),
        postgresql_where=text("state = 'live'"),
    ),
    Index(
        "ix_repositories_deleted",
        "id",
        sqlite_where=text("state = 'deleted'"),
        postgresql_where=text("state = 'deleted'"),
    ),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

# Literals, not parameters: a partial index serves only a condition that is written out, and SQLite would prepare a
# statement anew at every run to find out what is bound.
IS_LIVE = REPOSITORIES.c.state == literal_column("'live'")
IS_DELETED = REPOSITORIES.c.state == literal_column("'deleted'")

RESOURCE_TAGS = Table(
    "resource_tags",
    METADATA,
    Column("repository_id", BIG, ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True),
    Column("key", TEXT, primary_key=True),
    Column("value", TEXT, nullable=False),
    sqlite_strict=True,
)

# --- blobs and the links through which repositories hold them ----------------------------------------------------

BLOBS = Table(
    "blobs",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("region", TEXT, nullable=False),
    Column("key_id", TEXT, nullable=False, server_default=text("''")),  # content is shared per region and key
    Column("digest", TEXT, nullable=False),
    Column("size_bytes", BIG, nullable=False),
    Column("location", TEXT, nullable=False, unique=True),
    Column("header", LargeBinary),  # of the sealed format; NULL: stored in clear
    # 'stored', or 'lost': it proved bad or missing and answers 404 until its digest is uploaded again.
    Column("state", TEXT, nullable=False, server_default=text("'stored'")),
    Column("created_at", BIG, nullable=False),
    # The data key, sealed by the key ring; where `key_id` is not empty, by the share key, which the links have.
    Column("sealed_key", LargeBinary),
    CheckConstraint("state IN ('stored', 'lost')", name="state"),
    UniqueConstraint("region", "key_id", "digest"),
    Index(
        "ix_blobs_clear",
        "id",
        sqlite_where=text("header IS NULL"),
        postgresql_where=text("header IS NULL"),
    ),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

LINKS = Table(
    "links",
    METADATA,
    Column("repository_id", BIG, ForeignKey("repositories.id", ondelete="RESTRICT"), primary_key=True),
    Column("digest", TEXT, primary_key=True),
    Column("blob_id", BIG, ForeignKey("blobs.id", ondelete="RESTRICT"), nullable=False, index=True),
    Column("grace_until", BIG, nullable=False, index=True),
    Column(
        "sealed_key", LargeBinary
    ),  # the blob's share key, under the own key of a repository with a key of KMS
    sqlite_strict=True,
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column(
        "repository_id", BIG, ForeignKey("repositories.id", ondelete="RESTRICT"), nullable=False, index=True
    ),
    Column("received_bytes", BIG, nullable=False),
    # Raised by every request that takes the session, so that a stale connection cannot record a part.
    Column("epoch", BIG, nullable=False),
    Column("started_at", BIG, nullable=False),
    Column("expires_at", BIG, nullable=False, index=True),
    # The principal that began it; empty: it was begun before there were any but roots.
    Column("owner", TEXT, nullable=False, server_default=text("''")),
    # The data key of the blob to be, sealed by the key ring or by its repository's own key; NULL: parts are in clear.
    Column("sealed_key", LargeBinary),
    sqlite_strict=True,
    postgresql_partition_by="HASH (id)",
)
partition(UPLOADS)

UPLOAD_PARTS = Table(
    "upload_parts",
    METADATA,
    Column("location", TEXT, nullable=False, index=True),
    # The row is written before the first byte, so that no stored byte is ever unknown to the database.
    Column("upload_id", TEXT, ForeignKey("uploads.id", ondelete="RESTRICT"), nullable=False),
    Column("epoch", BIG, nullable=False),
    Column("first_byte", BIG, nullable=False),
    Column("size_bytes", BIG),  # NULL until the part is whole and durable
    PrimaryKeyConstraint("upload_id", "location"),
    Index("ix_upload_parts_upload", "upload_id", "first_byte"),
    sqlite_strict=True,
    postgresql_partition_by="HASH (upload_id)",
)
partition(UPLOAD_PARTS)

DOOMED = Table(
    "doomed",
    METADATA,
    Column("location", TEXT, primary_key=True),
    Column("not_before", BIG, nullable=False, index=True),
    sqlite_strict=True,
)
"""Locations whose rows are gone; their bytes are removed at `not_before`.

Among them are those where a job writes what no row is to name before it is whole: it puts `not_before` off meanwhile.
"""

# --- images ------------------------------------------------------------------------------------------------------

IMAGES = Table(
    "images",
    METADATA,
    Column("id", BIG, primary_key=True),
    Column("repository_id", BIG, ForeignKey("repositories.id", ondelete="RESTRICT"), nullable=False),
    Column("digest", TEXT, nullable=False),
    Column("media_type", TEXT, nullable=False),
    Column("artifact_type", TEXT),
    Column("subject_digest", TEXT),
    Column("size_bytes", BIG, nullable=False),
    Column("manifest_size_bytes", BIG, nullable=False),
    Column("pushed_at", BIG, nullable=False),
    UniqueConstraint("repository_id", "digest"),
    Index(
        "ix_images_subject",
        "repository_id",
        "subject_digest",
        "digest",
        sqlite_where=text("subject_digest IS NOT NULL"),
        postgresql_where=text("subject_digest IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
    sqlite_strict=True,
)

MANIFESTS = Table(
    "manifests",
    METADATA,
    Column("image_id", BIG, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column(
        "sealed_key", LargeBinary
    ),  # not used: where there is a key of KMS, its repository's own seals the content
    sqlite_strict=True,
)

IMAGE_TAGS = Table(
    "image_tags",
    METADATA,
    Column("repository_id", BIG, primary_key=True),
    Column("tag", TEXT, primary_key=True),
    Column("image_id", BIG, ForeignKey("images.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("tagged_at", BIG, nullable=False),
    sqlite_strict=True,
)

IMAGE_BLOBS = Table(
    "image_blobs",
    METADATA,
    Column("image_id", BIG, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", TEXT, primary_key=True),
    Column("repository_id", BIG, nullable=False),
    Column("media_type", TEXT, nullable=False),
    ForeignKeyConstraint(
        ["repository_id", "digest"],
        ["links.repository_id", "links.digest"],
        name="fk_image_blobs_link",
        ondelete="RESTRICT",
    ),
    Index("ix_image_blobs_link", "repository_id", "digest"),
    sqlite_strict=True,
)
"""What keeps a link: the config and layers that an image of the repository names."""

IMAGE_CHILDREN = Table(
    "image_children",
    METADATA,
    Column("image_id", BIG, ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
    Column("child_id", BIG, ForeignKey("images.id", ondelete="RESTRICT"), primary_key=True, index=True),
    sqlite_strict=True,
)
"""What keeps a child manifest: the indexes of the repository that name it."""

# --- audit ---------------------------------------------------------------------------------------------------------

AUDIT_PENDING = Table(
    "audit_pending",
    METADATA,
    Column("id", TEXT, primary_key=True),
    Column("event", Text, nullable=False),
    sqlite_strict=True,
)
"""Events of calls that changed something, stored in the transaction of the change; a job takes them to the trail."""

# --- activity: kept apart, so that it neither contends with pushes nor invalidates reads -------------------------

ACTIVITY = MetaData(naming_convention=METADATA.naming_convention)

IMAGE_PULLS = Table(
    "image_pulls",
    ACTIVITY,
    Column("image_id", BIG, primary_key=True, autoincrement=False),
    Column("pulled_at", BIG, nullable=False),
    sqlite_strict=True,
)

AUDIT = Table(
    "audit",
    ACTIVITY,
    # When it happened, then the request's id: events are added at the end, and removed from the beginning.
    Column("id", TEXT, primary_key=True),
    Column("account_id", TEXT, primary_key=True),
    Column("region", TEXT, nullable=False),
    Column("event", Text, nullable=False),
    Index("ix_audit_account", "account_id", "region", "id"),
    sqlite_strict=True,
    sqlite_with_rowid=False,
)
"""The audit trail: an event for each account that it concerns."""

AUDIT_EXPLANATIONS = Table(
    "audit_explanations",
    ACTIVITY,
    Column("request_id", TEXT, primary_key=True),
    Column("requested_at", BIG, nullable=False, index=True),
    Column("explanation", Text, nullable=False),
    sqlite_strict=True,
)
"""Why requests were denied, for the operator alone."""

ACCESS_KEY_USES = Table(
    "access_key_uses",
    ACTIVITY,
    Column("access_key_id", TEXT, primary_key=True),
    Column("used_at", BIG, nullable=False),
    Column("service", TEXT, nullable=False),
    Column("region", TEXT, nullable=False),
    sqlite_strict=True,
)
