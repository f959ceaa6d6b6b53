"""Digests: `algorithm:encoded`, the identity of manifests and blobs.

Source: OCI image-spec, descriptor.md, "Digests". sha256 and sha512 are the registered algorithms served.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

ALGORITHMS = ("sha256", "sha512")
"""Served algorithms, the default one first."""

_ENCODED = {"sha256": re.compile(r"[a-f0-9]{64}", re.ASCII), "sha512": re.compile(r"[a-f0-9]{128}", re.ASCII)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A digest of a served algorithm. Two digests are equal only if their strings are."""

    algorithm: str
    encoded: str

    def __str__(self) -> str:
        """Return `algorithm:encoded`."""
        return f"{self.algorithm}:{self.encoded}"

    @classmethod
    def find(cls, text: str) -> Self | None:
        """Read a digest; None if it is malformed or of an algorithm that is not served."""
        algorithm, _, encoded = text.partition(":")
        pattern = _ENCODED.get(algorithm)
        if pattern is None or pattern.fullmatch(encoded) is None:
            return None
        return cls(algorithm=algorithm, encoded=encoded)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a digest. Raises ValueError if `find` would give None."""
        digest = cls.find(text)
        if digest is None:
            message = f"not a digest of a served algorithm: {text!r}"
            raise ValueError(message)
        return digest

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Self:
        """Compute the digest of `content`."""
        return cls(algorithm=algorithm, encoded=hashlib.new(algorithm, content).hexdigest())
