"""The key ring port: seals the server's own secrets and the tokens that it hands out."""

from typing import Protocol


class KeyRing(Protocol):
    """Authenticated encryption under keys derived per purpose from the server's master key.

    Sealed bytes name the master key's id, so that old ones open after a rotation.
    """

    def seal(self, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt; `associated` (table, account and id, say) must be the same to open it again."""
        ...

    def unseal(self, purpose: str, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """Decrypt. Raises ValueError for anything that this ring did not seal for that purpose."""
        ...
