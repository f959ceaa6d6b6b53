"""Blobs whose bytes did not come as they should: whether they are lost is found out at once, and written down.

A blob that is lost answers 404 everywhere until the next upload of its digest, which heals it for every link. So only
what is proven counts as lost: bytes that the store itself says are not there, of another length, or that proved damaged
twice. A store that cannot be asked, or is not the one of this database, proves nothing.
"""

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import structlog

from openecr.application.contents import Contents, stored_size_of
from openecr.domain.blobs import StoredBlob
from openecr.domain.errors import ContentDamaged, Unavailable
from openecr.ports.blobs import BlobStore
from openecr.store import scrubbing
from openecr.store.database import Database

_LOG = structlog.get_logger(__name__)

READ_AGAIN_MAX = 2
"""So many blobs are read again at a time; of another one the next read that fails will tell."""


async def any_store() -> None:
    """Check nothing."""


class Losses:
    """Proves that blobs are lost, and writes it down."""

    def __init__(
        self,
        *,
        database: Database,
        store: BlobStore,
        contents: Contents,
        check_store: Callable[[], Awaitable[None]] = any_store,
    ) -> None:
        """`check_store` raises Unavailable where the store is not the one that the database is about."""
        self._database = database
        self._store = store
        self._contents = contents
        self.check_store = check_store
        self._read_again: set[str] = set()

    async def has_its_length(self, blob: StoredBlob) -> bool:
        """Tell whether as many bytes are stored as must be, without reading them. Raises Unavailable."""
        found, wanted = await self._store.size(blob.location), stored_size_of(blob)
        if found is None:
            return not await self._is_missing(blob.location)
        return wanted is None or found == wanted

    async def check_length(self, blob: StoredBlob) -> bool:
        """Let nobody find a blob that has not its length; tell whether it has it. Raises Unavailable."""
        if await self.has_its_length(blob):
            return True
        await self.mark(blob)
        return False

    async def look_into(self, blob: StoredBlob, start: int, stop: int) -> bool:
        """After a read of bytes [start, stop) that failed: tell whether the blob is lost, which it is from now on.

        `blob` is one that can be read. Never raises.
        """
        try:
            if await self.has_its_length(blob) and not await self._is_damaged(blob, start, stop):
                return False
            return await self.mark(blob)
        except Unavailable as error:  # that says nothing about the bytes
            _LOG.warning("a blob could not be read again", digest=str(blob.digest), context=error.context)
            return False

    async def mark(self, blob: StoredBlob) -> bool:
        """Let nobody find a blob that proved bad; False where it has other bytes by now. Raises Unavailable."""
        await self.check_store()
        if not await self._database.write(lambda connection: scrubbing.mark_lost(connection, blob)):
            return False
        _LOG.error(
            "a blob is lost until it is uploaded again", digest=str(blob.digest), location=blob.location
        )
        return True

    async def restore(self, blob: StoredBlob) -> bool:
        """Let a lost blob be found again that proved good; False where it has been healed. Raises Unavailable."""
        return await self._database.write(lambda connection: scrubbing.mark_stored(connection, blob))

    async def _is_missing(self, location: str) -> bool:
        """Confirm that nothing is there by reading: the short answer to a mere look may be about anything."""
        try:
            async with aclosing(self._contents.stored(location, 0, 1)) as chunks:
                async for _ in chunks:
                    return False
        except ContentDamaged:
            return True
        return False

    async def _is_damaged(self, blob: StoredBlob, start: int, stop: int) -> bool:
        if blob.location in self._read_again or len(self._read_again) >= READ_AGAIN_MAX:
            return False
        self._read_again.add(blob.location)
        try:
            async with aclosing(self._contents.open(blob, start, stop)) as chunks:
                async for _ in chunks:
                    pass
        except ContentDamaged:
            return True
        finally:
            self._read_again.discard(blob.location)
        return False
