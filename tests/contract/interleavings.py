"""Runs two units of work of PostgreSQL in each other's middle: between any two statements of either.

One goes so many statements far, then the other so many, then the first to its end, then the other: the orders with two
changes of turn, which is what it takes for one unit to read what another is about to change. All of them are run with
`OPENECR_TEST_EVERY_ORDER=1` (`make test-every-order`), and otherwise every second one. Whoever waits for
a lock of the other lets it go first; what PostgreSQL refuses to serialize is run again, as in a server.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from openecr.store.connections import Connection, Row
from openecr.store.database import Work
from openecr.store.statements import Statement
from tests.contract.fronts import Front

T = TypeVar("T")

Actor = Callable[[], Awaitable[object]]
Run = Callable[[Actor, Actor], Awaitable[tuple[object, object]]]

_MARCHER: ContextVar["_Marcher | None"] = ContextVar("marcher", default=None)
_LOOK_SECONDS = 0.005
_STRIDE = 1 if os.environ.get("OPENECR_TEST_EVERY_ORDER") == "1" else 2
"""The second one goes so many statements further each time: all orders take twice as long."""

_WAITING = sqlalchemy.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@dataclass(slots=True, eq=False)
class _Marcher:
    """One actor: how many statements it may still run before it stands."""

    left: int = 0
    is_free: bool = False
    go: asyncio.Event = field(default_factory=asyncio.Event)
    stands: asyncio.Event = field(default_factory=asyncio.Event)

    async def before_statement(self) -> None:
        while not self.is_free and self.left == 0:
            self.stands.set()
            await self.go.wait()
            self.go.clear()
        self.left -= 1

    def march(self, statements: int | None) -> None:
        self.is_free = statements is None
        self.left = statements or 0
        self.stands.clear()
        self.go.set()


class DatabaseInSteps(Front):
    """A database on PostgreSQL whose units of work stand still between statements when an actor runs them."""

    async def write(self, work: Work[T]) -> T:
        marcher = _MARCHER.get()
        if marcher is None:
            return await super().write(work)
        return await super().write(lambda connection: work(_ConnectionInSteps(connection, marcher)))


class _ConnectionInSteps:
    def __init__(self, connection: Connection, marcher: _Marcher) -> None:
        self._connection = connection
        self._marcher = marcher

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        await_only(self._marcher.before_statement())
        return self._connection.fetch_one(statement, **parameters)

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        await_only(self._marcher.before_statement())
        return self._connection.fetch_all(statement, **parameters)

    def execute(self, statement: Statement, **parameters: Any) -> int:
        await_only(self._marcher.before_statement())
        return self._connection.execute(statement, **parameters)


class Interleavings:
    """`async for run in Interleavings(observer)`: call what is given with the two actors of each run."""

    def __init__(self, observer: AsyncEngine) -> None:
        self._observer = observer
        self.count = 0
        self._is_whole = [False, False]

    async def __aiter__(self) -> AsyncIterator[Run]:
        for is_swapped in (False, True):
            first = 0
            while True:
                second = 0
                while True:
                    self.count += 1
                    yield self._in_order(first, second, is_swapped=is_swapped)
                    if self._is_whole[1]:
                        break
                    second += _STRIDE
                if self._is_whole[0]:
                    break
                first += 1

    def _in_order(self, first: int, second: int, *, is_swapped: bool) -> Run:
        async def run(one: Actor, other: Actor) -> tuple[object, object]:
            if not is_swapped:
                return await self._run(one, first, other, second)
            ended = await self._run(other, first, one, second)
            return ended[1], ended[0]

        return run

    async def _run(self, one: Actor, first: int, other: Actor, second: int) -> tuple[object, object]:
        marchers = _Marcher(), _Marcher()
        tasks = [
            asyncio.create_task(_act(marcher, actor))
            for marcher, actor in zip(marchers, (one, other), strict=True)
        ]
        for place, statements in enumerate((first, second)):
            await self._go(marchers[place], tasks[place], statements)
            # Who waits for a lock gets no further either, however many statements it may run.
            self._is_whole[place] = tasks[place].done() or not marchers[place].stands.is_set()
        for place in (0, 1, 0):
            await self._go(marchers[place], tasks[place], None)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return ended[0], ended[1]

    async def _go(self, marcher: _Marcher, task: "asyncio.Task[object]", statements: int | None) -> None:
        """Let an actor go so far, or until it ends or waits for a lock."""
        if task.done():
            return
        marcher.march(statements)
        standing = asyncio.create_task(marcher.stands.wait())
        try:
            while True:
                done, _ = await asyncio.wait(
                    {standing, task}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if done or await self._somebody_waits():
                    return
        finally:
            standing.cancel()

    async def _somebody_waits(self) -> bool:
        async with self._observer.connect() as connection:
            return bool((await connection.execute(_WAITING)).scalar_one())


async def _act(marcher: _Marcher, actor: Actor) -> object:
    _MARCHER.set(marcher)
    return await actor()
