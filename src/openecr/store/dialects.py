"""The few places where SQLite and PostgreSQL differ."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, BindParameter, ColumnElement, Integer, Select, Table, Text, bindparam, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from openecr.store.statements import Statement, refuse_nul


class _StringsOf(FunctionElement[str]):
    """The strings of a JSON array as a set of rows."""

    inherit_cache: bool | None = True
    name = "strings_of"
    type: TypeEngine[str] = Text()


class _IntegersOf(FunctionElement[int]):
    """The integers of a JSON array as a set of rows."""

    inherit_cache: bool | None = True
    name = "integers_of"
    type: TypeEngine[int] = BigInteger()


@compiles(_StringsOf, "sqlite")
@compiles(_IntegersOf, "sqlite")
def _sqlite_members(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"  # noqa: S608 -- compiled


@compiles(_StringsOf, "postgresql")
@compiles(_IntegersOf, "postgresql")
def _postgresql_members(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    type_name = element.type.compile(dialect=compiler.dialect)
    array = f"CAST({compiler.process(element.clauses, **options)} AS JSONB)"
    return f"(SELECT CAST(member AS {type_name}) FROM jsonb_array_elements_text({array}) AS member)"  # noqa: S608 -- compiled


class now_microseconds(FunctionElement[int]):  # noqa: N801 -- used as a function, as SQLAlchemy's own are
    """The database's clock at the beginning of the statement: microseconds since 1970, UTC."""

    inherit_cache: bool | None = True
    name = "now_microseconds"
    type: TypeEngine[int] = BigInteger()


@compiles(now_microseconds, "sqlite")
def _sqlite_now(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    del element, compiler, options
    return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


@compiles(now_microseconds, "postgresql")
def _postgresql_now(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    del element, compiler, options
    return "CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)"


def is_one_of(column: ColumnElement[Any], parameter: str) -> ColumnElement[bool]:
    """`column IN (a list bound as one parameter)`: one text and one plan for a list of any length.

    Bind the parameter with `as_list`; its members are strings or integers, as the column's are.
    """
    values: BindParameter[str] = bindparam(parameter, type_=Text())
    members = _IntegersOf(values) if isinstance(column.type, Integer) else _StringsOf(values)
    return column.op("IN", is_comparison=True)(members)


def as_list(values: Iterable[str] | Iterable[int]) -> str:
    """Encode the list that `is_one_of` binds."""
    listed = list(values)
    refuse_nul(listed)
    return json.dumps(listed)


def insert_or_ignore(table: Table, *, conflict: Sequence[str], columns: Sequence[str]) -> Statement:
    """Insert a row unless one with the same `conflict` columns is there; the row count tells.

    Without `conflict` any unique index counts, partial ones too.
    """
    columns_of_index = list(conflict) or None
    return Statement(
        sqlite.insert(table).on_conflict_do_nothing(index_elements=columns_of_index),
        postgresql=postgresql.insert(table).on_conflict_do_nothing(index_elements=columns_of_index),
        columns=columns,
    )


def insert_or_update(
    table: Table, *, conflict: Sequence[str], columns: Sequence[str], update: Mapping[str, ColumnElement[Any]]
) -> Statement:
    """Insert a row, or change the one with the same `conflict` columns, by expressions over its old values."""
    return Statement(
        sqlite.insert(table).on_conflict_do_update(index_elements=list(conflict), set_=dict(update)),
        postgresql=postgresql.insert(table).on_conflict_do_update(
            index_elements=list(conflict), set_=dict(update)
        ),
        columns=columns,
    )


def insert_or_ignore_from(
    table: Table, rows: Select[*tuple[Any, ...]], *, conflict: Sequence[str], columns: Sequence[str]
) -> Statement:
    """Insert what a question with a condition answers, leaving out rows that are there already."""
    return Statement(
        sqlite.insert(table)
        .from_select(list(columns), rows)
        .on_conflict_do_nothing(index_elements=list(conflict)),
        postgresql=postgresql.insert(table)
        .from_select(list(columns), rows)
        .on_conflict_do_nothing(index_elements=list(conflict)),
    )


def insert_or_replace(
    table: Table,
    *,
    conflict: Sequence[str],
    columns: Sequence[str],
    replace: Sequence[str],
    where_later: str | None = None,
) -> Statement:
    """Insert a row, or set the `replace` columns of the one with the same `conflict` columns.

    With `where_later` only a row in which that column is less than the new one's changes.
    """
    on_sqlite = sqlite.insert(table)
    on_postgresql = postgresql.insert(table)
    return Statement(
        on_sqlite.on_conflict_do_update(
            index_elements=list(conflict),
            set_={name: on_sqlite.excluded[name] for name in replace},
            where=None if where_later is None else table.c[where_later] < on_sqlite.excluded[where_later],
        ),
        postgresql=on_postgresql.on_conflict_do_update(
            index_elements=list(conflict),
            set_={name: on_postgresql.excluded[name] for name in replace},
            where=None if where_later is None else table.c[where_later] < on_postgresql.excluded[where_later],
        ),
        columns=columns,
    )


def insert_rows(
    table: Table, *, conflict: Sequence[str], columns: Sequence[str], replace: Sequence[str] = ()
) -> Statement:
    """Insert texts, many rows by one statement: the parameter `rows` is a JSON array of arrays.

    Rows that are there already stay as they are, or have their `replace` columns set.
    """
    names, keys = ", ".join(columns), ", ".join(conflict)
    changes = ", ".join(f"{name} = excluded.{name}" for name in replace)
    action = f"ON CONFLICT ({keys}) DO {f'UPDATE SET {changes}' if replace else 'NOTHING'}"
    positions = range(len(columns))
    on_sqlite = ", ".join(f"json_extract(value, '$[{position}]')" for position in positions)
    on_postgresql = ", ".join(f"member ->> {position}" for position in positions)
    insert = f"INSERT INTO {table.name} ({names}) SELECT"
    rows: BindParameter[str] = bindparam("rows", type_=Text())
    return Statement(
        text(f"{insert} {on_sqlite} FROM json_each(:rows) WHERE true {action}").bindparams(rows),
        postgresql=text(
            f"{insert} {on_postgresql} FROM json_array_elements(CAST(:rows AS JSON)) AS member {action}"
        ).bindparams(rows),
    )


def skipping_locked(rows: Select[*tuple[Any, ...]]) -> Statement:
    """Ask for rows that are to be changed, and pass over those that another transaction is changing.

    SQLite has one writer, so there nobody is.
    """
    return Statement(rows, postgresql=rows.with_for_update(skip_locked=True))
