"""A clock that a test moves."""


class MovableClock:
    """Stands still until it is moved."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self) -> int:
        """Return the instant as microseconds since the epoch, UTC."""
        return self._now

    def move(self, *, seconds: float) -> None:
        """Go on by so many seconds."""
        self._now += round(seconds * 1_000_000)
