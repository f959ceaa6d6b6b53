"""Every contract runs on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from sqlalchemy.util import await_only

from openecr.store.database import Database
from tests.contract.databases import (
    ENGINES,
    Databases,
    PostgresServer,
    make_sqlite_template,
    migrate_postgresql,
    postgres_databases,
    postgres_server,
    sqlite_databases,
)
from tests.contract.questions import Meanwhile

_DATABASE = "openecr"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of migrated files."""
    return make_sqlite_template(tmp_path_factory.mktemp("sqlite-template"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server of this process's own."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """A migrated database."""
    postgres.create(_DATABASE)
    url = postgres.url(_DATABASE)
    asyncio.run(migrate_postgresql(url))
    return url


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of the engine under test."""
    return str(request.param)


@pytest.fixture
def closed_databases(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AbstractAsyncContextManager[Databases]:
    """Empty databases that nobody has opened. Not asynchronous: PostgreSQL is started on a loop of its own."""
    if engine == "sqlite":
        return sqlite_databases(tmp_path, request.getfixturevalue("sqlite_template"))
    return postgres_databases(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def databases(
    closed_databases: AbstractAsyncContextManager[Databases],
) -> AsyncIterator[Databases]:
    """Empty databases."""
    async with closed_databases as found:
        yield found


@pytest.fixture
def database(databases: Databases) -> Database:
    """The metadata database."""
    return databases.metadata


@pytest.fixture
def activity(databases: Databases) -> Database:
    """The database of what is noted beside."""
    return databases.activity


@pytest.fixture
async def meanwhile(engine: str) -> Meanwhile:
    """SQLite's scans run in a thread beside the loop, PostgreSQL's in a greenlet on it."""
    loop = asyncio.get_running_loop()

    async def awaited(something: Callable[[], Awaitable[object]]) -> None:
        await something()

    def from_thread(something: Callable[[], Awaitable[object]]) -> None:
        asyncio.run_coroutine_threadsafe(awaited(something), loop).result(timeout=60)

    def from_greenlet(something: Callable[[], Awaitable[object]]) -> None:
        await_only(awaited(something))

    return {"sqlite": from_thread, "postgresql": from_greenlet}[engine]
