"""What every database promises its callers: the same on SQLite and PostgreSQL."""

import asyncio
import importlib
import json
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Select, delete, insert, select

import openecr.store
from openecr.domain.errors import InvalidParameter
from openecr.store.connections import Connection, ConstraintViolated, Row
from openecr.store.database import Database, DatabaseFailed
from openecr.store.dialects import as_list
from openecr.store.statements import Statement
from openecr.store.tables import ACCESS_KEYS, ACCOUNTS, REPOSITORIES
from tests.contract.databases import Databases
from tests.contract.questions import (
    ADD,
    ADD_IF_NEW,
    FIND,
    LIST,
    LIST_AFTER,
    LIST_NAMED,
    PUT,
    REMOVE,
    SET,
    Meanwhile,
    adding,
    names,
    value_of,
)

NUL = "a\0b"
ADD_ACCOUNT = Statement(insert(ACCOUNTS), columns=("account_id", "created_at"))
ADD_KEY = Statement(
    insert(ACCESS_KEYS),
    columns=("access_key_id", "account_id", "principal_id", "sealed_secret", "status", "created_at"),
)
ADD_REPOSITORY = Statement(
    insert(REPOSITORIES).returning(REPOSITORIES.c.id),
    columns=(
        "registry_id",
        "name",
        "created_at",
        "tag_mutability",
        "exclusion_filters",
        "scan_on_push",
        "encryption_type",
    ),
)


def key(**changes: Any) -> dict[str, Any]:
    return {
        "access_key_id": "AKIA1",
        "account_id": "000000000000",
        "principal_id": "root",
        "sealed_secret": b"\x00\xff",
        "status": "Active",
        "created_at": 1,
    } | changes


# --- reads and writes ------------------------------------------------------------------------------------------------


async def test_what_is_written_is_read_and_scanned(database: Database) -> None:
    assert await database.write(adding("a", "x")) == 1
    assert await database.read(value_of("a")) == "x"
    assert await database.scan(value_of("a")) == "x"


async def test_a_row_that_is_not_there_is_none_and_a_list_of_none_is_empty(database: Database) -> None:
    assert await database.read(lambda connection: connection.fetch_one(FIND, the_name="a")) is None
    assert await database.read(lambda connection: connection.fetch_all(LIST)) == []


async def test_a_change_tells_how_many_rows_it_touched(database: Database) -> None:
    await database.write(adding("a"))

    def unit(connection: Connection) -> list[int]:
        return [
            connection.execute(SET, the_name="a", new_value="2"),
            connection.execute(SET, the_name="b", new_value="2"),
            connection.execute(REMOVE, the_name="a"),
            connection.execute(REMOVE, the_name="a"),
        ]

    assert await database.write(unit) == [1, 0, 1, 0]


async def test_a_unit_sees_its_own_changes(database: Database) -> None:
    def unit(connection: Connection) -> list[str]:
        connection.execute(ADD, name="a", value="1")
        return names(connection)

    assert await database.write(unit) == ["a"]


async def test_ids_are_never_used_again(database: Database) -> None:
    row = {
        "registry_id": "000000000000/us-east-1",
        "created_at": 1,
        "tag_mutability": "MUTABLE",
        "exclusion_filters": "[]",
        "scan_on_push": 0,
        "encryption_type": "AES256",
    }
    remove = Statement(delete(REPOSITORIES))

    def add(name: str) -> Callable[[Connection], int]:
        def unit(connection: Connection) -> int:
            found = connection.fetch_one(ADD_REPOSITORY, name=name, **row)
            assert found is not None
            return int(found[0])

        return unit

    first = await database.write(add("a"))
    await database.write(lambda connection: connection.execute(remove))
    assert await database.write(add("a")) > first


async def test_text_is_kept_to_the_letter_and_sorted_by_its_bytes(database: Database) -> None:
    given_names = ["b", "B", "a-b", "a/b", "a_b", "ab", "é", "z", "\U0001f40b", "\uffee", "a\n'\"%s:x"]

    def unit(connection: Connection) -> None:
        for name in given_names:
            connection.execute(ADD, name=name, value=name)

    await database.write(unit)
    expected = sorted(given_names, key=str.encode)
    assert await database.scan(names) == expected
    for position, name in enumerate(expected):
        rows = await database.scan(lambda connection, name=name: connection.fetch_all(LIST_AFTER, after=name))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        assert [row[0] for row in rows] == expected[position + 1 :]
        assert await database.read(value_of(name)) == name


async def test_bytes_and_large_numbers_come_back_as_they_were(database: Database) -> None:
    await database.write(
        lambda connection: connection.execute(ADD_ACCOUNT, account_id="000000000000", created_at=2**63 - 1)
    )
    content = bytes(range(256)) * 400
    await database.write(lambda connection: connection.execute(ADD_KEY, **key(sealed_secret=content)))
    find = Statement(
        select(ACCESS_KEYS.c.sealed_secret, ACCOUNTS.c.created_at).join_from(ACCESS_KEYS, ACCOUNTS)
    )
    row = await database.read(lambda connection: connection.fetch_one(find))
    assert row is not None
    assert (bytes(row[0]), row[1]) == (content, 2**63 - 1)


# --- units of work ---------------------------------------------------------------------------------------------------


async def test_a_unit_that_raises_is_undone_whole(database: Database) -> None:
    def unit(connection: Connection) -> None:
        connection.execute(ADD, name="a", value="1")
        connection.execute(ADD, name="b", value="1")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(unit)
    assert await database.read(names) == []


async def test_a_unit_that_raises_is_undone_alone_and_each_hears_of_its_own(database: Database) -> None:
    results: dict[int, object] = {}

    async def write(number: int) -> None:
        def unit(connection: Connection) -> int:
            connection.execute(ADD, name=f"{number:03}", value="1")
            if number % 7 == 0:
                raise ValueError(number)
            return number

        try:
            results[number] = await database.write(unit)
        except ValueError as error:
            results[number] = error.args

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(write, number)
    assert results == {number: (number,) if number % 7 == 0 else number for number in range(100)}
    assert await database.scan(names) == [f"{number:03}" for number in range(100) if number % 7]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"access_key_id": "AKIA0"}, id="unique"),
        pytest.param({"account_id": "999999999999"}, id="foreign key"),
        pytest.param({"status": "Lost"}, id="check"),
        pytest.param({"created_at": None}, id="not null"),
    ],
)
async def test_what_a_constraint_refuses_is_told_as_such_and_undone(
    database: Database, changes: dict[str, Any]
) -> None:
    def first(connection: Connection) -> None:
        connection.execute(ADD_ACCOUNT, account_id="000000000000", created_at=1)
        connection.execute(ADD_KEY, **key(access_key_id="AKIA0"))

    await database.write(first)

    def second(connection: Connection) -> None:
        connection.execute(ADD, name="a", value="1")
        connection.execute(ADD_KEY, **key(**changes))

    with pytest.raises(ConstraintViolated):
        await database.write(second)
    assert await database.read(names) == []


async def test_what_is_referred_to_cannot_be_removed(database: Database) -> None:
    def first(connection: Connection) -> None:
        connection.execute(ADD_ACCOUNT, account_id="000000000000", created_at=1)
        connection.execute(ADD_KEY, **key())

    await database.write(first)
    remove = Statement(delete(ACCOUNTS))
    with pytest.raises(ConstraintViolated):
        await database.write(lambda connection: connection.execute(remove))


async def test_units_at_once_happen_as_if_one_after_another(database: Database) -> None:
    await database.write(adding("count", "0"))

    async def raise_by_one() -> None:
        def unit(connection: Connection) -> None:
            found = value_of("count")(connection)
            assert found is not None
            connection.execute(SET, the_name="count", new_value=str(int(found) + 1))

        await database.write(unit)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(raise_by_one)
    assert await database.read(value_of("count")) == "20"


async def test_of_units_that_check_and_then_add_one_adds_and_all_others_find(database: Database) -> None:
    added: list[int] = []

    async def ensure(number: int) -> None:
        def unit(connection: Connection) -> bool:
            if value_of("only")(connection) is not None:
                return False
            connection.execute(ADD, name="only", value=str(number))
            return True

        if await database.write(unit):
            added.append(number)

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(ensure, number)
    assert len(added) == 1
    assert await database.read(value_of("only")) == str(added[0])


async def test_a_caller_that_goes_away_leaves_a_unit_done_or_undone_but_whole(database: Database) -> None:
    def unit(number: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            connection.execute(ADD, name=f"{number:02}a", value="1")
            connection.execute(ADD, name=f"{number:02}b", value="1")

        return work

    for number in range(10):
        task = asyncio.create_task(database.write(unit(number)))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})  # where the disk is quick, it was done before
    await database.write(adding("last"))  # whatever was under way has ended before this
    found = await database.scan(names)
    halves = [name[:2] for name in found if name != "last"]
    assert all(halves.count(half) == 2 for half in halves)
    assert "last" in found


# --- scans -----------------------------------------------------------------------------------------------------------


async def test_a_scan_sees_one_snapshot(database: Database, meanwhile: Meanwhile) -> None:
    await database.write(adding("a"))

    def scan(connection: Connection) -> tuple[list[str], list[str]]:
        before = names(connection)
        meanwhile(lambda: database.write(adding("b")))
        return before, names(connection)

    assert await database.scan(scan) == (["a"], ["a"])
    assert await database.scan(names) == ["a", "b"]


async def test_a_scan_that_raises_harms_no_later_one(database: Database) -> None:
    def broken(connection: Connection) -> None:
        names(connection)
        raise ZeroDivisionError

    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            await database.scan(broken)
    await database.write(adding("a"))
    assert await database.scan(names) == ["a"]


async def test_many_scans_and_writes_at_once_all_end(database: Database) -> None:
    counts: list[int] = []

    async def write(number: int) -> None:
        await database.write(adding(str(number)))

    async def scan() -> None:
        counts.append(len(await database.scan(names)))

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(write, number)
            group.start_soon(scan)
    assert len(counts) == 40
    assert len(await database.scan(names)) == 40


# --- what the dialects do differently --------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [[], ["a"], ["a", "b", "missing"], ["q\"u'o,te", "é\n", "[]", "\\"]])
async def test_a_list_of_any_length_is_one_parameter(database: Database, wanted: list[str]) -> None:
    present = ["a", "b", "c", "q\"u'o,te", "é\n", "[]", "\\"]

    def unit(connection: Connection) -> None:
        for name in present:
            connection.execute(ADD, name=name, value="1")

    await database.write(unit)
    rows = await database.read(lambda connection: connection.fetch_all(LIST_NAMED, names=as_list(wanted)))
    assert {row[0] for row in rows} == set(wanted) & set(present)


async def test_a_list_of_a_thousand_is_one_parameter_too(database: Database) -> None:
    await database.write(adding("999"))
    numbers = [str(number) for number in range(1000)]
    rows = await database.read(lambda connection: connection.fetch_all(LIST_NAMED, names=as_list(numbers)))
    assert [row[0] for row in rows] == ["999"]


async def test_an_insert_that_ignores_tells_whether_it_inserted(database: Database) -> None:
    def unit(connection: Connection) -> tuple[int, int]:
        return (
            connection.execute(ADD_IF_NEW, name="a", value="1"),
            connection.execute(ADD_IF_NEW, name="a", value="2"),
        )

    assert await database.write(unit) == (1, 0)
    assert await database.read(value_of("a")) == "1"


async def test_an_insert_that_replaces_leaves_the_new_value(database: Database) -> None:
    def unit(connection: Connection) -> None:
        connection.execute(PUT, name="a", value="1")
        connection.execute(PUT, name="a", value="2")
        connection.execute(PUT, name="b", value="3")

    await database.write(unit)
    assert await database.read(value_of("a")) == "2"
    assert await database.read(value_of("b")) == "3"


OF_ACTIVITY = frozenset({"access_key_uses", "audit", "pulls"})
"""The store's modules whose tables are in the database of what is noted beside."""


class Undone(Exception):
    """Ends a unit that was only tried."""


def statements() -> list[tuple[str, Statement]]:
    """Every statement of the store."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.iter_modules(openecr.store.__path__, "openecr.store.")
        if not module.ispkg
    ]
    return [
        (f"{module.__name__}.{name}", value)
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Statement)
    ]


def sample_parameters(statement: Statement) -> dict[str, Any]:
    """A value of the right type for each parameter that has none yet."""
    compiled = statement.compiled_for_postgresql
    samples: dict[type, object] = {int: 1, str: "[]", bytes: b"x", object: 1}  # what has no type is a LIMIT
    return {
        name: samples[bound.type.python_type] for bound, name in compiled.bind_names.items() if bound.required
    }


async def test_every_statement_of_the_store_runs(databases: Databases) -> None:
    found = statements()
    assert len(found) > 50
    for name, statement in found:
        database = databases.activity if name.split(".")[2] in OF_ACTIVITY else databases.metadata
        parameters = sample_parameters(statement)
        returns_rows = isinstance(statement.element, Select) or bool(
            getattr(statement.element, "_returning", ())
        )

        def unit(
            connection: Connection,
            statement: Statement = statement,
            parameters: dict[str, Any] = parameters,
            *,
            returns_rows: bool = returns_rows,
        ) -> None:
            verb = connection.fetch_all if returns_rows else connection.execute
            with suppress(ConstraintViolated):  # the samples refer to nothing
                verb(statement, **parameters)
            raise Undone

        with pytest.raises(Undone):
            await database.write(unit)


async def test_every_statement_that_is_asked_together_finds_what_it_finds_alone(databases: Databases) -> None:
    shared = [(name, statement) for name, statement in statements() if statement.is_shared]
    assert len(shared) > 5
    for _, statement in shared:
        given = [
            {name: value * number for name, value in sample_parameters(statement).items()}
            for number in range(1, 5)
        ]

        def asking(
            parameters: dict[str, Any], statement: Statement = statement
        ) -> Callable[[Connection], Row | None]:
            return lambda connection: connection.fetch_one(statement, **parameters)

        alone = [await databases.metadata.read(asking(parameters)) for parameters in given]
        together = await asyncio.gather(*(databases.metadata.read(asking(each)) for each in given))
        assert together == alone


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_a_list_is_encoded_and_decoded(values: list[str]) -> None:
    assert json.loads(as_list(values)) == values


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_closing_lets_what_was_asked_finish_and_refuses_the_rest(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(adding(str(number)))) for number in range(30)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*tasks) == [1] * 30
    for verb in (database.read, database.scan, database.write):
        with pytest.raises(DatabaseFailed):
            await verb(names)
    await database.close()


async def test_a_text_with_nul_is_bad_input_wherever_it_is_bound(database: Database) -> None:
    asking: list[Callable[[Connection], object]] = [
        adding(NUL),
        adding("a", NUL),
        value_of(NUL),
        lambda connection: connection.fetch_all(LIST_NAMED, names=as_list(["a", NUL])),
    ]
    for run in (database.read, database.scan, database.write):
        for ask in asking:
            with pytest.raises(InvalidParameter):
                await run(ask)
    assert await database.read(names) == []
