"""Identifiers and secrets from the system's random source."""

import secrets

_UUID_BYTES = 16
_VARIANTS = "89ab"


class SystemIds:
    """Makes what nobody can guess."""

    def uuid(self) -> str:
        """Return a random lower-case UUID, version 4 (RFC 9562). Every request has one, so it is formed by hand."""
        text = secrets.token_hex(_UUID_BYTES)
        variant = _VARIANTS[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def token(self, size_bytes: int) -> bytes:
        """Return cryptographically random bytes."""
        return secrets.token_bytes(size_bytes)
