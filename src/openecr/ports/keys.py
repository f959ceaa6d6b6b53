"""The key ring ports: what seals the server's own secrets and the tokens that it hands out, and what holds its keys."""

from typing import NamedTuple, Protocol

_HEADER_BYTES = 5


class KeyRing(Protocol):
    """Authenticated encryption under keys derived per purpose from one that nobody else has."""

    def seal(self, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt; `associated` (table, account and id, say) must be the same to open it again.

        Raises Unavailable while the ring is closed.
        """
        ...

    def unseal(self, purpose: str, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """Decrypt. Raises ValueError for anything that this ring did not seal for that purpose.

        Raises Unavailable while the ring is closed.
        """
        ...


def master_key_number(sealed: bytes) -> int:
    """Return the number of the master key that sealed something, which its header tells. 0: it is too short."""
    return int.from_bytes(sealed[1:5], "big") if len(sealed) >= _HEADER_BYTES else 0


class ServerKeyRing(KeyRing, Protocol):
    """The ring of the server's master keys.

    Sealed bytes begin with a byte for their format (1) and the number of their master key (4 bytes, big-endian), so
    that old ones open after a rotation. Where an external KMS
    holds the master keys, the ring is closed while that does not let them be used.
    """

    @property
    def sealing_number(self) -> int:
        """The number of the master key that seals. Raises Unavailable while the ring is closed."""
        ...

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the master keys that open, in order. Raises Unavailable while the ring is closed."""
        ...

    def seal_under(self, number: int, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt as `seal` under the master key of a number, which need not be the one that seals.

        Raises Unavailable while the ring is closed, ValueError for a number that it does not have.
        """
        ...

    def check_open(self) -> None:
        """Ask before anything is used that was opened earlier and kept. Raises Unavailable while the ring is closed."""
        ...


class KeyRefused(Exception):
    """An external KMS has said that a key may not be used: a definite no, which a retry does not change."""


class KeyIsAnother(KeyRefused):
    """What was to be opened was encrypted under another key than those that are named: the no is about it alone."""


class NewMasterKey(NamedTuple):
    """A master key that an external KMS has drawn: in clear, for this process's memory, and as it is kept."""

    plaintext: bytes
    ciphertext: bytes


class KeyService(Protocol):
    """An external KMS, which draws master keys and opens them again. Each call ends within a bound of its own."""

    async def generate(self, number: int) -> NewMasterKey:
        """Draw the master key of a number. Raises KeyRefused, Unavailable."""
        ...

    async def decrypt(self, number: int, ciphertext: bytes) -> bytes:
        """Open the master key of a number. Raises KeyRefused, KeyIsAnother among them, and Unavailable."""
        ...
