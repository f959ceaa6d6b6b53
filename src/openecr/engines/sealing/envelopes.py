"""Small secrets under one key: the keys of blobs and manifests, and the manifests themselves."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openecr.engines.sealing.layouts import NONCE_BYTES, OVERHEAD_BYTES

ENVELOPE_OVERHEAD_BYTES = 1 + OVERHEAD_BYTES
"""What an envelope is longer than its content."""

_VERSION = b"\x01"


def close_envelope(key: bytes, nonce: bytes, purpose: str, content: bytes, associated: bytes) -> bytes:
    """Return content that nobody can read, or pass off as another, without the key.

    `nonce` is random and never used before. `associated` tells whose content it is, and is asked for again.
    """
    assert len(nonce) == NONCE_BYTES
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, content, _context(purpose, associated))


def open_envelope(key: bytes, purpose: str, sealed: bytes, associated: bytes) -> bytes:
    """Return the content. Raises ValueError for anything but what was closed with the same key and words."""
    if len(sealed) < ENVELOPE_OVERHEAD_BYTES or sealed[:1] != _VERSION:
        raise ValueError("not an envelope of a version that is known here")
    nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, _context(purpose, associated))
    except InvalidTag:
        raise ValueError("not what was sealed, or another key") from None


def _context(purpose: str, associated: bytes) -> bytes:
    return _VERSION + purpose.encode() + b"\0" + associated
