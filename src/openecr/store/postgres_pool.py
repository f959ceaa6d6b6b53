"""Connections to PostgreSQL, kept open, and what to tell of errors that are the server's state."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import asyncpg

from openecr.domain.errors import StorageFull, Unavailable
from openecr.store.postgres_connecting import DRIVER_ERRORS, Connector, RawConnection

T = TypeVar("T")

_COMMAND_SECONDS = 30
_WAIT_SECONDS = 30
_CLOSE_SECONDS = 1
_IDLE_SECONDS = 300
"""Connections that were not used for so long are not trusted: whatever lies between may have forgotten them."""

_SETTINGS = {
    "application_name": "openecr",
    "jit": "off",  # pays only for statements that take seconds
    "idle_in_transaction_session_timeout": "60s",  # a process that stands still must not hold its locks for ever
}

_DISK_FULL = "53100"
_UNAVAILABLE = (
    "08",  # the connection
    "25006",  # a standby, or a server that was made read-only
    "25P03",  # it ended a transaction that stood still
    "53",  # too few connections, or too little memory
    "55P03",  # the operator bounds the wait for locks
    "57014",  # or the time of statements
    "57P",  # it stops, or starts
)
"""Beginnings of the states (PostgreSQL manual, appendix A) in which the server can do nothing now, and may again."""

_LOST = ("08", "25006", "25P03", "57P")
"""States in which another connection may do better: also where a server that took changes has become a standby."""


class ConnectionLost(Exception):
    """A connection broke before anything was committed through it; the cause is the driver's error."""


class PostgresPool:
    """At most `size` connections with the same settings; they are made when they are needed."""

    def __init__(
        self,
        connector: Connector,
        *,
        size: int,
        settings: Mapping[str, str],
        command_seconds: float = _COMMAND_SECONDS,
    ) -> None:
        self._command_seconds = command_seconds
        self._connector = connector
        self._size = size
        self._settings = {**_SETTINGS, **settings}
        self._open = 0
        self._is_closed = False
        self._idle: list[tuple[RawConnection, float]] = []
        self._waiting: deque[asyncio.Future[RawConnection | None]] = deque()

    async def use(self, work: Callable[[RawConnection], Awaitable[T]]) -> T:
        """Run something on a connection; again, on a new one, where it turns out that the connection was broken.

        What the server did not answer in time is not asked again: it would wait behind itself.

        Raises what the work or the driver raised, ConnectionLost, and Unavailable where no connection becomes free in
        time.
        """
        try:
            return await self._use(work)
        except ConnectionLost as lost:
            if isinstance(lost.__cause__, TimeoutError):
                raise
            self._forget_idle()
        return await self._use(work)

    async def close(self) -> None:
        """Close every connection; one that is in use, or is being made, when it is given back."""
        self._is_closed = True
        while self._hand_on(None):
            pass  # who waits for one will hear of it
        idle = [connection for connection, _ in self._idle]
        self._open -= len(idle)
        self._idle.clear()
        await asyncio.gather(*map(_close, idle))

    async def _use(self, work: Callable[[RawConnection], Awaitable[T]]) -> T:
        connection = await self._acquire()
        try:
            return await work(connection)
        except DRIVER_ERRORS as error:
            if is_lost(connection, error):
                connection.terminate()
                raise ConnectionLost from error
            raise
        except Exception:
            raise
        except BaseException:  # cancelled: it may be in the middle of anything
            connection.terminate()
            raise
        finally:
            self._release(connection)

    async def _acquire(self) -> RawConnection:
        if self._is_closed:
            raise busy("the pool is closed")
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection, since = self._idle.pop()
            if not connection.is_closed():
                if now - since < _IDLE_SECONDS:
                    return connection
                connection.terminate()
            self._open -= 1
        if self._open < self._size:
            return await self._connect()
        return await self._wait()

    async def _connect(self) -> RawConnection:
        self._open += 1
        try:
            return await self._connector.connect(self._settings, command_seconds=self._command_seconds)
        except asyncpg.TooManyConnectionsError:
            self._open -= 1
            if self._idle:  # given back meanwhile
                return await self._acquire()
            if self._open:
                return await self._wait()  # one of those that the server has let in serves this caller too
            self._hand_on(None)
            raise
        except BaseException:
            self._open -= 1
            self._hand_on(None)
            raise

    async def _wait(self) -> RawConnection:
        """Wait for one that somebody gives back, in the order of coming."""
        waiter: asyncio.Future[RawConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                given = await waiter
        except TimeoutError as error:
            self._give_back(waiter)
            raise busy("no connection became free") from error
        except BaseException:
            self._give_back(waiter)
            raise
        return await self._acquire() if given is None else given

    def _give_back(self, waiter: "asyncio.Future[RawConnection | None]") -> None:
        """Pass on what was given to somebody who has gone away in the same moment."""
        if waiter.done() and not waiter.cancelled():
            given = waiter.result()
            if given is None:
                self._hand_on(None)
            else:
                self._release(given)

    def _release(self, connection: RawConnection) -> None:
        if self._is_closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            self._open -= 1
            self._hand_on(None)
        elif not self._hand_on(connection):
            self._idle.append((connection, asyncio.get_running_loop().time()))

    def _hand_on(self, connection: "RawConnection | None") -> bool:
        """Give the first who waits a connection, or the place for a new one."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    def _forget_idle(self) -> None:
        """Trust none of the others either: most often the server was started again."""
        for connection, _ in self._idle:
            connection.terminate()
        self._open -= len(self._idle)
        self._idle.clear()


async def _close(connection: RawConnection) -> None:
    """Say goodbye, and close a connection whether the server answers or not."""
    try:
        with suppress(*DRIVER_ERRORS):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await connection.close()
    finally:
        connection.terminate()


def told(error: Exception) -> Exception:
    """Return what callers are told of an error: Unavailable or StorageFull where it is the server's state."""
    if isinstance(error, ConnectionLost | OSError | asyncpg.InternalClientError):
        return unreachable(error.__cause__ or error)
    state = state_of(error)
    if state == _DISK_FULL:
        return StorageFull(context=str(error))
    return unreachable(error) if state.startswith(_UNAVAILABLE) else error


def state_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error, or nothing where it has none."""
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else ""


def unreachable(error: BaseException) -> Unavailable:
    """Return what to tell of a server that cannot be reached."""
    context = str(error) or type(error).__name__
    return Unavailable(message="The registry's database cannot be reached. Try again.", context=context)


def busy(why: str) -> Unavailable:
    """Return what to tell where others are in the way."""
    return Unavailable(message="The registry is busy. Try again.", context=why)


def is_lost(connection: RawConnection, error: BaseException) -> bool:
    """Tell whether a connection is broken, not only what was asked through it."""
    is_cut = isinstance(error, OSError | asyncpg.InternalClientError)
    return is_cut or connection.is_closed() or state_of(error).startswith(_LOST)
