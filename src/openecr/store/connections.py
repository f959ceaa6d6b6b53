"""Connections: the three verbs that statements are run with, the same on both dialects."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Protocol

import sqlalchemy
import sqlalchemy.exc

from openecr.store.statements import Statement

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
        try:
            return self.raw.execute(statement.sqlite_text, parameters)
        except sqlite3.IntegrityError as error:
            raise ConstraintViolated(str(error)) from error


class PostgresConnection:
    """Runs statements through Core on SQLAlchemy's synchronous view of an asyncpg connection."""

    def __init__(self, raw: sqlalchemy.Connection) -> None:
        self.raw = raw

    def fetch_one(self, statement: Statement, **parameters: Any) -> Row | None:
        """Return the first row or None."""
        return self._run(statement, parameters).fetchone()

    def fetch_all(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Return every row."""
        return list(self._run(statement, parameters).fetchall())

    def execute(self, statement: Statement, **parameters: Any) -> int:
        """Run a change and return how many rows it touched."""
        return self._run(statement, parameters).rowcount

    def _run(self, statement: Statement, parameters: dict[str, Any]) -> sqlalchemy.CursorResult[Any]:
        try:
            return self.raw.execute(statement.postgresql, parameters)
        except sqlalchemy.exc.IntegrityError as error:
            raise ConstraintViolated(str(error.orig)) from error
