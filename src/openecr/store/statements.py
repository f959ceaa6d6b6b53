"""Statements: each question to the database is written once in SQLAlchemy Core.

On SQLite a statement is compiled once to SQL text and run on the raw connection, since Core's execution halves the
rate of reads and of pushes (ADR on the SQL idiom). On PostgreSQL it runs through Core and asyncpg.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.sql import ClauseElement, Executable

_SQLITE = sqlite.dialect(paramstyle="named")


class Statement:
    """One prepared question. `columns` names the bound columns of an insert."""

    def __init__(
        self,
        element: Executable,
        *,
        columns: Sequence[str] | None = None,
        postgresql: Executable | None = None,
    ) -> None:
        self.element = element
        self.postgresql = element if postgresql is None else postgresql
        self._columns = None if columns is None else list(columns)

    @cached_property
    def sqlite_text(self) -> str:
        """The SQL text with named parameters."""
        return str(self._compiled)

    @cached_property
    def sqlite_defaults(self) -> dict[str, Any]:
        """Constants that Core turned into parameters."""
        binds = self._compiled.bind_names.items()
        return {name: bound.value for bound, name in binds if not bound.required}

    @cached_property
    def _compiled(self) -> SQLiteCompiler:
        assert isinstance(self.element, ClauseElement)
        compiled = self.element.compile(
            dialect=_SQLITE, column_keys=self._columns, compile_kwargs={"render_postcompile": True}
        )
        assert isinstance(compiled, SQLiteCompiler)
        return compiled
