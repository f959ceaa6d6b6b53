"""The few places where SQLite and PostgreSQL differ."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Self

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

from openecr.store.statements import Statement, refuse_nul


class _IsOneOf(FunctionElement[bool]):
    """Whether a column is a member of a JSON array, which comes second."""

    inherit_cache: bool | None = True
    name = "is_one_of"
    type: TypeEngine[bool] = Boolean()

    def self_group(self, against: OperatorType | None = None) -> Self:
        """Stand in a condition as it is: an index does not serve `... = 1`, as SQLite would be given it."""
        del against
        return self


@compiles(_IsOneOf, "sqlite")
def _is_one_of_on_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 -- compiled


@compiles(_IsOneOf, "postgresql")
def _is_one_of_on_postgresql(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    """An array, and not a join: an index can be asked for its members, and for nothing else."""
    column, values = (compiler.process(each, **options) for each in element.clauses)
    type_name = "BIGINT" if isinstance(next(iter(element.clauses)).type, Integer) else "TEXT"
    members = f"SELECT CAST(member AS {type_name}) FROM jsonb_array_elements_text(CAST({values} AS JSONB)) AS member"  # noqa: S608 -- compiled
    return f"{column} = ANY (ARRAY({members}))"


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
    return _IsOneOf(column, bindparam(parameter, type_=Text()))


def one_by_one(rows: Select[*tuple[Any, ...]], column: ColumnElement[str], parameter: str) -> Statement:
    """Find a row for each member of a list (`as_list`) that has one; `column` is unique among those that `rows` finds.

    PostgreSQL looks for each by itself, whatever it thinks of the table: under SERIALIZABLE a unit that has read what
    it did not ask for cannot run beside one that writes there.
    """
    values = cast(bindparam(parameter, type_=Text()), postgresql.JSONB)
    member = func.jsonb_array_elements_text(values).table_valued("value").alias("member")
    found = rows.where(column == member.c.value).limit(literal_column("1")).lateral("found")
    return Statement(
        rows.where(is_one_of(column, parameter)),
        postgresql=select(found).select_from(member).join(found, true()),
    )


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


def insert_each(table: Table, *, columns: Sequence[str], update: str) -> Statement:
    """Insert a row for each string of a list, which is the parameter of the first column's name (`as_list`).

    The first column is the key, the other an integer, the same in all rows. Of a key that is there already the row is
    changed by `update`, an assignment over its old values; no key may stand in the list twice.
    """
    key, number = columns
    action = f"ON CONFLICT ({key}) DO UPDATE SET {update}"
    insert = f"INSERT INTO {table.name} ({key}, {number}) SELECT"
    bound = (bindparam(key, type_=Text()), bindparam(number, type_=BigInteger()))
    return Statement(
        text(f"{insert} value, :{number} FROM json_each(:{key}) WHERE true {action}").bindparams(*bound),
        postgresql=text(
            f"{insert} member, :{number} FROM jsonb_array_elements_text(CAST(:{key} AS JSONB)) AS member {action}"
        ).bindparams(*bound),
    )


def skipping_locked(rows: Select[*tuple[Any, ...]]) -> Statement:
    """Ask for rows that are to be changed, and pass over those that another transaction is changing.

    SQLite has one writer, so there nobody is.
    """
    return Statement(rows, postgresql=rows.with_for_update(skip_locked=True))
