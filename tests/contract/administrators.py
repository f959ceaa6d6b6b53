"""An administrator of a PostgreSQL database, who ends the connections of others."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg

_OTHERS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_END = "SELECT count(pg_terminate_backend(pid)) FROM unnest($1::int[]) AS pid"
_COUNT = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1::int[])"
_END_AT_COMMIT = """
CREATE SEQUENCE commits;
CREATE FUNCTION end_own() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM nextval(''commits''); PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER end_at_commit AFTER INSERT ON server_state
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION end_own();
"""
_END_NO_MORE = """
DROP TRIGGER end_at_commit ON server_state;
DROP FUNCTION end_own;
DROP SEQUENCE commits;
"""


class Administrator:
    """Has a connection of its own."""

    def __init__(self, raw: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._raw = raw

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> "AsyncIterator[Administrator]":
        """Connect to a database."""
        raw = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            yield cls(raw)
        finally:
            await raw.close()

    async def end_all(self) -> None:
        """End every other connection, and return when the server has none of them any more."""
        others = [row[0] for row in await self._raw.fetch(_OTHERS)]
        await self._raw.execute(_END, others)
        while await self._raw.fetchval(_COUNT, others):
            pass

    @asynccontextmanager
    async def ending_at_commit(self) -> AsyncIterator[Callable[[], Awaitable[int]]]:
        """Let connections end while they commit a row of the server's state; give what tells how many tried."""
        await self._raw.execute(_END_AT_COMMIT)

        async def count() -> int:
            return int(await self._raw.fetchval("SELECT last_value FROM commits"))

        try:
            yield count
        finally:
            await self._raw.execute(_END_NO_MORE)
