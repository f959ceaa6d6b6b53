"""Migrations make the very schema that the tables describe, on both engines, whole or not at all."""

import json
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

import openecr.store.migrations
from openecr.domain.errors import CannotStart
from openecr.store import partitions
from openecr.store.migrating import TREES, migrate, migrate_sqlite, oldest_compatible, reach, version_table
from openecr.store.partitions import part_name
from openecr.store.schema import SCHEMAS
from tests.contract.databases import PostgresServer, migrate_postgresql

VERSION_TABLES = {version_table(tree) for tree in TREES}
PARTS = {
    part_name(table, number) for table in ("uploads", "upload_parts") for number in range(partitions.PARTS)
}

# What PostgreSQL says of its schema: columns with type, collation and default, constraints and indexes.
CATALOGUE = """
SELECT 'column', table_name, column_name || ' ' || data_type || ' ' || is_nullable || ' '
       || coalesce(column_default, '-') || ' ' || coalesce(collation_name, '-') || ' ' || is_identity
  FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'index', tablename::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
ORDER BY 1, 2, 3
"""


def files_in(folder: Path) -> tuple[Path, Path]:
    return folder / "metadata.sqlite", folder / "activity.sqlite"


def schema_of(path: Path) -> set[tuple[str, str, tuple[str, ...]]]:
    """What SQLite says of its schema: the layout of the text and the order of constraints mean nothing."""
    with sqlite3.connect(path) as raw:
        rows = raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    raw.close()
    return {(name, *_parts(" ".join(sql.split()))) for name, sql in rows if name not in VERSION_TABLES}


def _parts(sql: str) -> tuple[str, tuple[str, ...]]:
    body, closing, options = sql.rpartition(")")
    columns, *constraints = body.split(", CONSTRAINT ")
    return columns, (*sorted(constraint.strip() for constraint in constraints), closing + options)


def dump(path: Path) -> list[str]:
    with sqlite3.connect(path) as raw:
        lines = list(raw.iterdump())
    raw.close()
    return lines


@pytest.fixture
def empty_database(postgres: PostgresServer) -> Iterator[str]:
    postgres.create("empty")
    yield postgres.url("empty")
    postgres.drop("empty")


# --- the promise to the last release ---------------------------------------------------------------------------------

_GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "migrations.json").read_text())
"""The last release, the newest migrations that it has, and what its migrations are."""


@pytest.mark.parametrize("tree", TREES)
def test_servers_of_the_last_release_may_start_on_the_newest_schema(tree: str) -> None:
    released = _GOLDEN["heads"][tree]
    assert oldest_compatible(tree) <= released, (
        f"let every migration of {tree} after {released} leave what the last release needs, and say so: "
        f'oldest_compatible = "{released}"'
    )


def test_released_migrations_are_never_changed() -> None:
    folder = Path(openecr.store.migrations.__file__).parent
    for name, expected in _GOLDEN["sha256"].items():
        tree, _, file = name.partition("/")
        assert sha256((folder / tree / "versions" / file).read_bytes()).hexdigest() == expected, name


def test_the_last_release_is_the_one_whose_data_folder_was_kept_last() -> None:
    """A release writes its heads, and the hashes of its migrations, into the golden file."""
    folders = Path(__file__).parents[1] / "fixtures" / "data-folders"
    versions = [path.name.removesuffix(".tar.gz") for path in folders.glob("*.tar.gz")]
    assert max(versions, key=lambda version: [*map(int, version.split("."))]) == _GOLDEN["release"]
    hashed = [name.partition("/") for name in _GOLDEN["sha256"]]
    for tree, head in _GOLDEN["heads"].items():
        assert max(file[:4] for of, _, file in hashed if of == tree) == head


@pytest.mark.parametrize(
    ("promises", "oldest"),
    [
        ([("3", "3"), ("2", "2"), ("1", "1")], "3"),
        ([("3", "1"), ("2", "1"), ("1", "1")], "1"),
        ([("3", "2"), ("2", "1"), ("1", "1")], "2"),
        ([("3", "1"), ("2", "2"), ("1", "1")], "2"),
        ([("3", "3"), ("2", "1"), ("1", "1")], "3"),
    ],
)
def test_a_promise_reaches_as_far_back_as_that_of_every_later_migration(
    promises: list[tuple[str, str]], oldest: str
) -> None:
    assert reach(promises) == oldest


# --- SQLite ----------------------------------------------------------------------------------------------------------


def test_on_sqlite_migrations_make_the_schema_that_the_tables_describe(tmp_path: Path) -> None:
    migrate_sqlite(*files_in(tmp_path))
    for path, schema in zip(files_in(tmp_path), SCHEMAS.values(), strict=True):
        fresh = tmp_path / f"fresh-{path.name}"
        engine = sqlalchemy.create_engine(f"sqlite:///{fresh}")
        schema.create_all(engine)
        engine.dispose()
        assert schema_of(path) == schema_of(fresh)
        assert schema_of(path)


def test_on_sqlite_alembic_finds_nothing_left_to_do(tmp_path: Path) -> None:
    migrate_sqlite(*files_in(tmp_path))
    for path, (tree, schema) in zip(files_in(tmp_path), SCHEMAS.items(), strict=True):
        engine = sqlalchemy.create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": version_table(tree)})
            assert compare_metadata(context, schema) == []
        engine.dispose()


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    migrate_sqlite(*files_in(tmp_path))
    before = [dump(path) for path in files_in(tmp_path)]
    migrate_sqlite(*files_in(tmp_path))
    assert [dump(path) for path in files_in(tmp_path)] == before


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    metadata, activity = files_in(tmp_path)
    with sqlite3.connect(metadata) as raw:
        raw.execute("CREATE TABLE large_sessions (x)")  # the last table that is made
    raw.close()
    with pytest.raises(CannotStart, match="large_sessions"):
        migrate_sqlite(metadata, activity)
    assert {name for name, *_ in schema_of(metadata)} == {"large_sessions"}


def test_the_files_shrink_and_keep_a_log(tmp_path: Path) -> None:
    migrate_sqlite(*files_in(tmp_path))
    for path in files_in(tmp_path):
        raw = sqlite3.connect(path)
        assert raw.execute("PRAGMA auto_vacuum").fetchone() == (2,)  # incremental
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        raw.close()


@pytest.mark.parametrize("tree", TREES)
def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path, tree: str) -> None:
    migrate_sqlite(*files_in(tmp_path))
    path = files_in(tmp_path)[TREES.index(tree)]
    with sqlite3.connect(path) as raw:
        raw.execute(f"UPDATE {version_table(tree)} SET version_num = '9999'")
    raw.close()
    before = schema_of(path)
    with pytest.raises(CannotStart, match=r"schema 9999.*newer OpenECR"):
        migrate_sqlite(*files_in(tmp_path))
    assert schema_of(path) == before


def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    metadata, activity = files_in(tmp_path)
    metadata.write_bytes(b"not a database" * 100)
    with pytest.raises(CannotStart, match=r"metadata\.sqlite cannot be used: file is not a database$"):
        migrate_sqlite(metadata, activity)


def test_a_folder_with_a_percent_sign_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "100% ours"
    folder.mkdir()
    migrate_sqlite(*files_in(folder))
    assert schema_of(files_in(folder)[0])


def is_declared(item: object, _: str | None, kind: str, *__: object) -> bool:
    """A reference to a partitioned table is one to each of its parts as well."""
    if kind != "foreign_key_constraint":
        return True
    assert isinstance(item, sqlalchemy.ForeignKeyConstraint)
    return item.elements[0].target_fullname.partition(".")[0] not in PARTS


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


async def catalogue(url: str) -> set[tuple[str, ...]]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        rows = [tuple(map(str, row)) for row in (await connection.exec_driver_sql(CATALOGUE)).fetchall()]
    await engine.dispose()
    return {row for row in rows if row[1] not in VERSION_TABLES}


async def test_on_postgresql_migrations_make_the_schema_that_the_tables_describe(
    postgres_url: str, empty_database: str
) -> None:
    engine = create_async_engine(empty_database)
    async with engine.begin() as connection:
        for schema in SCHEMAS.values():
            await connection.run_sync(schema.create_all)
    await engine.dispose()
    migrated = await catalogue(postgres_url)
    assert migrated == await catalogue(empty_database)
    assert any(row[0] == "constraint" for row in migrated)


async def test_on_postgresql_alembic_finds_nothing_left_to_do(postgres_url: str) -> None:
    engine = create_async_engine(postgres_url)

    def compare(connection: sqlalchemy.Connection) -> list[object]:
        found = []
        for tree, schema in SCHEMAS.items():
            others = {*VERSION_TABLES, *(name for each in SCHEMAS.values() for name in each.tables)} - {
                *schema.tables
            }
            options = {
                "version_table": version_table(tree),
                "include_object": is_declared,
                "include_name": lambda name, kind, _, others=others: (
                    kind != "table" or name not in others | PARTS
                ),
            }
            found += compare_metadata(MigrationContext.configure(connection, opts=options), schema)
        return found

    async with engine.connect() as connection:
        assert await connection.run_sync(compare) == []
    await engine.dispose()


async def test_on_postgresql_a_newer_schema_is_refused(empty_database: str) -> None:
    await migrate_postgresql(empty_database)
    await migrate_postgresql(empty_database)
    engine = create_async_engine(empty_database)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"UPDATE {version_table('metadata')} SET version_num = '9999'")
        with pytest.raises(CannotStart, match="schema 9999"):
            await connection.run_sync(migrate, "metadata")
    await engine.dispose()
