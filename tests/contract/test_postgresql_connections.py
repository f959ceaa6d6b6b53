"""Connections to PostgreSQL that break, and callers that go away: nothing is lost, done twice or left half done."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
from sqlalchemy import BigInteger, Text, bindparam, case, cast, func, select, text
from sqlalchemy.util import await_only

from openecr.domain.errors import Unavailable
from openecr.store.connections import Connection, PostgresConnection, Row
from openecr.store.database import Database
from openecr.store.postgres_connecting import Connector, RawConnection
from openecr.store.postgres_pool import ConnectionLost, PostgresPool
from openecr.store.postgresql import PostgresDatabase
from openecr.store.statements import Statement
from tests.contract.administrators import Administrator
from tests.contract.questions import FIND, SET, Meanwhile, adding, names
from tests.processes import standing_still

PATIENCE_SECONDS = 60


@pytest.fixture
def engine() -> str:
    return "postgresql"


@pytest.fixture
def pool(databases: object, database: Database) -> PostgresDatabase:
    assert isinstance(database, PostgresDatabase)
    return database


@pytest.fixture
async def administrator(postgres_url: str) -> AsyncIterator[Administrator]:
    async with Administrator.of(postgres_url) as found:
        yield found


async def test_connections_that_the_server_ended_are_replaced_unseen(
    pool: PostgresDatabase, administrator: Administrator
) -> None:
    await pool.write(adding("a"))
    for run in (pool.read, pool.scan):
        assert await run(names) == ["a"]
    await administrator.end_all()
    assert await pool.read(names) == ["a"]
    assert await pool.scan(names) == ["a"]
    await pool.write(adding("b"))
    assert await pool.read(names) == ["a", "b"]


async def test_a_read_whose_connection_breaks_each_time_is_unavailable(pool: PostgresDatabase) -> None:
    end_own = Statement(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    for run in (pool.read, pool.scan, pool.write):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await run(lambda connection: connection.fetch_one(end_own))
    assert await pool.read(names) == []


async def test_a_unit_that_loses_its_connection_before_the_commit_is_run_again(
    pool: PostgresDatabase, administrator: Administrator, meanwhile: Meanwhile
) -> None:
    runs = 0

    def unit(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        adding("a")(connection)
        if runs == 1:
            meanwhile(administrator.end_all)
            assert isinstance(connection, PostgresConnection)
            await_only(_closed(connection))

    await pool.write(unit)
    assert (runs, await pool.read(names)) == (2, ["a"])


async def _closed(connection: PostgresConnection) -> None:
    """Wait until the driver has heard of it."""
    closed = asyncio.Event()
    connection.raw.add_termination_listener(lambda _: closed.set())
    if not connection.raw.is_closed():
        await closed.wait()


async def test_a_unit_whose_commit_was_not_answered_is_not_run_again(
    pool: PostgresDatabase, administrator: Administrator
) -> None:
    async with administrator.ending_at_commit() as commits:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await pool.write(adding("a"))
        assert await commits() == 1
    assert await pool.read(names) == []


async def test_a_caller_that_goes_away_leaves_its_unit_to_its_end(
    pool: PostgresDatabase, postgres_url: str, meanwhile: Meanwhile
) -> None:
    is_under_way = asyncio.Event()
    go_on = asyncio.Event()

    def unit(connection: Connection) -> None:
        adding("a")(connection)
        is_under_way.set()
        meanwhile(go_on.wait)
        adding("b")(connection)

    task = asyncio.ensure_future(pool.write(unit))
    await is_under_way.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    go_on.set()
    await pool.close()
    other = PostgresDatabase.connect(postgres_url)
    assert await other.read(names) == ["a", "b"]
    await other.close()


async def test_more_callers_than_connections_wait_and_some_go_away_meanwhile(pool: PostgresDatabase) -> None:
    sleep = Statement(text("SELECT pg_sleep(0.01)"))

    def unit(number: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            connection.fetch_one(sleep)
            adding(f"{number:02}")(connection)

        return work

    tasks = [asyncio.ensure_future(pool.write(unit(number))) for number in range(40)]
    readers = [
        asyncio.ensure_future(pool.read(lambda connection: connection.fetch_one(sleep))) for _ in range(40)
    ]
    await asyncio.sleep(0)
    for task in readers[::2]:
        task.cancel()
    await asyncio.wait({*tasks, *readers})
    assert sum(task.cancelled() for task in readers) == 20
    await asyncio.gather(*tasks, *readers[1::2])
    assert len(await pool.read(names)) == 40


# --- reads that are asked together -----------------------------------------------------------------------------------

SHARED = Statement(FIND.element, is_shared=True)


def finding(name: str) -> Callable[[Connection], str | None]:
    def work(connection: Connection) -> str | None:
        row = connection.fetch_one(SHARED, the_name=name)
        return None if row is None else str(row[0])

    return work


def setting(connection: Connection, value: str) -> int:
    return connection.execute(SET, the_name="a", new_value=value)


async def test_each_of_many_that_ask_together_gets_its_own_answer(pool: PostgresDatabase) -> None:
    for number in range(0, 30, 2):
        await pool.write(adding(str(number), f"value of {number}"))
    answers = await asyncio.gather(*(pool.read(finding(str(number % 30))) for number in range(90)))
    expected = [f"value of {number % 30}" if number % 2 == 0 else None for number in range(90)]
    assert answers == expected


async def test_few_statements_answer_many_that_ask_together(pool: PostgresDatabase) -> None:
    when = Statement(
        select(cast(func.statement_timestamp(), Text), bindparam("number", type_=BigInteger())),
        is_shared=True,
    )

    def asking(number: int) -> Callable[[Connection], str]:
        def work(connection: Connection) -> str:
            row = connection.fetch_one(when, number=number)
            assert row is not None
            assert row[1] == number
            return str(row[0])

        return work

    sent_at = await asyncio.gather(*(pool.read(asking(number)) for number in range(64)))
    assert len(set(sent_at)) <= 6
    sent_at = await asyncio.gather(*(pool.read(asking(1)) for _ in range(64)))
    assert len(set(sent_at)) <= 2


async def test_a_read_finds_what_was_written_before_it_was_asked(pool: PostgresDatabase) -> None:
    """However many are on their way at that moment."""
    stop = False

    async def crowd() -> None:
        while not stop:
            await pool.read(finding("a"))

    crowds = [asyncio.ensure_future(crowd()) for _ in range(20)]
    await pool.write(adding("a", "0"))
    for number in range(1, 60):
        value = str(number)
        await pool.write(partial(setting, value=value))
        assert await pool.read(finding("a")) == value
    stop = True
    await asyncio.gather(*crowds)


async def test_a_question_that_cannot_be_asked_fails_alone(pool: PostgresDatabase) -> None:
    await pool.write(adding("a", "1"))
    asked = ["a", "b", "a\ud800b", "c", "a"] * 4
    answers = await asyncio.gather(*(pool.read(finding(name)) for name in asked), return_exceptions=True)
    for name, answer in zip(asked, answers, strict=True):
        assert isinstance(answer, Exception) if "\ud800" in name else answer == ("1" if name == "a" else None)


async def test_who_asks_together_survives_the_end_of_the_connection_together(
    pool: PostgresDatabase, administrator: Administrator
) -> None:
    await pool.write(adding("a", "1"))
    for _ in range(20):
        asked = [asyncio.ensure_future(pool.read(finding("a"))) for _ in range(8)]
        asked += [asyncio.ensure_future(pool.read(finding(str(number)))) for number in range(8)]
        await administrator.end_all()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(answer in ("1", None) or isinstance(answer, Unavailable) for answer in answers), answers
    assert await pool.read(finding("a")) == "1"


async def test_a_slow_question_does_not_keep_others_from_asking_the_same(pool: PostgresDatabase) -> None:
    lock, unlock = (
        Statement(select(func.coalesce(func.length(cast(function(7), Text)), 1)))
        for function in (func.pg_advisory_lock, func.pg_advisory_unlock)
    )
    lockers = Statement(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
    number = bindparam("number", type_=BigInteger())
    waiting = Statement(
        select(
            case((number == 1, func.length(cast(func.pg_advisory_xact_lock_shared(7), Text))), else_=number)
        ),
        is_shared=True,
    )

    def asking(number: int) -> Callable[[Connection], int]:
        def work(connection: Connection) -> int:
            return _first(connection.fetch_one(waiting, number=number))

        return work

    async def others() -> list[int]:
        return await asyncio.gather(*(pool.read(asking(number)) for number in range(2, 8)))

    slow: list[asyncio.Future[int]] = []

    def unit(connection: Connection) -> None:
        connection.fetch_one(lock)
        try:
            slow.append(asyncio.ensure_future(pool.read(asking(1))))
            while not _first(connection.fetch_one(lockers)):
                await_only(asyncio.sleep(0))
            assert await_only(others()) == [2, 3, 4, 5, 6, 7]
            assert not slow[0].done()
        finally:
            connection.fetch_one(unlock)

    await pool.write(unit)
    await slow[0]


def _first(row: Row | None) -> int:
    assert row is not None
    return int(row[0])


async def test_a_connection_that_is_given_to_somebody_who_goes_away_is_given_on(
    databases: object, postgres_url: str
) -> None:
    pool = PostgresPool(Connector(postgres_url.replace("+asyncpg", "")), size=1, settings={})
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def hold(raw: RawConnection) -> None:
        assert not raw.is_closed()
        has_begun.set()
        await may_end.wait()

    async def ask(raw: RawConnection) -> object:
        return await raw.fetchval("SELECT 1")

    waiters: list[asyncio.Future[object]] = []

    async def hold_and_cancel() -> None:
        await pool.use(hold)
        waiters[0].cancel()  # in the very moment in which the connection was given to it

    holder = asyncio.ensure_future(hold_and_cancel())
    await has_begun.wait()
    waiters.extend(asyncio.ensure_future(pool.use(ask)) for _ in range(2))
    await asyncio.sleep(0)
    may_end.set()
    await holder
    assert await asyncio.wait_for(waiters[1], 20) == 1
    assert waiters[0].cancelled()
    await pool.close()


async def test_a_connection_that_is_given_back_to_a_closed_pool_is_closed(
    databases: object, postgres_url: str
) -> None:
    pool = PostgresPool(Connector(postgres_url.replace("+asyncpg", "")), size=1, settings={})
    used: list[RawConnection] = []

    async def wait(raw: RawConnection) -> None:
        used.append(raw)

    async def close(raw: RawConnection) -> None:
        used.append(raw)
        waiting.append(asyncio.ensure_future(pool.use(wait)))
        await asyncio.sleep(0)
        await pool.close()
        assert not raw.is_closed()  # it is in use

    waiting: list[asyncio.Future[None]] = []
    await pool.use(close)
    with pytest.raises(Unavailable):
        await waiting[0]
    assert len(used) == 1
    assert used[0].is_closed()


async def test_what_is_not_answered_in_time_is_not_asked_again(databases: object, postgres_url: str) -> None:
    connector = Connector(postgres_url.replace("+asyncpg", ""))
    pool = PostgresPool(connector, size=1, settings={}, command_seconds=0.2)
    runs = 0

    async def ask(raw: RawConnection) -> object:
        nonlocal runs
        runs += 1
        return await raw.fetchval("SELECT pg_sleep(60)")

    with pytest.raises(ConnectionLost):
        await pool.use(ask)
    assert runs == 1
    await pool.close()


# --- a server that hangs ---------------------------------------------------------------------------------------------


def hanging(*connections: RawConnection) -> AbstractContextManager[None]:
    """Let the server's side of some connections stand still."""
    return standing_still(*(connection.get_server_pid() for connection in connections))


async def test_a_pool_whose_server_hangs_is_closed_with_every_connection(
    databases: object, postgres_url: str
) -> None:
    size = 3
    pool = PostgresPool(Connector(postgres_url.replace("+asyncpg", "")), size=size, settings={})
    used: list[RawConnection] = []
    have_met = asyncio.Barrier(size)

    async def meet(raw: RawConnection) -> None:
        used.append(raw)
        await have_met.wait()

    await asyncio.gather(*(pool.use(meet) for _ in range(size)))
    with hanging(*used):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await pool.close()

    assert [raw.is_closed() for raw in used] == [True] * size


async def test_a_database_that_hangs_is_closed_and_whoever_waits_goes_away(
    pool: PostgresDatabase, postgres_url: str, meanwhile: Meanwhile
) -> None:
    is_under_way, hangs = asyncio.Event(), asyncio.Event()
    used: list[RawConnection] = []

    def unit(connection: Connection) -> None:
        adding("a")(connection)
        assert isinstance(connection, PostgresConnection)
        used.append(connection.raw)
        is_under_way.set()
        meanwhile(hangs.wait)
        adding("b")(connection)

    await pool.read(names)
    waiting = asyncio.ensure_future(pool.write(unit))
    await is_under_way.wait()
    with hanging(*used):
        hangs.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await pool.end(patience_seconds=0.1) == 1
            await asyncio.wait({waiting})

    assert waiting.cancelled()
    assert used[0].is_closed()
    other = PostgresDatabase.connect(postgres_url)
    assert await other.read(names) == []
    await other.close()
