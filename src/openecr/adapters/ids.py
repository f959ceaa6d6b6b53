"""Identifiers and secrets from the system's random source."""

import secrets
import uuid


class SystemIds:
    """Makes what nobody can guess."""

    def uuid(self) -> str:
        """Return a random lower-case UUID."""
        return str(uuid.uuid4())

    def token(self, size_bytes: int) -> bytes:
        """Return cryptographically random bytes."""
        return secrets.token_bytes(size_bytes)
