"""The system's clock."""

import time


class SystemClock:
    """Tells the time of this machine."""

    def now(self) -> int:
        """Return the instant as microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000  # the one place that reads the clock
