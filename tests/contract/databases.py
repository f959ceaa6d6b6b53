"""Migrated databases on both engines, for fixtures.

SQLite is a file for each test. PostgreSQL is one server for each process of pytest, on a Unix socket in a temporary
folder, its tables emptied for each test; where the programs are missing, its tests are skipped.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from openecr.store.database import Database
from openecr.store.migrating import TREES, migrate, migrate_sqlite
from openecr.store.postgresql import PostgresDatabase
from openecr.store.schema import SCHEMAS
from openecr.store.sqlite import SqliteDatabase
from tests.requirements import require_tool

ENGINES = ("sqlite", "postgresql")

_FIRST_WITH_ICU = 15
_SERVER_OPTIONS = (
    "-c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off "
    "-c shared_buffers=32MB -c max_connections=60 -c lc_messages=C -c deadlock_timeout=20ms"
)


@dataclass(kw_only=True)
class Databases:
    """What a server opens: metadata and activity. On PostgreSQL they are one."""

    metadata: Database
    activity: Database
    failures: list[BaseException] = field(default_factory=list)


# --- SQLite ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def sqlite_databases(folder: Path, template: Path | None = None) -> AsyncIterator[Databases]:
    """Open new files in a folder, copied from those of `template`; whoever broke a database hears of it."""
    metadata, activity = folder / "metadata.sqlite", folder / "activity.sqlite"
    if template is None:
        migrate_sqlite(metadata, activity)
    else:
        shutil.copy(template / metadata.name, metadata)
        shutil.copy(template / activity.name, activity)
    failures: list[BaseException] = []
    first = SqliteDatabase(metadata, on_failure=failures.append)
    second = SqliteDatabase(activity, on_failure=failures.append)
    try:
        yield Databases(metadata=first, activity=second, failures=failures)
    finally:
        await first.close()
        await second.close()
    assert failures == []


def make_sqlite_template(folder: Path) -> Path:
    """Migrate two files once; copying them is quicker than migrating for each test."""
    migrate_sqlite(folder / "metadata.sqlite", folder / "activity.sqlite")
    return folder


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PostgresServer:
    """A running server of our own."""

    socket_folder: Path
    version: int

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql+asyncpg://openecr@/{database}?host={self.socket_folder}"

    def dsn(self, database: str) -> str:
        """Return what an operator gives as `--database`."""
        return f"postgresql://openecr@/{database}?host={self.socket_folder}"

    def create(self, database: str) -> None:
        """Make an empty database that sorts as people do, where the server can, which must make no difference."""
        locale = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'" if self.version >= _FIRST_WITH_ICU else ""
        asyncio.run(
            self._administer(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' {locale}")
        )

    def clone(self, template: str, database: str) -> None:
        """Make a database like another one that nobody is connected to."""
        asyncio.run(self._administer(f"CREATE DATABASE {database} TEMPLATE {template}"))

    def drop(self, database: str) -> None:
        """Remove a database and whoever is still connected."""
        asyncio.run(self._administer(f"DROP DATABASE {database} WITH (FORCE)"))

    async def _administer(self, statement: str) -> None:
        engine = create_async_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.exec_driver_sql(statement)
        await engine.dispose()


class Cluster:
    """The programs of a server, and the folder that they work in: data, socket, log."""

    def __init__(self, folder: Path) -> None:
        """Skips where PostgreSQL is not installed."""
        self.folder = folder
        self.data = folder / "data"
        self._user = _unprivileged_user()
        if self._user is not None:
            shutil.chown(folder, self._user)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs."""
        subprocess.run(
            [require_tool(program, package="postgresql"), *arguments],
            check=True,
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            user=self._user,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )

    def make(self) -> None:
        """Make an empty one."""
        self.run("initdb", "-D", str(self.data), "-U", "openecr", "-A", "trust", "-E", "UTF8", "--no-sync")

    def copy(self, of: Path) -> None:
        """Make one that follows the server whose socket is in that folder, and takes no changes."""
        self.run(
            "pg_basebackup", "-h", str(of), "-U", "openecr", "-D", str(self.data), "-R", "-c", "fast", "-N"
        )

    def keep(self, name: str, content: bytes) -> None:
        """Put a private file beside the data."""
        path = self.data / name
        path.write_bytes(content)
        path.chmod(0o600)
        if self._user is not None:
            shutil.chown(path, self._user)

    def start(self, options: str = "") -> PostgresServer:
        """Start it."""
        options = f"-k {self.folder} {_SERVER_OPTIONS} {options}"
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-o", options, "start")
        version = int((self.data / "PG_VERSION").read_text().split(".")[0])
        return PostgresServer(socket_folder=self.folder, version=version)

    def promote(self) -> None:
        """Let it take changes."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "promote")

    def stop(self) -> None:
        """Stop it, if it runs, as a kill would."""
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Give a folder for a server, and stop the server that was started there."""
    # Not below pytest's folder: the path of a Unix socket holds about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="openecr-pg-") as text:
        found = Cluster(Path(text))
        try:
            yield found
        finally:
            found.stop()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server on a Unix socket, and stop it. Skips where PostgreSQL is not installed."""
    with cluster() as found:
        found.make()
        yield found.start()


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    return "nobody"


async def migrate_postgresql(url: str) -> None:
    """Bring both trees of a database up to date."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for tree in TREES:
            await connection.run_sync(migrate, tree)
    await engine.dispose()


async def _empty(url: str) -> None:
    """Remove every row; ids start again."""
    tables = ", ".join(sorted(table for schema in SCHEMAS.values() for table in schema.tables))
    engine = create_async_engine(url, poolclass=sqlalchemy.NullPool)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")
    await engine.dispose()


@asynccontextmanager
async def postgres_databases(url: str) -> AsyncIterator[Databases]:
    """Open a migrated database, emptied."""
    await _empty(url)
    database = PostgresDatabase.connect(url)
    try:
        yield Databases(metadata=database, activity=database)
    finally:
        await database.close()
