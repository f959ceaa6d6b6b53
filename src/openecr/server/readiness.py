"""Whether a server can serve at the moment."""

import asyncio

from openecr.domain.errors import Unavailable
from openecr.ports.keys import ServerKeyRing
from openecr.store import server_state
from openecr.store.database import Database, DatabaseFailed

_PATIENCE_SECONDS = 3.0
"""Less than what load balancers wait for a probe, and more than a busy database needs."""


class Readiness:
    """Asks the database and the key ring, without which no request is answered."""

    def __init__(self, database: Database, keys: ServerKeyRing) -> None:
        self._database = database
        self._keys = keys

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
