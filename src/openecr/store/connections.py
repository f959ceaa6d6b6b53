"""Connections: the three verbs that statements are run with, the same on both dialects."""

import sqlite3
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar, cast

import asyncpg
from sqlalchemy.util import await_only

from openecr.store.postgres_connecting import RawConnection
from openecr.store.statements import Statement, refuse_nul

T = TypeVar("T")
Row = Sequence[Any]


class ConstraintViolated(Exception):
    """A unique, foreign-key or check constraint refused a change."""


class Connection(Protocol):
    """One connection inside one transaction. Parameters are bound by name."""

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        """Return the first row or None. Also runs an insert or update with RETURNING."""
        ...

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Return every row; bound your statement."""
        ...

    def execute(self, statement: Statement, **parameters: Any) -> int:
        """Run a change and return how many rows it touched. Raises ConstraintViolated."""
        ...


class SqliteConnection:
    """Runs compiled text on a raw `sqlite3` connection. Cursors are always exhausted (an open one grows the WAL)."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        """Return the first row or None."""
        row: Row | None = self._run(statement, parameters).fetchone()
        return row  # the cursor ends here, and with it its read transaction

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Return every row."""
        rows: list[Row] = self._run(statement, parameters).fetchall()
        return rows

    def execute(self, statement: Statement, **parameters: Any) -> int:
        """Run a change and return how many rows it touched."""
        return self._run(statement, parameters).rowcount

    def _run(self, statement: Statement, parameters: dict[str, Any]) -> sqlite3.Cursor:
        defaults = statement.sqlite_defaults
        if defaults:
            parameters = {**defaults, **parameters}
        refuse_nul(parameters.values())
        try:
            return self.raw.execute(statement.sqlite_text, parameters)
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error


class PostgresConnection:
    """Runs compiled text on a raw asyncpg connection inside a transaction. Called in a greenlet, which waits."""

    def __init__(self, raw: RawConnection) -> None:
        self.raw = raw

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        """Return the first row or None."""
        asked = statement.postgresql
        row: Any = _wait_for(self.raw.fetchrow(asked.text, *asked.bind(parameters)))  # a Record is a Sequence
        return cast("Row | None", row)

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Return every row."""
        asked = statement.postgresql
        rows: Any = _wait_for(self.raw.fetch(asked.text, *asked.bind(parameters)))
        return cast("list[Row]", rows)

    def execute(self, statement: Statement, **parameters: Any) -> int:
        """Run a change and return how many rows it touched."""
        asked = statement.postgresql
        return rows_of(_wait_for(self.raw.execute(asked.text, *asked.bind(parameters))))


def rows_of(status: str) -> int:
    """Return how many rows a command touched, by its tag (PostgreSQL manual, message formats, CommandComplete)."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


def _wait_for(asked: Coroutine[Any, Any, T]) -> T:
    try:
        return await_only(asked)
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConstraintViolated(str(error)) from error
