"""Encryption contexts as bytes: the same for the same pairs in whatever order, and for no others."""

from collections.abc import Mapping

_LENGTH_BYTES = 4


def canonical(context: Mapping[str, str]) -> bytes:
    """Return the pairs sorted by key, each text behind its length in bytes. Raises ValueError for half characters."""
    pairs = sorted((key.encode(), value.encode()) for key, value in context.items())
    return _length(len(pairs)) + b"".join(
        _length(len(key)) + key + _length(len(value)) + value for key, value in pairs
    )


def _length(number: int) -> bytes:
    return number.to_bytes(_LENGTH_BYTES, "big")
