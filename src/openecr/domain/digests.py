"""Digests: `algorithm:encoded`, the identity of manifests and blobs.

Source: OCI image-spec, descriptor.md, "Digests". sha256 and sha512 are the registered algorithms served.
"""

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import final

ALGORITHMS = ("sha256", "sha512")
"""Served algorithms, the default one first."""

_ENCODED = {"sha256": re.compile(r"[a-f0-9]{64}", re.ASCII), "sha512": re.compile(r"[a-f0-9]{128}", re.ASCII)}

_MAX_CHARACTERS = len("sha512:") + 128
_KEPT = 4096


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A digest of a served algorithm. Two digests are equal only if their strings are."""

    algorithm: str
    encoded: str

    def __str__(self) -> str:
        """Return `algorithm:encoded`."""
        return f"{self.algorithm}:{self.encoded}"

    @staticmethod
    def find(text: str) -> "Digest | None":
        """Read a digest; None if it is malformed or of an algorithm that is not served."""
        return _find(text) if len(text) <= _MAX_CHARACTERS else None

    @staticmethod
    def parse(text: str) -> "Digest":
        """Read a digest. Raises ValueError if `find` would give None."""
        digest = Digest.find(text)
        if digest is None:
            message = f"not a digest of a served algorithm: {text!r}"
            raise ValueError(message)
        return digest

    @staticmethod
    def of(content: bytes, algorithm: str = "sha256") -> "Digest":
        """Compute the digest of `content`."""
        return Digest(algorithm=algorithm, encoded=hashlib.new(algorithm, content).hexdigest())


@functools.lru_cache(maxsize=_KEPT)
def _find(text: str) -> Digest | None:
    """Every request reads one or two digests, mostly those that were read a moment ago."""
    algorithm, _, encoded = text.partition(":")
    pattern = _ENCODED.get(algorithm)
    if pattern is None or pattern.fullmatch(encoded) is None:
        return None
    return Digest(algorithm=algorithm, encoded=encoded)
