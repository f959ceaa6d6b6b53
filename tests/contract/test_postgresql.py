"""What only PostgreSQL has to do to keep a database's promises."""

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.util import await_only

from openecr.domain.errors import StorageFull, Unavailable
from openecr.store import blobs, uploads
from openecr.store.connections import Connection, ConstraintViolated, PostgresConnection
from openecr.store.database import Database, Work
from openecr.store.dialects import as_list
from openecr.store.postgresql import PostgresDatabase
from openecr.store.statements import Statement
from tests.contract.questions import ADD, SET, Meanwhile, adding, names, value_of


@pytest.fixture
def engine() -> str:
    return "postgresql"


@pytest.fixture
def only_postgresql(databases: object, database: Database) -> PostgresDatabase:
    assert isinstance(database, PostgresDatabase)
    return database


async def test_a_unit_that_cannot_be_serialized_is_run_again(
    only_postgresql: PostgresDatabase, meanwhile: Meanwhile
) -> None:
    database = only_postgresql
    await database.write(adding("a", "0"))
    seen: list[str | None] = []

    def unit(connection: Connection) -> None:
        seen.append(value_of("a")(connection))
        if len(seen) == 1:
            meanwhile(lambda: database.write(lambda other: other.execute(SET, the_name="a", new_value="1")))
        connection.execute(SET, the_name="a", new_value=f"after {seen[-1]}")

    await database.write(unit)
    assert seen == ["0", "1"]
    assert await database.read(value_of("a")) == "after 1"


async def test_a_unit_that_never_can_be_serialized_is_given_up(
    only_postgresql: PostgresDatabase, meanwhile: Meanwhile
) -> None:
    database = only_postgresql
    await database.write(adding("a", "0"))
    runs = 0

    def unit(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        value_of("a")(connection)
        meanwhile(lambda: database.write(lambda other: other.execute(SET, the_name="a", new_value=str(runs))))
        connection.execute(SET, the_name="a", new_value="mine")

    with pytest.raises(Unavailable, match="busy"):
        await database.write(unit)
    assert await database.read(value_of("a")) == str(runs)


async def test_units_that_run_again_do_so_one_at_a_time(only_postgresql: PostgresDatabase) -> None:
    database = only_postgresql
    first_time: set[int] = set()
    running: set[int] = set()
    most = 0

    def unit(number: int) -> Work[None]:
        def work(connection: Connection) -> None:
            nonlocal most
            if number not in first_time:
                first_time.add(number)
                raise asyncpg.SerializationError
            running.add(number)
            most = max(most, len(running))
            for _ in range(3):
                value_of("a")(connection)
            running.discard(number)

        return work

    await asyncio.gather(*(database.write(unit(number)) for number in range(6)))

    assert first_time == set(range(6))
    assert most == 1


@pytest.mark.parametrize(
    ("statement", "asked", "condition"),
    [
        (
            blobs.LIST_HELD,
            {"repository_id": 1, "digests": as_list(["a", "b"])},
            "((repository_id = '1'::bigint) AND (digest = member.value)",
        ),
        (uploads.FIND, {"upload_id": "a"}, "(id = 'a'::text"),
        (blobs.CLAIM, {"blob_ids": as_list([1, 2])}, "(id = ANY ($0))"),
    ],
    ids=["LIST_HELD", "FIND", "CLAIM"],
)
async def test_units_of_a_push_read_what_they_ask_for_and_nothing_beside(
    only_postgresql: PostgresDatabase, statement: Statement, asked: dict[str, Any], condition: str
) -> None:
    """What is read beside, in a table that is still small, is in the way of all who write there."""
    asking = statement.postgresql

    def plan(connection: Connection) -> str:
        assert isinstance(connection, PostgresConnection)
        rows = await_only(connection.raw.fetch(f"EXPLAIN {asking.text}", *asking.bind(asked)))
        return "\n".join(row[0] for row in rows)

    found = await only_postgresql.write(plan)
    assert f"Index Cond: {condition}" in found, found


async def test_a_unit_that_loses_the_race_to_add_a_row_is_run_again_and_finds_it(
    only_postgresql: PostgresDatabase, meanwhile: Meanwhile
) -> None:
    database = only_postgresql
    runs = 0

    def unit(connection: Connection) -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            names(connection)  # takes the snapshot
            meanwhile(lambda: database.write(adding("a", "theirs")))
            connection.execute(ADD, name="a", value="mine")
        return str(value_of("a")(connection))

    assert await database.write(unit) == "theirs"


def failing(state: str) -> Work[None]:
    broken = Statement(text(f"DO $$ BEGIN RAISE EXCEPTION 'it is so' USING ERRCODE = '{state}'; END $$"))

    def unit(connection: Connection) -> None:
        connection.execute(broken)

    return unit


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ("53100", StorageFull),
        ("53200", Unavailable),
        ("53300", Unavailable),
        ("57P03", Unavailable),
        ("22012", asyncpg.DivisionByZeroError),
    ],
)
async def test_what_the_server_cannot_do_now_is_told_from_what_it_never_can(
    only_postgresql: PostgresDatabase, state: str, error: type[Exception]
) -> None:
    for run in (only_postgresql.read, only_postgresql.scan, only_postgresql.write):
        with pytest.raises(error) as caught:
            await run(failing(state))
        assert type(caught.value) is error


async def test_a_server_that_only_reads_takes_no_change(only_postgresql: PostgresDatabase) -> None:
    only_reads = Statement(text("SET TRANSACTION READ ONLY"))

    def unit(connection: Connection) -> None:
        connection.execute(only_reads)
        adding("a")(connection)

    with pytest.raises(Unavailable):
        await only_postgresql.write(unit)
    assert await only_postgresql.read(names) == []


async def test_reads_change_nothing(only_postgresql: PostgresDatabase) -> None:
    for run in (only_postgresql.read, only_postgresql.scan):
        with pytest.raises(Unavailable):
            await run(adding("a"))
    assert await only_postgresql.read(names) == []


async def test_a_unit_that_goes_on_after_an_error_is_not_taken_for_done(
    only_postgresql: PostgresDatabase,
) -> None:
    await only_postgresql.write(adding("a"))

    def unit(connection: Connection) -> None:
        adding("b")(connection)
        with suppress(ConstraintViolated):
            adding("a")(connection)

    with pytest.raises(RuntimeError, match="undone"):
        await only_postgresql.write(unit)
    assert await only_postgresql.read(names) == ["a"]


async def test_a_server_that_is_not_there_is_unavailable(engine: str) -> None:
    database = PostgresDatabase.connect("postgresql+asyncpg://openecr@/openecr?host=/nowhere")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await database.read(names)
    await database.close()
