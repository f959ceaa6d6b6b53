"""When images were last pulled: noted in memory, written in batches, so that no pull waits for a write."""

from collections.abc import Iterable
from functools import partial

from openecr.ports.clock import Clock
from openecr.store import pulls
from openecr.store.database import Database

NOTES_MAX = 50_000


class PullTimes:
    """Notes pulls and tells them, written or not."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._notes: dict[int, int] = {}

    def record(self, image_id: int) -> None:
        """Note a pull now. When too many wait to be written, new images are left out: the time is for information."""
        if len(self._notes) < NOTES_MAX or image_id in self._notes:
            self._notes[image_id] = self._clock.now()

    async def flush(self) -> None:
        """Write what was noted; until it is written, `find` tells it from memory."""
        pairs = list(self._notes.items())
        for start in range(0, len(pairs), pulls.BATCH_ROWS):
            batch = pairs[start : start + pulls.BATCH_ROWS]
            await self._database.write(partial(pulls.put, pulls=batch))
            for image_id, pulled_at in batch:
                if self._notes.get(image_id) == pulled_at:
                    del self._notes[image_id]

    async def find(self, image_ids: Iterable[int]) -> dict[int, int]:
        """Return when images were last pulled; those that never were are left out."""
        wanted = list(image_ids)
        noted = {image_id: self._notes[image_id] for image_id in wanted if image_id in self._notes}
        written = await self._database.scan(lambda connection: pulls.find(connection, wanted))
        # Another process may have noted and written a later pull.
        return written | {image_id: max(at, written.get(image_id, 0)) for image_id, at in noted.items()}
