"""Bringing a PostgreSQL that other servers may be using to the schema that this version needs.

One server migrates at a time, under an advisory lock, both trees in one transaction: whoever looks sees the schema of
before or of after, and needs no lock for it.
"""

import asyncio
import enum
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from openecr.domain.errors import CannotStart
from openecr.store.migrating import (
    TREES,
    NewerSchema,
    find_revision,
    head_of,
    migrate,
    oldest_compatible,
    revisions,
)
from openecr.store.postgres_connecting import DRIVER_ERRORS, Connector
from openecr.store.server_state import COMPATIBILITY, MOVING_TO

T = TypeVar("T")

ALONE = f"SELECT pg_advisory_xact_lock({0x0EC2_0EC2})"
"""Keeps all others out who migrate, until the transaction ends. No other program should use that number."""

FILLING = f"SELECT pg_advisory_xact_lock({0x0EC2_0EC3})"
"""Keeps those out who would begin to use a database, while rows are copied to it."""

_SETTINGS = {"application_name": "openecr migrate", "jit": "off"}
LOCK_SECONDS = 5
"""How long a migration waits for a table: requests wait behind who waits."""

BLOCKING_SECONDS = 30
"""How long servers may wait for a migration: about as long as a request waits before it is told to come again."""

BLOCKING_SECONDS_MAX = 3600
"""How long they may where the operator has said so."""

_GRACE_SECONDS = 60
"""So much later the server undoes a migration by itself whose process cannot say so any more."""

_LOOK_SECONDS = 30
"""How long a look may take, which waits for nobody who migrates."""

_PATIENT = f"SET LOCAL lock_timeout = '{BLOCKING_SECONDS_MAX + 2 * _GRACE_SECONDS}s'"
"""For another who migrates: as long as that one may take."""

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_FILLED = (_PATIENT, f"SELECT pg_advisory_xact_lock_shared({0x0EC2_0EC3})")


class SchemaState(enum.Enum):
    """How a schema stands to this version."""

    EMPTY = "empty"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"
    """Made by a newer version, which says that this one may still work with it."""


_BEHIND = frozenset({SchemaState.EMPTY, SchemaState.OLDER})


async def prepare_postgresql(url: str, *, may_migrate: bool) -> SchemaState:
    """Make sure that the schema is one that this version can serve on, making that of an empty database.

    Returns how it stood before. Raises CannotStart: unreachable, older where it may not be migrated, or newer and not
    compatible.
    """

    def examine(connection: sqlalchemy.Connection) -> SchemaState:
        state = _examine(connection)
        if state is SchemaState.OLDER and not may_migrate:
            raise CannotStart(
                message="the database has an earlier version's schema: run `openecr migrate` (servers of that version "
                "go on), or start with --migrate"
            )
        return state

    found = await _look(url, examine, first=_FILLED)
    if found not in _BEHIND:
        return found
    return await _run_alone(url, lambda connection: _migrate(connection, examine(connection)))


async def migrate_postgresql(
    url: str, *, lock_seconds: int = LOCK_SECONDS, blocking_seconds: int = BLOCKING_SECONDS
) -> SchemaState:
    """Bring the schema up to date, and return how it stood before.

    Servers wait for what is changed: what takes longer than `blocking_seconds` is undone. Raises CannotStart.
    """
    found = await examine_postgresql(url)
    if found not in _BEHIND:
        return found
    return await _run_alone(
        url,
        lambda connection: _migrate(connection, _examine(connection)),
        lock_seconds=lock_seconds,
        blocking_seconds=blocking_seconds,
    )


async def shuts_out_older(url: str) -> bool:
    """Tell whether servers of the version that made the schema could not start any more after a migration.

    Raises CannotStart.
    """

    def ask(connection: sqlalchemy.Connection) -> bool:
        found = {tree: find_revision(connection, tree) for tree in TREES}
        return any(
            revision is not None and revision in revisions(tree) and revision < oldest_compatible(tree)
            for tree, revision in found.items()
        )

    return await _look(url, ask)


async def examine_postgresql(url: str) -> SchemaState:
    """Tell how the schema stands, changing nothing. Raises CannotStart."""
    return await _look(url, _examine)


async def has_arrived(url: str, move: str) -> bool:
    """Tell whether a move is there, as it stood in the copied file. Waits for one that is under way.

    Raises CannotStart.
    """

    def ask(connection: sqlalchemy.Connection) -> bool:
        if find_revision(connection, TREES[0]) is None:
            return False
        row = connection.exec_driver_sql(
            "SELECT value FROM server_state WHERE name = $1", (MOVING_TO,)
        ).fetchone()
        return row is not None and row[0] == move

    return await _run_alone(url, ask)


async def find_weaknesses(url: str) -> list[str]:
    """Return the server's settings, `name=value`, by which a crash may lose what it has acknowledged.

    Raises CannotStart.
    """

    def ask(connection: sqlalchemy.Connection) -> list[str]:
        rows = connection.exec_driver_sql(
            "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY 1"
        )
        return [f"{row[0]}=off" for row in rows]

    return await _look(url, ask)


def _examine(connection: sqlalchemy.Connection) -> SchemaState:
    """Raises CannotStart for a schema that this version cannot work with."""
    found = {tree: find_revision(connection, tree) for tree in TREES}
    if all(revision is None for revision in found.values()):
        return SchemaState.EMPTY
    states = {_state_of(connection, tree, revision) for tree, revision in found.items()}
    for state in (SchemaState.OLDER, SchemaState.NEWER):
        if state in states:
            return state
    return SchemaState.CURRENT


def _state_of(connection: sqlalchemy.Connection, tree: str, revision: str | None) -> SchemaState:
    if revision == head_of(tree):
        return SchemaState.CURRENT
    if revision is None or revision in revisions(tree):
        return SchemaState.OLDER
    row = connection.exec_driver_sql(
        "SELECT value FROM server_state WHERE name = $1", (_compatible_name(tree),)
    ).fetchone()
    if row is None or row[0] not in revisions(tree):
        raise NewerSchema(revision)
    return SchemaState.NEWER


def _migrate(connection: sqlalchemy.Connection, state: SchemaState) -> SchemaState:
    if state not in _BEHIND:
        return state
    for tree in TREES:
        if find_revision(connection, tree) not in {*revisions(tree), None}:
            continue  # newer, and compatible: this version has nothing to add
        migrate(connection, tree)
        connection.exec_driver_sql(
            "INSERT INTO server_state (name, value) VALUES ($1, $2) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (_compatible_name(tree), oldest_compatible(tree)),
        )
    return state


def _compatible_name(tree: str) -> str:
    """Name where a schema keeps the oldest revision whose version may work with it."""
    return f"{COMPATIBILITY}{tree}"


def _limits(lock_seconds: int, blocking_seconds: int) -> tuple[str, ...]:
    """Return what a session says before it changes anything."""
    return (
        _PATIENT,
        ALONE,
        f"SET LOCAL statement_timeout = '{blocking_seconds + _GRACE_SECONDS}s'",
        f"SET LOCAL idle_in_transaction_session_timeout = '{_GRACE_SECONDS}s'",
        f"SET LOCAL lock_timeout = '{lock_seconds}s'",
    )


async def _look(
    url: str, question: Callable[[sqlalchemy.Connection], T], *, first: tuple[str, ...] = ()
) -> T:
    """Ask something of one snapshot, whoever migrates meanwhile. Raises CannotStart."""
    async with _transaction(url) as connection:
        for statement in (_SNAPSHOT, *first):
            await connection.exec_driver_sql(statement)
        async with asyncio.timeout(_LOOK_SECONDS):
            return await connection.run_sync(question)


async def _run_alone(
    url: str,
    work: Callable[[sqlalchemy.Connection], T],
    *,
    lock_seconds: int = LOCK_SECONDS,
    blocking_seconds: int = BLOCKING_SECONDS,
) -> T:
    """Run something in a transaction, alone among those who migrate. Raises CannotStart."""
    async with _transaction(url) as connection:
        for statement in _limits(lock_seconds, blocking_seconds):
            await connection.exec_driver_sql(statement)
        return await _in_time(connection.run_sync(work), blocking_seconds)


@asynccontextmanager
async def _transaction(url: str) -> AsyncGenerator[AsyncConnection]:
    """Raises CannotStart."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: Connector(url).connect(_SETTINGS),
        poolclass=sqlalchemy.NullPool,
    )
    try:
        async with engine.begin() as connection:
            yield connection
    except (sqlalchemy.exc.DBAPIError, *DRIVER_ERRORS) as error:
        raise CannotStart(message=f"the database cannot be used: {one_line(error)}") from error
    finally:
        await engine.dispose()


async def _in_time(migrating: Coroutine[Any, Any, T], seconds: int) -> T:
    """Raises CannotStart where it takes longer: the transaction is undone."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await migrating
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise CannotStart(
            message=f"the migration was undone after {seconds} seconds, in which servers may have waited for it: run "
            "`openecr migrate` with more --blocking-seconds, when they may wait for so long"
        ) from error


def one_line(error: Exception) -> str:
    """Return what the driver says, on one line."""
    cause: BaseException = error
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        cause = error.orig.__cause__ or error.orig
    if isinstance(cause, TimeoutError):
        return "it does not answer"
    return " ".join(str(cause).split())[:500] or type(cause).__name__
