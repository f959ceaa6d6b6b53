"""The clock port."""

from typing import Protocol


class Clock(Protocol):
    """Tells the time. The only way for code below the composition root to learn it."""

    def now(self) -> int:
        """Return the instant as microseconds since the epoch, UTC."""
        ...
