"""Moving the rows of an embedded server to PostgreSQL: all of them in one transaction, or none."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Integer, Table, Text

from openecr.domain.errors import CannotStart
from openecr.store.migrating import migrate_sqlite
from openecr.store.postgres_connecting import DRIVER_ERRORS, Connector, RawConnection
from openecr.store.postgres_migrating import ALONE, FILLING, one_line, prepare_postgresql
from openecr.store.schema import SCHEMAS
from openecr.store.server_state import COMPATIBILITY
from openecr.store.sqlite import connect
from openecr.store.tables import SERVER_STATE

_SETTINGS = {"application_name": "openecr database copy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How many rows each table has, and how many texts, by `table.column`, hold something in the place of NUL."""

    counts: Mapping[str, int]
    mended: Mapping[str, int]


async def copy_to_postgresql(metadata: Path, activity: Path, url: str) -> Copied:
    """Copy the two files of a server that does not run to an empty database.

    The character NUL, which early versions let into texts and which PostgreSQL does not keep, becomes U+FFFD.
    The files are brought up to this version's schema first. Raises CannotStart: unreachable, or not empty; the
    database is then as empty as it was.
    """
    migrate_sqlite(metadata, activity)
    await prepare_postgresql(url, may_migrate=False)
    where = ""
    counts: dict[str, int] = {}
    mended: dict[str, int] = {}
    try:
        target = await Connector(url).connect(_SETTINGS)
        try:
            async with target.transaction():
                await target.execute(ALONE)  # no server can migrate it meanwhile
                await target.execute(FILLING)  # ... or begin to use it
                await _refuse_full(target)
                for path, schema in zip((metadata, activity), SCHEMAS.values(), strict=True):
                    source = connect(path, writes=False)
                    try:
                        for table in schema.sorted_tables:
                            where = f"table {table.name}: "
                            nuls = _count_nuls(source, table)
                            counts[table.name] = await _copy(source, target, table, mends=bool(nuls))
                            mended |= nuls
                    finally:
                        source.close()
            with suppress(
                *DRIVER_ERRORS
            ):  # all is there by now; the server does it by itself sooner or later
                await target.execute("ANALYZE")  # plans for tables that were empty a moment ago would be slow
        finally:
            await target.close()
    except (*DRIVER_ERRORS, sqlite3.Error) as error:
        raise CannotStart(message=f"nothing was copied: {where}{one_line(error)}") from error
    return Copied(counts=counts, mended=mended)


async def _refuse_full(target: RawConnection) -> None:
    for schema in SCHEMAS.values():
        for table in schema.sorted_tables:
            question = f"SELECT EXISTS (SELECT FROM {table.name} WHERE {_condition(table)})"  # noqa: S608 -- the schema's names
            if await target.fetchval(question, COMPATIBILITY):
                raise CannotStart(
                    message=f"the database is not empty: there are rows in its table {table.name}"
                )


def _count_nuls(source: sqlite3.Connection, table: Table) -> dict[str, int]:
    columns = [column.name for column in table.columns if isinstance(column.type, Text)]
    if not columns:
        return {}
    questions = ", ".join(f"coalesce(sum(instr(CAST({name} AS BLOB), x'00') > 0), 0)" for name in columns)
    counts = source.execute(f"SELECT {questions} FROM {table.name}").fetchone()  # noqa: S608 -- the schema's names
    return {f"{table.name}.{name}": count for name, count in zip(columns, counts, strict=True) if count}


def _without_nuls(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(
        value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value for value in row
    )


async def _copy(source: sqlite3.Connection, target: RawConnection, table: Table, *, mends: bool) -> int:
    columns = [column.name for column in table.columns]
    (count,) = source.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 -- the schema's names
    rows = source.execute(f"SELECT {', '.join(columns)} FROM {table.name}")  # noqa: S608 -- as above
    # The driver takes as many rows as fill half a mebibyte, sends them, and waits while the server is busy.
    records = map(_without_nuls, rows) if mends else rows
    await target.copy_records_to_table(table.name, records=records, columns=columns)
    question = f"SELECT count(*) FROM {table.name} WHERE {_condition(table)}"  # noqa: S608 -- as above
    found = await target.fetchval(question, COMPATIBILITY)
    if found != count:
        raise CannotStart(message=f"nothing was copied: of {count} rows of {table.name} {found} arrived")
    await _go_on_with_numbers(source, target, table)
    return int(count)


def _condition(table: Table) -> str:
    """Leave out what migrations have written."""
    return "NOT starts_with(name, $1)" if table is SERVER_STATE else "$1 <> ''"


async def _go_on_with_numbers(source: sqlite3.Connection, target: RawConnection, table: Table) -> None:
    """Let the next row have the number that it would have had: none is ever given twice."""
    for column in table.primary_key.columns:
        if not isinstance(column.type, Integer):
            continue
        sequence = await target.fetchval("SELECT pg_get_serial_sequence($1, $2)", table.name, column.name)
        if sequence is None:
            continue
        (highest,) = source.execute(f"SELECT max({column.name}) FROM {table.name}").fetchone()  # noqa: S608 -- as above
        given = source.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).fetchone()
        last = max(highest or 0, given[0] if given else 0)
        if last:
            await target.execute("SELECT setval($1::regclass, $2)", sequence, last)
