"""Sealing one extent as it arrives."""

from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from openecr.engines.sealing.layouts import NONCE_BYTES, SEGMENT_BYTES, associated_data

KEY_BYTES = 32


class ExtentSealer:
    """Seals the bytes of one extent in order. Not safe for concurrent use.

    Whoever makes two for one extent id writes two extents, whose nonces differ as all do: each segment takes a nonce of
    its own from `draw`, which must be random. A full segment waits until it is known whether another follows, since the
    last one says so in its tag.
    """

    __slots__ = ("_cipher", "_draw", "_extent_id", "_held", "_held_bytes", "_index")

    def __init__(self, key: bytes, extent_id: bytes, draw: Callable[[int], bytes]) -> None:
        """`draw` returns so many random bytes, never the same."""
        assert len(key) == KEY_BYTES
        self._cipher = AESGCM(key)
        self._extent_id = extent_id
        self._draw = draw
        self._index = 0
        self._held: list[bytes | memoryview] = []
        self._held_bytes = 0

    def update(self, batch: Sequence[bytes]) -> list[bytes]:
        """Take content; return what is to be stored now."""
        sealed: list[bytes] = []
        for chunk in batch:
            rest = memoryview(chunk)
            while rest:
                if self._held_bytes == SEGMENT_BYTES:
                    sealed += self._seal(is_last=False)
                taken = rest[: SEGMENT_BYTES - self._held_bytes]
                self._held.append(taken)
                self._held_bytes += len(taken)
                rest = rest[len(taken) :]
        self._held = [b"".join(self._held)] if len(self._held) > 1 else self._held
        return sealed

    def end(self) -> list[bytes]:
        """Return what is left to be stored; of no content nothing. Nothing may be taken after it."""
        return self._seal(is_last=True) if self._held_bytes else []

    def _seal(self, *, is_last: bool) -> list[bytes]:
        content = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        nonce = self._draw(NONCE_BYTES)
        associated = associated_data(self._extent_id, self._index, is_last=is_last)
        ciphertext = self._cipher.encrypt(nonce, content, associated)
        self._index += 1
        self._held, self._held_bytes = [], 0
        return [nonce, ciphertext]
