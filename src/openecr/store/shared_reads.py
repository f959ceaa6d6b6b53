"""Point reads on PostgreSQL, outside of transactions: those that wait at the same time ask together.

A statement that a driver sends costs 40 us of a core there and as much in the server, whatever it asks; one more row of
the same statement costs 5. So while a shared statement is on its way, everybody who comes to ask it waits, and the next
one asks for all of them. An answer is never older than its question: nobody joins what has been sent.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from openecr.store.connections import Row
from openecr.store.postgres_connecting import RawConnection
from openecr.store.postgres_pool import PostgresPool, told
from openecr.store.statements import Statement

_AT_ONCE = 3
_PATIENCE_SECONDS = 0.005
"""A statement is on its way once. Who waits for so long sends another beside it: it may have met something slow."""

_ASKERS_MAX = 16
"""Of different questions in one statement: each may be answered by a manifest of some MiB."""

_Arguments: TypeAlias = tuple[Any, ...]
_Answers: TypeAlias = "list[asyncio.Future[Row | None]]"
_Place: TypeAlias = tuple[_Arguments, _Answers]


@dataclass(slots=True, eq=False)
class _Line:
    """Who waits to ask one statement: those with the same arguments have one place in it."""

    statement: Statement
    waiting: dict[_Arguments, _Answers] = field(default_factory=dict[_Arguments, _Answers])
    running: int = 0
    patience: asyncio.TimerHandle | None = None

    def take(self) -> list[_Place]:
        """Return the first ones, without those who have gone away."""
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None
        taken: list[_Place] = []
        while self.waiting and len(taken) < _ASKERS_MAX:
            arguments = next(iter(self.waiting))
            answers = [answer for answer in self.waiting.pop(arguments) if not answer.done()]
            if answers:
                taken.append((arguments, answers))
        return taken


class SharedReads:
    """Runs shared statements on the connections of a pool."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._lines: dict[Statement, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fetch_one(self, statement: Statement, arguments: _Arguments) -> "asyncio.Future[Row | None]":
        """Ask a shared statement. Raises what `told` returns."""
        line = self._lines.get(statement)
        if line is None:
            line = self._lines[statement] = _Line(statement)
        answer: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        if line.waiting:  # whoever waits has been seen to
            line.waiting.setdefault(arguments, []).append(answer)
        else:
            line.waiting[arguments] = [answer]
            self._see_to(line)
        return answer

    def _see_to(self, line: _Line) -> None:
        """Let those who wait be asked for, now or when what is on its way is back, or takes too long."""
        if line.running == 0:
            self._start(line)
        elif line.running < _AT_ONCE:
            line.patience = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._start, line)

    def _start(self, line: _Line) -> None:
        line.running += 1
        task = asyncio.create_task(self._serve(line))  # noqa: TID251 -- it is for many requests
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, line: _Line) -> None:
        """Ask for those who wait, until nobody does."""
        try:
            while line.waiting:
                await self._serve_some(line)
        finally:
            line.running -= 1

    async def _serve_some(self, line: _Line) -> None:
        taken: list[_Place] = []

        async def ask(connection: RawConnection) -> list[Row | None]:
            if not taken:  # not before there is a connection: whoever comes meanwhile asks with them
                taken.extend(line.take())
                if line.waiting:
                    self._see_to(line)
            return await _ask(connection, line.statement, [arguments for arguments, _ in taken])

        try:
            rows = await self._pool.use(ask)
        except Exception as error:  # noqa: BLE001 -- whoever waits must hear of it, whatever it is
            if len(taken) > 1 and told(error) is error:
                # One of the questions cannot be answered, and the others have no part in it.
                for arguments, answers in taken:
                    await self._serve_some(_Line(line.statement, {arguments: answers}))
            else:
                _fail(taken or line.take(), error)
            return
        for (_, answers), row in zip(taken, rows, strict=True):
            for answer in answers:
                if not answer.done():
                    answer.set_result(row)


async def _ask(
    connection: RawConnection, statement: Statement, asked: Sequence[_Arguments]
) -> list[Row | None]:
    if not asked:
        return []
    if len(asked) == 1:
        row: Any = await connection.fetchrow(statement.postgresql.text, *asked[0])
        return [row]
    shared = statement.postgresql_shared
    rows: list[Row | None] = [None] * len(asked)
    for found in await connection.fetch(shared.text, *shared.bind(asked)):
        rows[found[-1] - 1] = found[:-1]
    return rows


def _fail(taken: list[_Place], error: Exception) -> None:
    for _, answers in taken:
        for answer in answers:
            if not answer.done():
                answer.set_exception(told(error))
