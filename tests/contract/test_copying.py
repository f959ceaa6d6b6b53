"""Every row of an embedded server arrives in PostgreSQL, or none does."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import CheckConstraint, Column, LargeBinary, Table, Text

from openecr.domain.errors import CannotStart
from openecr.store.copying import copy_to_postgresql
from openecr.store.migrating import migrate_sqlite
from openecr.store.postgres_migrating import migrate_postgresql
from openecr.store.schema import SCHEMAS
from openecr.store.sqlite import connect
from tests.contract.databases import PostgresServer

_NAME = "copied"
_ROWS = 3
_TABLES = [table for schema in SCHEMAS.values() for table in schema.sorted_tables]
_BYTES = bytes(range(256))
_TEXT = "ünïcode \U0001f980 'quoted' \\ tab\t \\N"
_CHOICES = {
    (table.name, match[1]): match[2]
    for table in _TABLES
    for constraint in table.constraints
    if isinstance(constraint, CheckConstraint)
    for match in re.finditer(r"(\w+) IN \('([^']+)'", str(constraint.sqltext))
}
"""Columns that take some values only, with one of them."""


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    postgres.create(_NAME)
    yield postgres.dsn(_NAME)
    postgres.drop(_NAME)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Rows in every table, whatever they mean; those of one number refer to each other."""
    metadata, activity = tmp_path / "metadata.sqlite", tmp_path / "activity.sqlite"
    migrate_sqlite(metadata, activity)
    for path, schema in zip((metadata, activity), SCHEMAS.values(), strict=True):
        raw = connect(path, writes=True)
        for table in schema.sorted_tables:
            names = ", ".join(column.name for column in table.columns)
            marks = ", ".join("?" for _ in table.columns)
            for number in range(1, _ROWS + 1):
                row = [value_of(column, number) for column in table.columns]
                raw.execute(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", row)
        raw.close()
    return metadata, activity


def value_of(column: Column[Any], number: int) -> object:
    """A value that is the same wherever columns refer to each other."""
    if column.nullable and number == 1:
        return None
    if (column.table.name, column.name) in _CHOICES:
        return _CHOICES[column.table.name, column.name]
    if isinstance(column.type, LargeBinary):
        return _BYTES * number
    if isinstance(column.type, Text):
        return f"{_TEXT}{number}"
    return number * 7


def rows_of(raw: sqlite3.Connection, table: Table) -> list[tuple[Any, ...]]:
    names = ", ".join(column.name for column in table.columns)
    return sorted(raw.execute(f"SELECT {names} FROM {table.name}").fetchall(), key=repr)


async def arrived(target: "asyncpg.Connection[asyncpg.Record]", table: Table) -> list[tuple[Any, ...]]:
    names = ", ".join(column.name for column in table.columns)
    where = " WHERE NOT starts_with(name, 'oldest_compatible_')" if table.name == "server_state" else ""
    found = await target.fetch(f"SELECT {names} FROM {table.name}{where}")
    return sorted((tuple(row) for row in found), key=repr)


async def analyzed(url: str) -> int:
    target = await asyncpg.connect(url)
    found = int(await target.fetchval("SELECT count(*) FROM pg_stats WHERE schemaname = 'public'"))
    await target.close()
    return found


async def test_every_row_of_every_table_arrives_as_it_was(files: tuple[Path, Path], url: str) -> None:
    copied = await copy_to_postgresql(*files, url)
    assert copied.mended == {}
    assert await analyzed(url) > 0
    assert copied.counts == {table.name: _ROWS for table in _TABLES}
    target = await asyncpg.connect(url)
    for path, schema in zip(files, SCHEMAS.values(), strict=True):
        raw = connect(path, writes=False)
        for table in schema.sorted_tables:
            assert await arrived(target, table) == rows_of(raw, table), table.name
        raw.close()
    await target.close()


async def test_numbers_go_on_after_those_that_were_ever_given(files: tuple[Path, Path], url: str) -> None:
    raw = connect(files[0], writes=True)
    raw.execute("UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'images'")  # the last ones were deleted
    raw.close()
    await copy_to_postgresql(*files, url)
    target = await asyncpg.connect(url)
    nexts = {
        name: await target.fetchval("SELECT nextval(pg_get_serial_sequence($1, 'id'))", name)
        for name in ("images", "repositories", "blobs")
    }
    assert nexts == {"images": 1001, "repositories": _ROWS * 7 + 1, "blobs": _ROWS * 7 + 1}
    await target.close()


@pytest.mark.parametrize("table", ["server_state", "image_pulls", "upload_parts"])
async def test_a_database_that_holds_a_row_is_refused(files: tuple[Path, Path], url: str, table: str) -> None:
    await migrate_postgresql(url)
    target = await asyncpg.connect(url)
    (described,) = [each for each in _TABLES if each.name == table]
    await target.execute("SET session_replication_role = replica")  # a row that refers to nothing
    await target.copy_records_to_table(table, records=[[value_of(column, 2) for column in described.columns]])
    with pytest.raises(CannotStart, match=f"not empty: there are rows in its table {table}"):
        await copy_to_postgresql(*files, url)
    for each in _TABLES:
        assert len(await arrived(target, each)) == (1 if each.name == table else 0)
    await target.close()


async def test_a_text_that_postgresql_does_not_keep_is_mended_and_told(
    files: tuple[Path, Path], url: str
) -> None:
    raw = connect(files[1], writes=True)
    raw.execute("UPDATE access_key_uses SET service = 'a' || char(0) || 'b'")
    raw.close()
    copied = await copy_to_postgresql(*files, url)
    assert copied.mended == {"access_key_uses.service": _ROWS}
    target = await asyncpg.connect(url)
    found = await target.fetch("SELECT DISTINCT service FROM access_key_uses")
    assert [row[0] for row in found] == ["a\N{REPLACEMENT CHARACTER}b"]
    await target.close()


async def test_what_postgresql_refuses_leaves_nothing(files: tuple[Path, Path], url: str) -> None:
    raw = connect(files[1], writes=True)  # among the last that are copied
    raw.execute("UPDATE access_key_uses SET service = CAST(x'ff' AS TEXT)")
    raw.close()
    with pytest.raises(CannotStart, match=r"nothing was copied: table access_key_uses: .*UTF-8"):
        await copy_to_postgresql(*files, url)
    target = await asyncpg.connect(url)
    assert [await arrived(target, table) for table in _TABLES] == [[]] * len(_TABLES)
    await target.close()
