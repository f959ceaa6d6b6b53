"""The port of what must be unpredictable or unique."""

from typing import Protocol


class Ids(Protocol):
    """Makes identifiers and secrets."""

    def uuid(self) -> str:
        """Return a random lower-case UUID."""
        ...

    def token(self, size_bytes: int) -> bytes:
        """Return cryptographically random bytes."""
        ...
