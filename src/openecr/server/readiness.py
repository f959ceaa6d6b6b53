"""Whether a server can serve at the moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from openecr.domain.errors import Unavailable
from openecr.ports.keys import ServerKeyRing
from openecr.store import server_state
from openecr.store.database import Database, DatabaseFailed

_LOG = structlog.get_logger(__name__)

_PATIENCE_SECONDS = 3.0
"""Less than what load balancers wait for a probe, and more than a busy database needs."""

_STORE_PATIENCE_SECONDS = 2.0
_STORE_KEPT_SECONDS = 5.0
"""So long an answer about the blob store holds: however often a server is probed, the store is not."""


class Readiness:
    """Asks the database and the key ring, without which no request is answered, and the blob store: many need that."""

    def __init__(
        self, database: Database, keys: ServerKeyRing, *, store_answers: Callable[[], Awaitable[bool]]
    ) -> None:
        self._database = database
        self._keys = keys
        self._store_answers = store_answers
        self._store_asked_at = float("-inf")
        self._has_store = True

    async def is_ready(self) -> bool:
        """Tell whether the database answers in time, and the key ring is open."""
        try:
            self._keys.check_open()
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._database.read(
                    lambda connection: server_state.find(connection, server_state.DEFAULT_ACCOUNT)
                )
        except (Unavailable, DatabaseFailed, TimeoutError):
            return False
        return True

    async def has_store(self) -> bool:
        """Tell whether the blob store answered in time when it was last asked, which is not long ago."""
        now = time.monotonic()
        if now - self._store_asked_at >= _STORE_KEPT_SECONDS:
            self._store_asked_at = now  # whoever asks meanwhile hears the last answer
            found = await self._ask_store()
            if not found and self._has_store:
                _LOG.error("the blob store does not answer")
            self._has_store = found
        return self._has_store

    async def _ask_store(self) -> bool:
        try:
            async with asyncio.timeout(_STORE_PATIENCE_SECONDS):
                return await self._store_answers()
        except TimeoutError:
            return False
