"""Manifests of repositories with a key of KMS: sealed in their rows by the repository's own key."""

from dataclasses import replace

from openecr.application.data_keys import cannot_open
from openecr.application.kms.vaults import Vault
from openecr.domain.digests import Digest
from openecr.domain.images import StoredManifest

_PURPOSE = "manifest"


def seal_content(vault: Vault | None, content: bytes, digest: Digest) -> bytes:
    """Return what the row of a manifest holds; without a vault that is the manifest."""
    return content if vault is None else vault.seal(_PURPOSE, content, associated=str(digest).encode())


def open_content(vault: Vault | None, stored: bytes, digest: Digest) -> bytes:
    """Return the manifest whose row holds this. Raises Unavailable."""
    if vault is None:
        return stored
    try:
        return vault.unseal(_PURPOSE, stored, associated=str(digest).encode())
    except ValueError:
        raise cannot_open(f"the manifest {digest} does not open with its repository's key") from None


def open_manifest(vault: Vault | None, manifest: StoredManifest) -> StoredManifest:
    """Return a manifest as it was pushed. Raises Unavailable."""
    if vault is None:
        return manifest
    return replace(manifest, content=open_content(vault, manifest.content, manifest.digest))
