"""Collection: online, in bounded steps, safe at any moment and with no grace at all.

Safety does not come from waiting: every step checks again in the transaction that deletes, and what refers is a foreign
key that restricts. Grace only spares clients from uploading again what they were just told is there.
"""

from openecr.application.limits import Limits
from openecr.ports.blobs import BlobStore
from openecr.ports.clock import Clock
from openecr.store import blobs, doomed, purging, uploads
from openecr.store.connections import Connection
from openecr.store.database import Database

SECOND = 1_000_000
STEP_ROWS = 200


class Collection:
    """Each step does a bounded piece and tells whether there may be more."""

    def __init__(self, *, database: Database, blobs: BlobStore, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._limits = limits

    async def collect(self) -> None:
        """Run every step until none has more to do."""
        steps = (
            self.purge_repositories,
            self.expire_uploads,
            self.drop_links,
            self.claim_blobs,
            self.remove_doomed,
        )
        for step in steps:
            while await step():
                pass

    async def drop_links(self) -> bool:
        """Remove links that no image of their repository needs and whose grace has passed."""
        now = self._clock.now()
        found = await self._database.scan(
            lambda connection: blobs.list_unneeded_links(connection, now=now, limit=STEP_ROWS)
        )

        def unit(connection: Connection) -> int:
            return sum(
                blobs.remove_unneeded_link(connection, repository_id, digest, now=now)
                for repository_id, digest, _ in found
            )

        removed = await self._database.write(unit) if found else 0
        return removed > 0 and len(found) == STEP_ROWS

    async def claim_blobs(self) -> bool:
        """Delete the rows of blobs that no repository holds, and doom their bytes, in one transaction."""
        found = await self._database.scan(
            lambda connection: blobs.list_unlinked(connection, after=0, limit=STEP_ROWS)
        )
        now = self._clock.now()
        # Longer than any response that still reads the bytes may last.
        not_before = now + self._limits.doomed_seconds * SECOND

        def unit(connection: Connection) -> int:
            claimed = [
                location for blob_id in found if (location := blobs.claim(connection, blob_id)) is not None
            ]
            doomed.add(connection, claimed, not_before=not_before)
            return len(claimed)

        removed = await self._database.write(unit) if found else 0
        return removed > 0 and len(found) == STEP_ROWS

    async def remove_doomed(self) -> bool:
        """Remove bytes whose time has come, then forget them."""
        now = self._clock.now()
        found = await self._database.scan(
            lambda connection: doomed.list_due(connection, now=now, limit=STEP_ROWS)
        )
        if not found:
            return False
        await self._blobs.remove(found)
        await self._database.write(lambda connection: doomed.remove(connection, found))
        return len(found) == STEP_ROWS

    async def expire_uploads(self) -> bool:
        """End sessions that nobody used in time."""
        now = self._clock.now()
        limit = STEP_ROWS // 10  # a session may have many parts
        found = await self._database.scan(
            lambda connection: uploads.list_expired(connection, now=now, limit=limit)
        )

        def unit(connection: Connection) -> None:
            for upload_id in found:
                if uploads.is_expired(connection, upload_id, now=now):
                    doomed.add(connection, uploads.remove(connection, upload_id), not_before=now)

        if found:
            await self._database.write(unit)
        return len(found) == limit

    async def purge_repositories(self) -> bool:
        """Remove some of what one deleted repository held; at last its row."""
        now = self._clock.now()
        return await self._database.write(
            lambda connection: purging.purge_some(connection, now=now, limit=STEP_ROWS)
        )
