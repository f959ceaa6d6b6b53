"""A ring whose master keys an external KMS holds: open for as long as that is known to let them be used.

What is in memory is used without asking, so that no request and no unit of work waits for a network; how long at most
without a new yes, the ring itself sees to, whatever becomes of whoever asks.
"""

from collections.abc import Mapping

from openecr.adapters.keys.ring import MasterKeyRing
from openecr.domain.errors import Unavailable
from openecr.ports.clock import Clock

_MESSAGE = "The server's keys cannot be used at the moment. Try again later."


class TrustedKeyRing:
    """The `ServerKeyRing` port over master keys that are held in memory until an instant, or a no."""

    def __init__(self, *, clock: Clock, sealing_number: int | None = None) -> None:
        """Closed at first. `sealing_number` None: the highest of those that it is opened with first."""
        self._clock = clock
        self._sealing = sealing_number
        self._ring: MasterKeyRing | None = None
        self._until = 0
        self._reason = "it was not opened yet"

    def open(self, master_keys: Mapping[int, bytes], *, until: int) -> None:
        """Use these keys until an instant. Which one seals stays as it was. Raises ValueError where that is missing."""
        sealing = max(master_keys, default=0) if self._sealing is None else self._sealing
        if sealing not in master_keys:
            raise ValueError(f"there is no master key {sealing}, which is to seal")
        if self._ring is None or self._ring.numbers != tuple(sorted(master_keys)):
            self._ring = MasterKeyRing(master_keys, sealing_number=sealing)
        self._sealing, self._until = sealing, until

    def close(self, reason: str) -> None:
        """Forget the keys; `reason` is for the log and the operator."""
        self._ring, self._reason = None, reason

    @property
    def closed_because(self) -> str | None:
        """Why the ring is closed; None: it is open."""
        if self._ring is None:
            return self._reason
        if self._clock.now() >= self._until:
            return "the external KMS has not been reached for too long"
        return None

    @property
    def sealing_number(self) -> int:
        """The number of the master key that seals. Raises Unavailable."""
        return self._opened().sealing_number

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of the master keys that open. Raises Unavailable."""
        return self._opened().numbers

    def check_open(self) -> None:
        """Raises Unavailable while the ring is closed."""
        self._opened()

    def seal(self, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt. Raises Unavailable, ValueError over a mebibyte."""
        return self._opened().seal(purpose, plaintext, associated=associated)

    def seal_under(self, number: int, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt under the key of a number. Raises Unavailable, ValueError for a number that is not there."""
        return self._opened().seal_under(number, purpose, plaintext, associated=associated)

    def unseal(self, purpose: str, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """Decrypt. Raises Unavailable, ValueError for anything that this ring did not seal for that purpose."""
        return self._opened().unseal(purpose, sealed, associated=associated)

    def _opened(self) -> MasterKeyRing:
        ring = self._ring
        if ring is None or self._clock.now() >= self._until:
            raise Unavailable(message=_MESSAGE, context=f"the key ring is closed: {self.closed_because}")
        return ring
