"""Moving an embedded server's database to PostgreSQL, while no server runs.

Two databases over the same blobs would each remove what the other needs. So the folder's own is closed before the first
row is copied, and opened again only where it is certain that none arrived.
"""

import asyncio
from typing import TypeVar

from openecr.adapters.data_folder import DataFolder
from openecr.adapters.ids import SystemIds
from openecr.domain.errors import CannotStart
from openecr.settings import Settings
from openecr.store import server_state
from openecr.store.connections import Connection
from openecr.store.copying import Copied, copy_to_postgresql
from openecr.store.database import Work
from openecr.store.migrating import migrate_sqlite
from openecr.store.postgres_migrating import has_arrived
from openecr.store.server_state import MOVED_TO, MOVING_TO
from openecr.store.sqlite import SqliteDatabase

T = TypeVar("T")


def move(settings: Settings, *, is_trial: bool) -> Copied | None:
    """Copy, and close the folder's own database unless this is a trial. Raises OperatorError.

    Returns None where an earlier move had arrived, and only remained to be noted.
    """
    with _acquire(settings) as folder:
        return asyncio.run(_try(settings, folder) if is_trial else _move(settings, folder))


def abandon(settings: Settings) -> None:
    """Let the folder's own database be used again. Raises CannotStart where it is not certain that no move arrived."""
    with _acquire(settings) as folder:
        asyncio.run(_abandon(settings, folder))


def _acquire(settings: Settings) -> DataFolder:
    if not (settings.data / "metadata.sqlite").exists():
        raise CannotStart(message=f"no server was ever started on {settings.data}: there is nothing to copy")
    return DataFolder.acquire(settings.data)


async def _try(settings: Settings, folder: DataFolder) -> Copied:
    migrate_sqlite(folder.database, folder.activity)
    await _refuse_moved(folder)
    return await _copy(settings, folder)


async def _move(settings: Settings, folder: DataFolder) -> Copied | None:
    url, place = _url(settings), str(settings.database)
    migrate_sqlite(folder.database, folder.activity)
    await _refuse_moved(folder)
    begun = await _run(folder, lambda connection: server_state.find(connection, MOVING_TO))
    _check_place(begun, place)
    this = begun or f"{SystemIds().uuid()} {place}"
    if begun is not None and await has_arrived(url, this):
        await _run(folder, lambda connection: _close(connection, place))
        return None
    await _run(folder, lambda connection: server_state.put(connection, MOVING_TO, this))
    try:
        copied = await _copy(settings, folder)
    except CannotStart as error:
        await _reopen(folder, url, this, error)
        raise
    await _run(folder, lambda connection: _close(connection, place))
    return copied


async def _refuse_moved(folder: DataFolder) -> None:
    """What was moved goes on elsewhere: these rows are old, and a second copy of them would collect what is new."""
    place = await _run(folder, lambda connection: server_state.find(connection, MOVED_TO))
    if place is not None:
        raise CannotStart(message=f"the database of {folder.path} was moved to {place} already")


def _check_place(begun: str | None, place: str) -> None:
    """Whether a move has arrived is asked of the very database that it went to."""
    if begun is not None and begun.partition(" ")[2] != place:
        there = begun.partition(" ")[2]
        raise CannotStart(
            message=f"a move to {there} was begun: end it first, or give it up with --to {there} --abandon"
        )


async def _reopen(folder: DataFolder, url: str, move: str, error: CannotStart) -> None:
    """Open the folder's own database again after a failure, where nothing arrived."""
    try:
        arrived = await has_arrived(url, move)
    except CannotStart:
        arrived = True  # perhaps: the connection may have been lost in the commit
    if arrived:
        raise CannotStart(
            message=f"{error.message}; whether the rows arrived is not known: run this again, or with --abandon"
        ) from error
    await _run(folder, lambda connection: server_state.remove(connection, MOVING_TO))


async def _abandon(settings: Settings, folder: DataFolder) -> None:
    begun = await _run(folder, lambda connection: server_state.find(connection, MOVING_TO))
    if begun is None:
        raise CannotStart(message=f"no move of {folder.path} is under way")
    _check_place(begun, str(settings.database))
    if await has_arrived(_url(settings), begun):
        raise CannotStart(
            message="the rows have arrived: run this again without --abandon, or drop that database"
        )
    await _run(folder, lambda connection: server_state.remove(connection, MOVING_TO))


async def _copy(settings: Settings, folder: DataFolder) -> Copied:
    return await copy_to_postgresql(folder.database, folder.activity, _url(settings))


def _url(settings: Settings) -> str:
    assert settings.database is not None
    return settings.database.text


def _close(connection: Connection, place: str) -> None:
    server_state.put(connection, MOVED_TO, place)
    server_state.remove(connection, MOVING_TO)


async def _run(folder: DataFolder, work: Work[T]) -> T:
    failures: list[BaseException] = []
    database = SqliteDatabase(folder.database, on_failure=failures.append)
    try:
        return await database.write(work)
    finally:
        await database.close()
