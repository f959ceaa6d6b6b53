"""Statements: each question to the database is written once in SQLAlchemy Core.

A statement is compiled once to the text of each database and run on the raw connection, since Core's execution halves
the rate of reads and of pushes on SQLite (ADR on the SQL idiom) and takes ten times as long as asyncpg on PostgreSQL.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.sql import ClauseElement, Executable
from sqlalchemy.sql.compiler import SQLCompiler

from openecr.domain.errors import InvalidParameter

_SQLITE = sqlite.dialect(paramstyle="named")
_POSTGRESQL = asyncpg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy types no dialect
_PARAMETER = re.compile(r"\$(\d+)(?:::(\w+))?")


def refuse_nul(values: Iterable[object]) -> None:
    """Raise InvalidParameter for a text with the character NUL: PostgreSQL keeps none, so SQLite does not either."""
    for value in values:
        if type(value) is str and "\0" in value:
            raise InvalidParameter(parameter="request", constraint="must not contain the character NUL")


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresText:
    """The SQL text with parameters `$1`, `$2` ..., and their names in that order."""

    text: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]
    """Constants that Core turned into parameters."""

    def bind(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the arguments in their order."""
        if self.constants:
            parameters = {**self.constants, **parameters}
        arguments = tuple([parameters[name] for name in self.names])  # a list first: twice as fast
        refuse_nul(arguments)
        return arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedText:
    """The SQL text that puts one question for any number of askers; each row ends with its asker's place, from 1."""

    text: str
    is_array: tuple[bool, ...]

    def bind(self, asked: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the arguments for some askers, of each of whom one has what `PostgresText.bind` gave."""
        return [
            list(values) if is_array else values[0]
            for is_array, values in zip(self.is_array, zip(*asked, strict=True), strict=True)
        ]


class Statement:
    """One prepared question. `columns` names the bound columns of an insert.

    `is_shared` says that it finds at most one row by a unique key, and is asked by requests of which there are many at
    a time: on PostgreSQL, those that wait at the same time ask together.
    """

    def __init__(
        self,
        element: Executable,
        *,
        columns: Sequence[str] | None = None,
        postgresql: Executable | None = None,
        is_shared: bool = False,
    ) -> None:
        self.element = element
        self.is_shared = is_shared
        self._postgresql = element if postgresql is None else postgresql
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
    def postgresql(self) -> PostgresText:
        """The text for one asker."""
        compiled = self.compiled_for_postgresql
        constants = {name: bound.value for bound, name in compiled.bind_names.items() if not bound.required}
        return PostgresText(text=str(compiled), names=tuple(compiled.positiontup or ()), constants=constants)

    @cached_property
    def postgresql_shared(self) -> SharedText:
        """The text for several askers."""
        assert self.is_shared
        one = self.postgresql
        types = {int(place): type_name for place, type_name in _PARAMETER.findall(one.text)}
        is_array = tuple(name not in one.constants for name in one.names)

        def of_asker(found: re.Match[str]) -> str:
            return f"asked.p{found[1]}" if is_array[int(found[1]) - 1] else found[0]

        places = [place for place, each in enumerate(is_array, 1) if each]
        arrays = ", ".join(f"${place}::{types[place]}[]" for place in places)
        columns = ", ".join(f"p{place}" for place in places)
        return SharedText(
            text=(
                f"SELECT found.*, asked.place FROM unnest({arrays}) WITH ORDINALITY AS asked({columns}, place) "  # noqa: S608 -- compiled
                f"CROSS JOIN LATERAL ({_PARAMETER.sub(of_asker, one.text)}) AS found"
            ),
            is_array=is_array,
        )

    @cached_property
    def compiled_for_postgresql(self) -> SQLCompiler:
        """What Core makes of it for PostgreSQL."""
        assert isinstance(self._postgresql, ClauseElement)
        compiled = self._postgresql.compile(dialect=_POSTGRESQL, column_keys=self._columns)
        assert isinstance(compiled, SQLCompiler)
        return compiled

    @cached_property
    def _compiled(self) -> SQLiteCompiler:
        assert isinstance(self.element, ClauseElement)
        compiled = self.element.compile(
            dialect=_SQLITE, column_keys=self._columns, compile_kwargs={"render_postcompile": True}
        )
        assert isinstance(compiled, SQLiteCompiler)
        return compiled
