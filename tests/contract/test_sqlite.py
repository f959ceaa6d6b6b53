"""What only SQLite has to do to keep a database's promises: group commit, and telling how a file fails."""

import asyncio
import re
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Select

from openecr.domain.errors import StorageFull, Unavailable
from openecr.store import access_keys, blobs, image_lists, images, repositories, sealing
from openecr.store.connections import Connection, SqliteConnection
from openecr.store.database import Database, DatabaseFailed, Work
from openecr.store.sqlite import SqliteDatabase, connect
from openecr.store.statements import Statement
from tests.contract.databases import make_sqlite_template
from tests.contract.questions import ADD, LIST, adding, names, value_of


@pytest.fixture
def engine() -> str:
    return "sqlite"


class Gate:
    """A unit of work that holds the writer until it is opened, so that what follows becomes one batch."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.reached.set()
        assert self.opened.wait(timeout=60)


async def held(database: Database) -> tuple[Gate, "asyncio.Task[None]"]:
    """Hold the writer."""
    gate = Gate()
    task = asyncio.create_task(database.write(gate))
    await asyncio.to_thread(gate.reached.wait, 60)
    return gate, task


def raw_of(connection: Connection) -> sqlite3.Connection:
    assert isinstance(connection, SqliteConnection)
    return connection.raw


async def test_units_that_wait_share_one_commit_in_the_order_in_which_they_came(database: Database) -> None:
    gate, task = await held(database)
    order: list[int] = []
    seen: list[list[str]] = []

    def unit(number: int) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            order.append(number)
            connection.execute(ADD, name=f"{number:02}", value="1")
            other = connect(path_of(connection), writes=False)
            seen.append([row[0] for row in other.execute(LIST.sqlite_text)])
            other.close()

        return work

    tasks = [asyncio.create_task(database.write(unit(number))) for number in range(10)]
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(task, *tasks)
    assert order == list(range(10))
    assert seen == [[]] * 10  # nobody else saw anything until all of them were done
    assert len(await database.read(names)) == 10


def path_of(connection: Connection) -> Path:
    return Path(raw_of(connection).execute("PRAGMA database_list").fetchone()[2])


async def test_a_unit_whose_caller_has_gone_is_done_all_the_same(database: Database) -> None:
    gate, task = await held(database)
    gone = asyncio.create_task(database.write(adding("a")))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    gate.opened.set()
    await task
    await database.write(adding("b"))
    assert await database.read(names) == ["a", "b"]


async def test_a_failed_unit_between_others_is_undone_alone_in_their_transaction(database: Database) -> None:
    gate, task = await held(database)

    def broken(connection: Connection) -> None:
        connection.execute(ADD, name="b", value="1")
        raise ZeroDivisionError

    tasks = [asyncio.create_task(database.write(work)) for work in (adding("a"), broken, adding("c"))]
    await asyncio.sleep(0)
    gate.opened.set()
    results = await asyncio.gather(task, *tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), int, ZeroDivisionError, int]
    assert await database.read(names) == ["a", "c"]


async def test_a_full_disk_undoes_the_batch_and_passes(database: Database) -> None:
    def fill(connection: Connection) -> None:
        raw = raw_of(connection)
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count={pages}")

    await database.write(fill)
    gate, task = await held(database)
    tasks = [
        asyncio.create_task(database.write(work))
        for work in (adding("a"), adding("b", "x" * 100_000), adding("c"))
    ]
    await asyncio.sleep(0)
    gate.opened.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [StorageFull] * 3
    await task
    assert await database.read(names) == []

    def make_room(connection: Connection) -> None:
        raw_of(connection).execute("PRAGMA max_page_count=1000000")

    await database.write(make_room)
    assert await database.write(adding("b", "x" * 100_000)) == 1


async def test_a_lock_that_another_program_holds_is_told_and_passes(tmp_path: Path) -> None:
    make_sqlite_template(tmp_path)
    path = tmp_path / "metadata.sqlite"
    failures: list[BaseException] = []
    database = SqliteDatabase(path, on_failure=failures.append)
    database._writer_raw.execute("PRAGMA busy_timeout=1")
    other = connect(path, writes=True)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="busy"):
        await database.write(adding("a"))
    other.execute("ROLLBACK")
    other.close()
    assert await database.write(adding("a")) == 1
    await database.close()
    assert failures == []


async def test_no_other_process_can_open_the_file_of_a_running_server(tmp_path: Path) -> None:
    make_sqlite_template(tmp_path)
    path = tmp_path / "metadata.sqlite"
    database = SqliteDatabase(path, on_failure=_no_failure)
    assert await database.write(adding("a")) == 1
    ask = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM server_state')"
    command = [sys.executable, "-c", ask, str(path)]
    during = await anyio.run_process(command, check=False)
    await database.close()
    after = await anyio.run_process(command, check=False)
    assert b"database is locked" in during.stderr
    assert after.returncode == 0


def _no_failure(error: BaseException) -> None:
    raise error


async def test_a_damaged_file_is_told_to_all_of_the_batch_and_stops_the_database(tmp_path: Path) -> None:
    make_sqlite_template(tmp_path)
    path = tmp_path / "metadata.sqlite"
    raw = connect(path, writes=True)
    size = raw.execute("PRAGMA page_size").fetchone()[0]
    page = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'server_state'").fetchone()[0]
    raw.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : page * size] = b"\xee" * size
    path.write_bytes(content)

    failures: list[BaseException] = []
    database = SqliteDatabase(path, on_failure=failures.append)
    gate, task = await held(database)

    def harmless(connection: Connection) -> None:
        raw_of(connection).execute("SELECT 1").fetchall()

    tasks = [asyncio.create_task(database.write(work)) for work in (harmless, adding("a"), harmless)]
    await asyncio.sleep(0)
    gate.opened.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseFailed] * 3
    await task
    assert len(failures) == 1
    for verb in (database.read, database.scan, database.write):
        with pytest.raises(DatabaseFailed):
            await verb(harmless)
    assert len(failures) == 1
    await database.close()


async def test_a_reader_cannot_write(database: Database) -> None:
    for verb in (database.read, database.scan):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await verb(adding("a"))


async def test_reads_see_what_was_committed_before_them(database: Database) -> None:
    for number in range(20):
        await database.write(adding(str(number)))
        assert await database.read(value_of(str(number))) == "1"


async def test_every_connection_is_durable_and_heeds_foreign_keys(database: Database) -> None:
    def settings(connection: Connection) -> tuple[object, ...]:
        raw = raw_of(connection)
        return tuple(
            raw.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        )

    for verb in (database.read, database.scan, database.write):
        assert await verb(settings) == ("wal", 2, 1)


HOT = {
    name: statement
    for module in (images, image_lists)
    for name, statement in vars(module).items()
    if isinstance(statement, Statement) and isinstance(statement.element, Select)
} | {
    "FIND_LIVE": repositories.FIND_LIVE,
    "FIND_HELD": blobs.FIND_HELD,
    "LIST_HELD": blobs.LIST_HELD,
    "FIND_ACTIVE_OWNER": access_keys.FIND_ACTIVE_OWNER,
}


def plan_of(statement: Statement) -> Work[list[str]]:
    sql = statement.sqlite_text
    parameters = dict.fromkeys(re.findall(r":(\w+)", sql), "[]")

    def explain(connection: Connection) -> list[str]:
        return [row[3] for row in raw_of(connection).execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]

    return explain


@pytest.mark.parametrize("name", HOT)
async def test_what_requests_ask_is_found_through_indexes(database: Database, name: str) -> None:
    plan = await database.read(plan_of(HOT[name]))
    assert plan
    scans = [step for step in plan if step.startswith("SCAN") and not step.startswith("SCAN json_each")]
    assert scans == []


async def test_the_next_blob_in_clear_is_found_among_any_number_of_sealed_ones(database: Database) -> None:
    (step,) = await database.read(plan_of(sealing.FIND_CLEAR))
    assert "ix_blobs_clear" in step
