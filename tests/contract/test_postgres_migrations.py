"""Migrating a PostgreSQL that others use: one at a time, with limits, and understood by servers of both versions."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial

import asyncpg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from openecr.domain.errors import CannotStart
from openecr.store.migrating import TREES, NewerSchema, head_of, migrate, version_table
from openecr.store.postgres_migrating import (
    ALONE,
    FILLING,
    SchemaState,
    examine_postgresql,
    find_weaknesses,
    migrate_postgresql,
    prepare_postgresql,
    shuts_out_older,
)
from tests.contract.databases import PostgresServer

_NAME = "migrated"
_FIRST = "0001"
_PATIENCE_SECONDS = 30

# Enough of them for rows in most partitions.
_ROWS = """
INSERT INTO accounts (account_id, created_at) VALUES ('000000000000', 1);
INSERT INTO repositories
  (id, registry_id, name, created_at, tag_mutability, exclusion_filters, scan_on_push, encryption_type)
  VALUES (1, '000000000000/us-east-1', 'app', 2, 'MUTABLE', '[]', 0, 'AES256');
INSERT INTO blobs (id, region, digest, size_bytes, location, created_at)
  SELECT n, 'us-east-1', 'sha256:' || n, n, 'of blob ' || n, n FROM generate_series(1, 40) AS n;
INSERT INTO uploads (id, repository_id, received_bytes, epoch, started_at, expires_at)
  SELECT 'upload ' || n, 1, n, n + 1, n + 2, n + 3 FROM generate_series(1, 40) AS n;
INSERT INTO upload_parts (location, upload_id, epoch, first_byte, size_bytes)
  SELECT 'part ' || n, 'upload ' || n / 2 + 1, n, n, nullif(n, 7) FROM generate_series(0, 79) AS n;
"""
_COLUMNS = """
SELECT table_name AS name, string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns
  FROM information_schema.columns WHERE table_schema = 'public' AND table_name !~ '^(alembic|server_state)'
 GROUP BY 1
"""
_WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
 WHERE NOT granted AND locktype = 'advisory' AND datname = current_database()
"""


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    postgres.create(_NAME)
    yield postgres.dsn(_NAME)
    postgres.drop(_NAME)


async def run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def make_old(url: str, *, metadata: str = _FIRST) -> None:
    """Leave what an earlier version would: by itself, one of long ago."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=sqlalchemy.NullPool
    )
    async with engine.begin() as connection:
        for tree in TREES:
            revision = metadata if tree == "metadata" else _FIRST
            await connection.run_sync(partial(migrate, to=revision), tree)
    await engine.dispose()


async def make_new(url: str, *, compatible: str | None) -> None:
    """Leave what a version of the future would."""
    await migrate_postgresql(url)
    await run(url, f"UPDATE {version_table('metadata')} SET version_num = '9999'")
    await run(url, "DELETE FROM server_state WHERE name = 'oldest_compatible_metadata'")
    if compatible is not None:
        await run(url, f"INSERT INTO server_state VALUES ('oldest_compatible_metadata', '{compatible}')")


async def test_an_empty_database_is_migrated_by_the_first_server(url: str) -> None:
    assert await examine_postgresql(url) is SchemaState.EMPTY
    assert await prepare_postgresql(url, may_migrate=False) is SchemaState.EMPTY
    assert await examine_postgresql(url) is SchemaState.CURRENT
    assert await migrate_postgresql(url) is SchemaState.CURRENT


async def test_of_servers_that_start_together_on_an_empty_database_one_migrates(url: str) -> None:
    found = await asyncio.gather(*(prepare_postgresql(url, may_migrate=False) for _ in range(5)))
    assert sorted(state.value for state in found) == ["current"] * 4 + ["empty"]


async def test_an_older_schema_is_migrated_only_when_asked_for(url: str) -> None:
    await make_old(url)
    assert await shuts_out_older(url), "of long ago"
    with pytest.raises(CannotStart, match="run `openecr migrate`"):
        await prepare_postgresql(url, may_migrate=False)
    assert await examine_postgresql(url) is SchemaState.OLDER
    assert await prepare_postgresql(url, may_migrate=True) is SchemaState.OLDER
    assert await prepare_postgresql(url, may_migrate=False) is SchemaState.CURRENT
    assert not await shuts_out_older(url)


async def test_a_schema_that_lacks_one_tree_is_older(url: str) -> None:
    await migrate_postgresql(url)
    await run(url, f"DROP TABLE {version_table('activity')}")
    assert await examine_postgresql(url) is SchemaState.OLDER


@pytest.mark.parametrize("compatible", [None, "9998"])
@pytest.mark.parametrize("may_migrate", [True, False])
async def test_a_newer_schema_that_this_version_cannot_know_is_refused(
    url: str, compatible: str | None, may_migrate: bool
) -> None:
    await make_new(url, compatible=compatible)
    with pytest.raises(NewerSchema, match=r"schema 9999.*newer OpenECR"):
        await prepare_postgresql(url, may_migrate=may_migrate)
    with pytest.raises(NewerSchema):
        await migrate_postgresql(url)


async def test_a_newer_schema_that_says_that_this_version_may_work_with_it_is_served(url: str) -> None:
    await make_new(url, compatible=head_of("metadata"))
    assert await prepare_postgresql(url, may_migrate=True) is SchemaState.NEWER
    assert await migrate_postgresql(url) is SchemaState.NEWER


async def contents(url: str, columns: Mapping[str, str] | None = None) -> dict[str, tuple[str, list[str]]]:
    """Return the rows of every table, in an order; of the given columns alone."""
    connection = await asyncpg.connect(url)
    if columns is None:
        columns = {row["name"]: row["columns"] for row in await connection.fetch(_COLUMNS)}
    found = {
        name: (
            listed,
            [str(row) for row in await connection.fetch(f"SELECT {listed} FROM {name} ORDER BY 1, 2")],
        )
        for name, listed in columns.items()
    }
    await connection.close()
    return found


@pytest.mark.parametrize("revision", ["0001", "0007"])
async def test_what_is_stored_is_there_after_every_migration(url: str, revision: str) -> None:
    await make_old(url, metadata=revision)
    await run(url, _ROWS)
    before = await contents(url)
    assert {name: len(rows) for name, (_, rows) in before.items() if rows} == {
        "accounts": 1,
        "blobs": 40,
        "repositories": 1,
        "uploads": 40,
        "upload_parts": 80,
    }

    assert await migrate_postgresql(url) is SchemaState.OLDER

    assert await contents(url, {name: columns for name, (columns, _) in before.items()}) == before


async def test_a_migration_that_would_wait_behind_a_long_transaction_gives_up_and_leaves_nothing(
    url: str,
) -> None:
    await make_old(url)
    holder = await asyncpg.connect(url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE uploads IN ACCESS SHARE MODE")
        with pytest.raises(CannotStart, match=r"cannot be used: canceling statement due to lock timeout$"):
            await migrate_postgresql(url, lock_seconds=1)
    await holder.close()
    assert await examine_postgresql(url) is SchemaState.OLDER
    assert await migrate_postgresql(url) is SchemaState.OLDER


async def test_a_migration_that_keeps_servers_waiting_for_too_long_is_undone(url: str) -> None:
    await make_old(url)
    holder = await asyncpg.connect(url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE uploads IN ACCESS SHARE MODE")
        with pytest.raises(CannotStart, match=r"undone after 1 seconds.*--blocking-seconds"):
            await migrate_postgresql(url, lock_seconds=60, blocking_seconds=1)
    await holder.close()
    assert await examine_postgresql(url) is SchemaState.OLDER
    assert await migrate_postgresql(url, blocking_seconds=300) is SchemaState.OLDER


async def test_who_changes_nothing_waits_for_nobody_who_migrates(url: str) -> None:
    await migrate_postgresql(url)
    other = await asyncpg.connect(url)
    async with asyncio.timeout(_PATIENCE_SECONDS), other.transaction():
        await other.execute(ALONE)
        assert await prepare_postgresql(url, may_migrate=True) is SchemaState.CURRENT
        assert await migrate_postgresql(url) is SchemaState.CURRENT
        assert await examine_postgresql(url) is SchemaState.CURRENT
        assert not await shuts_out_older(url)
        assert await find_weaknesses(url) == ["fsync=off", "full_page_writes=off"]
    await other.close()


async def test_who_may_not_migrate_an_older_schema_hears_so_while_another_migrates(url: str) -> None:
    await make_old(url)
    other = await asyncpg.connect(url)
    async with asyncio.timeout(_PATIENCE_SECONDS), other.transaction():
        await other.execute(ALONE)
        assert await examine_postgresql(url) is SchemaState.OLDER
        with pytest.raises(CannotStart, match="run `openecr migrate`"):
            await prepare_postgresql(url, may_migrate=False)
    await other.close()


async def test_nobody_begins_to_use_a_database_while_rows_are_copied_to_it(url: str) -> None:
    await migrate_postgresql(url)
    other = await asyncpg.connect(url)
    async with other.transaction():
        await other.execute(FILLING)
        beginning = asyncio.ensure_future(prepare_postgresql(url, may_migrate=False))
        while not await other.fetchval(_WAITING):
            assert not beginning.done()
    await other.close()
    assert await beginning is SchemaState.CURRENT


async def test_who_waits_for_another_that_migrates_waits_for_as_long_as_that_may_take(url: str) -> None:
    await make_old(url)
    other = await asyncpg.connect(url)
    async with other.transaction():
        await other.execute(ALONE)
        waiting = asyncio.ensure_future(migrate_postgresql(url, lock_seconds=1, blocking_seconds=30))
        while not await other.fetchval(_WAITING):
            pass
        await other.execute("SELECT pg_sleep(3)")  # longer than a migration waits for any other lock
        assert not waiting.done()
    await other.close()
    assert await waiting is SchemaState.OLDER


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://openecr@/missing?host={folder}", 'cannot be used: database "missing" does not exist$'),
        ("postgresql://nobody@/postgres?host={folder}", 'cannot be used: role "nobody" does not exist$'),
        ("postgresql://openecr@/postgres?host={folder}/none", "cannot be used: .*No such file"),
        ("postgresql://openecr@/postgres?host={folder}&colour=red", "unrecognized configuration parameter"),
    ],
)
async def test_a_database_that_cannot_be_opened_is_one_line(
    postgres: PostgresServer, url: str, told: str
) -> None:
    with pytest.raises(CannotStart, match=told) as refusal:
        await prepare_postgresql(url.format(folder=postgres.socket_folder), may_migrate=True)
    assert "\n" not in refusal.value.message
