"""The few places where SQLite and PostgreSQL differ."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Table, Text, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from openecr.store.statements import Statement


class _StringsOf(FunctionElement[str]):
    """The strings of a JSON array as a set of rows."""

    inherit_cache: bool | None = True
    name = "strings_of"
    type: TypeEngine[str] = Text()


@compiles(_StringsOf, "sqlite")
def _sqlite_strings(element: _StringsOf, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"  # noqa: S608 -- compiled


@compiles(_StringsOf, "postgresql")
def _postgresql_strings(element: _StringsOf, compiler: SQLCompiler, **options: Any) -> str:
    return (
        f"(SELECT jsonb_array_elements_text(CAST({compiler.process(element.clauses, **options)} AS JSONB)))"
    )


def is_one_of(column: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
    """`column IN (a list bound as one parameter)`: one text and one plan for a list of any length.

    Bind the parameter with `as_list`.
    """
    values: BindParameter[str] = bindparam(parameter, type_=Text())
    return column.op("IN", is_comparison=True)(_StringsOf(values))


def as_list(values: Iterable[str]) -> str:
    """Encode the list that `is_one_of` binds."""
    return json.dumps(list(values))


def insert_or_ignore(table: Table, *, conflict: Sequence[str], columns: Sequence[str]) -> Statement:
    """Insert a row unless one with the same `conflict` columns is there; the row count tells."""
    return Statement(
        sqlite.insert(table).on_conflict_do_nothing(index_elements=list(conflict)),
        postgresql=postgresql.insert(table).on_conflict_do_nothing(index_elements=list(conflict)),
        columns=columns,
    )


def insert_or_replace(
    table: Table, *, conflict: Sequence[str], columns: Sequence[str], replace: Sequence[str]
) -> Statement:
    """Insert a row, or set the `replace` columns of the one with the same `conflict` columns."""
    on_sqlite = sqlite.insert(table)
    on_postgresql = postgresql.insert(table)
    return Statement(
        on_sqlite.on_conflict_do_update(
            index_elements=list(conflict), set_={name: on_sqlite.excluded[name] for name in replace}
        ),
        postgresql=on_postgresql.on_conflict_do_update(
            index_elements=list(conflict), set_={name: on_postgresql.excluded[name] for name in replace}
        ),
        columns=columns,
    )
