"""Sealed blobs: keys of uploads, blobs, links and repositories."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Nothing yet."""
