"""Migrating a PostgreSQL that others use: one at a time, with limits, and understood by servers of both versions."""

import asyncio
from collections.abc import Iterator
from functools import partial

import asyncpg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from openecr.domain.errors import CannotStart
from openecr.store.migrating import TREES, NewerSchema, head_of, migrate, version_table
from openecr.store.postgres_migrating import (
    SchemaState,
    examine_postgresql,
    migrate_postgresql,
    prepare_postgresql,
    shuts_out_older,
)
from tests.contract.databases import PostgresServer

_NAME = "migrated"
_FIRST = "0001"


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


async def make_old(url: str) -> None:
    """Leave what a version of long ago would."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=sqlalchemy.NullPool
    )
    async with engine.begin() as connection:
        for tree in TREES:
            await connection.run_sync(partial(migrate, to=_FIRST), tree)
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
