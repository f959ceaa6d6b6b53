"""The databases that a server keeps its data in, and the keys that open what is sealed there."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from openecr.adapters.data_folder import DataFolder
from openecr.application.key_ring_proof import check_key_ring, is_claimed, prove_key_ring
from openecr.application.master_keys import MasterKeys, is_kept
from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.clock import Clock
from openecr.ports.keys import ServerKeyRing
from openecr.server.keys import external_keys, open_keys
from openecr.server.stopping import Stopping
from openecr.settings import DatabaseUrl, Settings
from openecr.store import server_state
from openecr.store.database import Database
from openecr.store.migrating import migrate_sqlite
from openecr.store.postgres_migrating import find_weaknesses, prepare_postgresql
from openecr.store.postgresql import PostgresDatabase
from openecr.store.sqlite import SqliteDatabase

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """The database of the metadata, that of the activity (on PostgreSQL they are one), and their keys.

    `master_keys` asks for the keys that an external KMS holds; None: there is none.
    """

    metadata: Database
    activity: Database
    keys: ServerKeyRing
    master_keys: MasterKeys | None


async def open_databases(
    settings: Settings,
    folder: DataFolder,
    stack: AsyncExitStack,
    *,
    clock: Clock,
    on_failure: Callable[[BaseException], None],
    stopping: Stopping | None = None,
) -> Databases:
    """Open what the settings say, its schema up to date; `stack` closes it. Raises CannotStart.

    `stopping` has the time for that, where others need some of it too.
    """
    stopping = stopping or Stopping(settings.shutdown_seconds)
    try:
        if settings.database is None:
            opened = await _open_sqlite(settings, folder, stack, clock=clock, on_failure=on_failure)
            await _refuse_moved(opened.metadata, folder)
        else:
            opened = await _open_postgresql(
                settings, settings.database, folder, stack, clock=clock, stopping=stopping
            )
        await prove_key_ring(opened.metadata, opened.keys)
    except Unavailable as error:
        raise CannotStart(message=f"the database cannot be used: {error.context or error.message}") from error
    return opened


async def _open_sqlite(
    settings: Settings,
    folder: DataFolder,
    stack: AsyncExitStack,
    *,
    clock: Clock,
    on_failure: Callable[[BaseException], None],
) -> Databases:
    keys: ServerKeyRing | None = None
    if folder.is_new and not settings.keys_kms_keys:
        keys = open_keys(settings, folder, may_create=True)
    migrate_sqlite(folder.database, folder.activity)
    metadata = SqliteDatabase(folder.database, on_failure=on_failure)
    stack.push_async_callback(metadata.close)
    if keys is None and not settings.keys_kms_keys:
        # A first start may have ended between the file and the keys: nothing is sealed there yet.
        keys = open_keys(settings, folder, may_create=not await is_claimed(metadata))
    activity = SqliteDatabase(folder.activity, on_failure=on_failure)
    stack.push_async_callback(activity.close)
    return await _with_keys(settings, metadata, activity, keys, clock)


async def _with_keys(
    settings: Settings, metadata: Database, activity: Database, keys: ServerKeyRing | None, clock: Clock
) -> Databases:
    """Open the ring of an external KMS, where the keys are not known yet. Raises CannotStart."""
    if keys is not None:
        if await metadata.read(is_kept):
            raise CannotStart(
                message="the master keys of this database are with an external KMS: give its key (--keys-kms-key)"
            )
        return Databases(metadata=metadata, activity=activity, keys=keys, master_keys=None)
    external = external_keys(settings, metadata, clock)
    if external.older is not None and not await metadata.read(is_kept):
        # A wrong folder is refused before a key is drawn that would follow its keys, and stay.
        await check_key_ring(metadata, external.older)
    may_create = settings.keys_old is not None or not await is_claimed(metadata)
    await external.master_keys.start(may_create=may_create)
    return Databases(
        metadata=metadata, activity=activity, keys=external.ring, master_keys=external.master_keys
    )


async def _refuse_moved(database: Database, folder: DataFolder) -> None:
    """What was moved goes on elsewhere with the same blobs: each would remove what the other needs."""
    place = await database.read(lambda connection: server_state.find(connection, server_state.MOVED_TO))
    if place is not None:
        raise CannotStart(
            message=f"the database of {folder.path} was moved to {place}: start with --database, or give another --data"
        )
    move = await database.read(lambda connection: server_state.find(connection, server_state.MOVING_TO))
    if move is not None:
        raise CannotStart(
            message=f"a move of the database of {folder.path} to {move.partition(' ')[2]} was begun, and nobody knows "
            "whether it arrived: run `openecr database copy` again as then, or with --abandon"
        )


async def _open_postgresql(
    settings: Settings,
    url: DatabaseUrl,
    folder: DataFolder,
    stack: AsyncExitStack,
    *,
    clock: Clock,
    stopping: Stopping,
) -> Databases:
    await prepare_postgresql(url.text, may_migrate=settings.migrate)
    for weakness in await find_weaknesses(url.text):
        _LOG.warning("the database may lose what it acknowledged", setting=weakness)
    database = PostgresDatabase.connect(url.text, connections=settings.database_connections)
    stack.push_async_callback(_close, database, stopping)
    keys: ServerKeyRing | None = None
    if not settings.keys_kms_keys:
        keys = open_keys(settings, folder, may_create=not await is_claimed(database))
    return await _with_keys(settings, database, database, keys, clock)


async def _close(database: PostgresDatabase, stopping: Stopping) -> None:
    cut = await database.end(patience_seconds=stopping.for_units())
    if cut:
        _LOG.warning("the database did not answer: units of work were cut", units=cut)
