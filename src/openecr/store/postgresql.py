"""PostgreSQL through asyncpg: the same units of work, SERIALIZABLE and retried.

A unit is a synchronous function: it runs in a greenlet, which stands still while a statement is on its way. A unit that
has begun goes on to its end when its caller goes away, so that no connection is left in the middle of anything.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, TypeVar, cast

import asyncpg
from sqlalchemy.util import await_only, greenlet_spawn

from openecr.store.connections import ConstraintViolated, PostgresConnection, Row, rows_of
from openecr.store.database import DatabaseFailed, Work
from openecr.store.postgres_connecting import DRIVER_ERRORS, Connector, RawConnection
from openecr.store.postgres_pool import (
    ConnectionLost,
    PostgresPool,
    busy,
    is_lost,
    state_of,
    told,
    unreachable,
)
from openecr.store.shared_reads import SharedReads
from openecr.store.statements import Statement

T = TypeVar("T")

ATTEMPTS = 30
CONSTRAINT_ATTEMPTS = 3
"""Of two units that add the same row, the loser may hear of the unique index. Run again, it finds the row."""
_RETRYABLE = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_FIRST_PAUSE_SECONDS = 0.002
_GOLDEN_RATIO = 0.618034
_LAST_PAUSE_SECONDS = 0.1
_APART_SECONDS = 1.0
_PATIENCE_SECONDS = 15.0
"""What hangs for longer when the database is closed is cut."""
_CUT_SECONDS = 1.0

CONNECTIONS = 10
CONNECTIONS_MIN = 3
"""Connections of one process."""
_READERS = 4 / 10
_SCANNERS = 3 / 10
"""The parts of each kind; of the rest, units have three. Long lists and waits for locks take none from point reads.

More units at the same time are in each other's way, and this process keeps no more of them busy.
"""
_WRITERS_MAX = 3

_POINT_READS = {
    "default_transaction_read_only": "on",
    # One plan for good, by indexes: the planner's guesses about arrays of questions, and about tables that were empty
    # when it looked, are no better than that.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
_LISTS = {"default_transaction_read_only": "on"}
_UNITS = {
    "enable_seqscan": "off",  # reading a small table whole would conflict with every write to it
}

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SERIALIZABLE = "BEGIN ISOLATION LEVEL SERIALIZABLE"


class PostgresDatabase:
    """One PostgreSQL database, shared by any number of server processes. Made and used in one event loop."""

    def __init__(self, url: str, connections: int) -> None:
        readers, scanners = (max(1, int(connections * part)) for part in (_READERS, _SCANNERS))
        connector = Connector(url)
        self._readers = PostgresPool(connector, size=readers, settings=_POINT_READS)
        self._scanners = PostgresPool(connector, size=scanners, settings=_LISTS)
        writers = min(_WRITERS_MAX, connections - readers - scanners)
        self._writers = PostgresPool(connector, size=writers, settings=_UNITS)
        self._reading = _ReadConnection(self._readers)
        self._retries = 0
        self._again = asyncio.Lock()
        self._closed = False
        self._running = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def connect(cls, url: str, *, connections: int = CONNECTIONS) -> "PostgresDatabase":
        """Name the database, as libpq does (`postgresql://...`, or `postgresql+asyncpg://...`); nothing is opened yet.

        What the URL leaves out is taken from libpq's environment (`PGHOST` and so on). At most `connections` are
        open at a time.
        """
        return cls(url.replace("postgresql+asyncpg://", "postgresql://", 1), connections)

    async def read(self, work: Work[T]) -> T:
        """Run point reads, each statement on its own."""
        self._enter()
        try:
            return await greenlet_spawn(work, self._reading)
        finally:
            self._leave()

    async def scan(self, work: Work[T]) -> T:
        """Run longer reads in one snapshot."""

        async def unit(raw: RawConnection) -> T:
            return await _transact(raw, _SNAPSHOT, work)

        self._enter()
        return await self._to_its_end(self._scanners.use(unit))

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work; again, after a pause, when PostgreSQL could not serialize it.

        Where the connection is lost before the commit was sent, nothing is stored, and the unit is run once more;
        where it is lost after that, nobody knows, and the caller is told Unavailable.
        """
        self._enter()
        return await self._to_its_end(self._write(work))

    async def _write(self, work: Work[T]) -> T:
        async def unit(raw: RawConnection) -> T:
            return await _transact(raw, _SERIALIZABLE, work)

        pause_seconds = 0.0
        violations = 0
        for number in range(ATTEMPTS):
            try:
                # Units run again one at a time, so that those that were in each other's way do not meet again.
                async with nullcontext() if number == 0 else self._apart():
                    return await self._writers.use(unit)
            except ConstraintViolated:
                violations += 1
                if violations == CONSTRAINT_ATTEMPTS:
                    raise
            except asyncpg.PostgresError as error:
                if not _is_passing_conflict(error):
                    raise
            # What was in the way has mostly been committed by now. After that, others may be those of other
            # processes, and each pause is another part of its full length.
            self._retries += 1
            await asyncio.sleep(pause_seconds * (0.5 + self._retries * _GOLDEN_RATIO % 1))
            pause_seconds = min(pause_seconds * 2 or _FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS)
        raise busy("serialization failures")

    @asynccontextmanager
    async def _apart(self) -> AsyncGenerator[None]:
        """Keep others that run again away; not for long, since whoever is in may hang with its connection."""
        try:
            async with asyncio.timeout(_APART_SECONDS):
                await self._again.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._again.release()

    async def close(self) -> None:
        """Let what runs finish, if it does in time, then close the connections."""
        await self.end(patience_seconds=_PATIENCE_SECONDS)

    async def end(self, *, patience_seconds: float) -> int:
        """Let what runs finish, if it does in time, then cut it and close the connections; return how many were cut.

        Whether what was cut is stored, nobody knows, and nobody is told that it is.
        """
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._idle.wait()
        cut = tuple(self._tasks)
        for task in cut:
            task.cancel()
        if cut:
            await asyncio.wait(cut, timeout=_CUT_SECONDS)
        await asyncio.gather(*(pool.close() for pool in (self._readers, self._scanners, self._writers)))
        return len(cut)

    async def _to_its_end(self, running: Coroutine[Any, Any, T]) -> T:
        """Run something that goes on when its caller goes away."""
        task = asyncio.create_task(_telling(running))  # noqa: TID251 -- it must not end in the middle
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._leave()
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: its caller may have gone away

    def _enter(self) -> None:
        if self._closed:
            message = "the database is closed"
            raise DatabaseFailed(message)
        self._running += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()


class _ReadConnection:
    """Runs point reads, each on whatever connection is free, in a greenlet. What they find is of no one moment."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._shared = SharedReads(pool)

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        """Return the first row or None."""
        asked = statement.postgresql
        arguments = asked.bind(parameters)
        if statement.is_shared:
            return await_only(self._shared.fetch_one(statement, arguments))

        async def ask(raw: RawConnection) -> Row | None:
            row: Any = await raw.fetchrow(asked.text, *arguments)
            return cast("Row | None", row)

        return await_only(_telling(self._pool.use(ask)))

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Return every row."""
        asked = statement.postgresql
        arguments = asked.bind(parameters)

        async def ask(raw: RawConnection) -> list[Row]:
            rows: Any = await raw.fetch(asked.text, *arguments)
            return cast("list[Row]", rows)

        return await_only(_telling(self._pool.use(ask)))

    def execute(self, statement: Statement, **parameters: Any) -> int:
        """Run a statement that returns nothing; the connection refuses changes."""
        asked = statement.postgresql
        arguments = asked.bind(parameters)

        async def ask(raw: RawConnection) -> int:
            return rows_of(await raw.execute(asked.text, *arguments))

        return await_only(_telling(self._pool.use(ask)))


async def _transact(raw: RawConnection, begin: str, work: Work[T]) -> T:
    """Run a unit in one transaction."""
    await raw.execute(begin)
    try:
        result = await greenlet_spawn(work, PostgresConnection(raw))
    except Exception:
        if not raw.is_closed():
            await raw.execute("ROLLBACK")
        raise
    if raw.is_closed():
        raise ConnectionLost
    try:
        status = await raw.execute("COMMIT")
    except DRIVER_ERRORS as error:
        if not is_lost(raw, error):
            raise  # refused, and undone
        raw.terminate()  # whether it is stored, nobody knows
        raise unreachable(error) from error
    if status != "COMMIT":
        message = "a unit went on after an error of the database, and everything it did is undone"
        raise RuntimeError(message)
    return result


def _is_passing_conflict(error: asyncpg.PostgresError) -> bool:
    """Tell whether the same unit may succeed when it is run again.

    A plan that does not fit any more was made before a migration; the driver has forgotten it by now.
    """
    return state_of(error) in _RETRYABLE or isinstance(error, asyncpg.InvalidCachedStatementError)


async def _telling(asked: Coroutine[Any, Any, T]) -> T:
    """Raise what callers are told of an error of the driver."""
    try:
        return await asked
    except (ConnectionLost, *DRIVER_ERRORS) as error:
        told_of = told(error)
        if told_of is error:
            raise
        raise told_of from error
