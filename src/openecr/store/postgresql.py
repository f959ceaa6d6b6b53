"""PostgreSQL through asyncpg: the same units of work, SERIALIZABLE and retried."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg
import sqlalchemy
import sqlalchemy.exc
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from openecr.domain.errors import StorageFull, Unavailable
from openecr.store.connections import ConstraintViolated, PostgresConnection
from openecr.store.database import DatabaseFailed, Work

T = TypeVar("T")

ATTEMPTS = 20
CONSTRAINT_ATTEMPTS = 3
"""Of two units that add the same row, the loser may hear of the unique index. Run again, it finds the row."""
_RETRYABLE = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_FIRST_PAUSE_SECONDS = 0.002
_LAST_PAUSE_SECONDS = 0.1
_POOL_CONNECTIONS = 10


_DISK_FULL = "53100"
_UNAVAILABLE = (
    "25006",  # a standby, or a server that was made read-only
    "53",  # too few connections, or too little memory
    "57P",  # it stops, or starts
)
"""Beginnings of the states (PostgreSQL manual, appendix A) in which the server can do nothing now, and may again."""


def _sql_state(error: Exception) -> str | None:
    """Return the SQLSTATE of what SQLAlchemy raised, or of what asyncpg raised where it could not connect."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state if isinstance(state, str) else None


class PostgresDatabase:
    """One PostgreSQL database, shared by any number of server processes. Made and used in one event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshots = engine.execution_options(isolation_level="REPEATABLE READ")
        self._writes = engine.execution_options(isolation_level="SERIALIZABLE")
        self._closed = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def connect(cls, url: str) -> "PostgresDatabase":
        """Make the pool; `url` is `postgresql+asyncpg://...`."""
        return cls(create_async_engine(url, pool_size=_POOL_CONNECTIONS, max_overflow=0, pool_pre_ping=True))

    async def read(self, work: Work[T]) -> T:
        """Run point reads, each statement on its own."""
        with self._in_use():
            return await self._run(self._reads, work)

    async def scan(self, work: Work[T]) -> T:
        """Run longer reads in one snapshot."""
        with self._in_use():
            return await self._run(self._snapshots, work)

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work; again, after a pause, when PostgreSQL could not serialize it."""
        with self._in_use():
            return await self._write(work)

    async def _write(self, work: Work[T]) -> T:
        pause_seconds = _FIRST_PAUSE_SECONDS
        violations = 0
        for _ in range(ATTEMPTS):
            try:
                return await self._run(self._writes, work)
            except ConstraintViolated:
                violations += 1
                if violations == CONSTRAINT_ATTEMPTS:
                    raise
            except DBAPIError as error:
                if _sql_state(error) not in _RETRYABLE:
                    raise
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _LAST_PAUSE_SECONDS)
        raise Unavailable(message="The registry is busy. Try again.", context="serialization failures")

    async def close(self) -> None:
        """Let what runs finish, then close the pool."""
        self._closed = True
        await self._idle.wait()
        await self._engine.dispose()

    @contextmanager
    def _in_use(self) -> Generator[None, None, None]:
        if self._closed:
            message = "the database is closed"
            raise DatabaseFailed(message)
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _run(self, engine: AsyncEngine, work: Work[T]) -> T:
        """Run in one transaction.

        Raises Unavailable where the server, or a connection of the pool, cannot be had, and StorageFull.
        """

        def call(raw: sqlalchemy.Connection) -> T:
            return work(PostgresConnection(raw))

        try:
            async with engine.connect() as connection, connection.begin():
                return await connection.run_sync(call)
        except (DBAPIError, asyncpg.PostgresError) as error:
            passing = _passing(error)
            if passing is None:
                raise
            raise passing from error
        except (OSError, sqlalchemy.exc.TimeoutError) as error:
            raise _unreachable(error) from error


def _passing(error: Exception) -> Unavailable | None:
    """Return what to tell of a failure that is the server's state, not the statement's fault."""
    state = _sql_state(error) or ""
    if state == _DISK_FULL:
        return StorageFull(context=str(error))
    if state.startswith(_UNAVAILABLE) or getattr(error, "connection_invalidated", False):
        return _unreachable(error)
    return None


def _unreachable(error: Exception) -> Unavailable:
    return Unavailable(message="The registry's database cannot be reached. Try again.", context=str(error))
