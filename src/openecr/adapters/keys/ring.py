"""A ring of master keys, from which the keys that seal are derived, one per purpose.

Sealed bytes are: format version (1), number of the master key (4), nonce (12), AES-256-GCM ciphertext with its tag
(16). Version and number are authenticated with the associated data. One key seals, by default the newest, and every key
of the ring opens.
Nonces are random: one purpose under one master key is good for 2**32 seals (NIST SP 800-38D, section 8.3).
"""

import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_KEY_BYTES = 32
PLAINTEXT_MAX_BYTES = 1024 * 1024

_VERSION = 1
_NUMBER_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = 1 + _NUMBER_BYTES
_OVERHEAD_BYTES = _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES


class MasterKeyRing:
    """The `ServerKeyRing` port over master keys held in memory. Safe for use from several threads."""

    def __init__(self, master_keys: Mapping[int, bytes], *, sealing_number: int | None = None) -> None:
        """Hold the master keys by number; the highest number seals where no other is named."""
        if not master_keys:
            raise ValueError("a key ring holds at least one master key")
        for number, key in master_keys.items():
            if len(key) != MASTER_KEY_BYTES or not 0 < number < 1 << (8 * _NUMBER_BYTES):
                raise ValueError("a master key has 32 bytes and a positive number")
        if sealing_number is not None and sealing_number not in master_keys:
            raise ValueError("the master key that seals is one of the ring's")
        self._master_keys = dict(master_keys)
        self._sealing = max(master_keys) if sealing_number is None else sealing_number
        self._ciphers: dict[tuple[int, str], AESGCM] = {}

    @property
    def sealing_number(self) -> int:
        """The number of the master key that seals."""
        return self._sealing

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the master keys that open."""
        return tuple(sorted(self._master_keys))

    def check_open(self) -> None:
        """Do nothing: what is held in memory alone is never closed."""

    def seal(self, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt for a purpose under the key that seals. Raises ValueError over a mebibyte."""
        return self.seal_under(self._sealing, purpose, plaintext, associated=associated)

    def seal_under(self, number: int, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt under the key of a number. Raises ValueError over a mebibyte, and for an unknown number."""
        if len(plaintext) > PLAINTEXT_MAX_BYTES:
            raise ValueError("too long to seal")
        if number not in self._master_keys:
            raise ValueError("no key of this ring")
        header = bytes((_VERSION,)) + number.to_bytes(_NUMBER_BYTES, "big")
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = self._cipher(number, purpose).encrypt(nonce, plaintext, header + associated)
        return header + nonce + ciphertext

    def unseal(self, purpose: str, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """Decrypt. Raises ValueError for anything that this ring did not seal for that purpose."""
        if not _OVERHEAD_BYTES <= len(sealed) <= PLAINTEXT_MAX_BYTES + _OVERHEAD_BYTES:
            raise ValueError("not sealed by this key ring")
        header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        number = int.from_bytes(header[1:], "big")
        if header[0] != _VERSION or number not in self._master_keys:
            raise ValueError("not sealed by this key ring")
        try:
            return self._cipher(number, purpose).decrypt(
                nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + associated
            )
        except InvalidTag as error:
            raise ValueError("not sealed by this key ring") from error

    def _cipher(self, number: int, purpose: str) -> AESGCM:
        """Derive a purpose's key (RFC 5869). Purposes are constants of the program, so the cache stays small."""
        cipher = self._ciphers.get((number, purpose))
        if cipher is None:
            derivation = HKDF(
                algorithm=SHA256(), length=MASTER_KEY_BYTES, salt=None, info=b"openecr/" + purpose.encode()
            )
            cipher = AESGCM(derivation.derive(self._master_keys[number]))
            self._ciphers[number, purpose] = cipher
        return cipher
