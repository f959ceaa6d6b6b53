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
        self,
        database: Database,
        keys: ServerKeyRing,
        *,
        store_answers: Callable[[], Awaitable[bool]],
        store_patience: float = _STORE_PATIENCE_SECONDS,
        store_kept: float = _STORE_KEPT_SECONDS,
    ) -> None:
        """`store_patience` and `store_kept`: how long a look at the store is waited for, and its answer holds."""
        self._store_patience = store_patience
        self._store_kept = store_kept
        self._database = database
        self._keys = keys
        self._store_answers = store_answers
        self._store_asked_at = float("-inf")
        self._has_store = True
        self._look: asyncio.Task[None] | None = None

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
        """Tell whether the blob store answered in time when it was last asked, which is not long ago. Never raises.

        There is one look at a time: whoever asks meanwhile hears the last answer, and a store that hangs is not asked
        again before it has answered.
        """
        if self._look is None and time.monotonic() - self._store_asked_at >= self._store_kept:
            self._look = look = asyncio.create_task(  # noqa: TID251 -- it may outlive its request: nothing ends it
                self._look_at_store()
            )
            # In `wait` nothing is cancelled: a thread that waits for a disk would not end by that.
            await asyncio.wait({look}, timeout=self._store_patience)
            if not look.done():
                self._note_store(found=False)
        return self._has_store

    async def _look_at_store(self) -> None:
        try:
            found = await self._store_answers()
        except Exception:  # noqa: BLE001 -- a probe tells that something is wrong, whatever it is
            _LOG.exception("looking at the blob store failed")
            found = False
        finally:
            self._look = None
            self._store_asked_at = time.monotonic()
        self._note_store(found=found)

    def _note_store(self, *, found: bool) -> None:
        if not found and self._has_store:
            _LOG.error("the blob store does not answer")
        self._has_store = found
