"""Moving an embedded server's database to PostgreSQL, while no server runs."""

import asyncio

from openecr.adapters.data_folder import DataFolder
from openecr.domain.errors import CannotStart
from openecr.settings import Settings
from openecr.store import server_state
from openecr.store.copying import Copied, copy_to_postgresql
from openecr.store.sqlite import SqliteDatabase


def move(settings: Settings, *, is_trial: bool) -> Copied:
    """Copy, and close the folder's own database unless this is a trial. Raises OperatorError."""
    assert settings.database is not None
    if not (settings.data / "metadata.sqlite").exists():
        raise CannotStart(message=f"no server was ever started on {settings.data}: there is nothing to copy")
    with DataFolder.acquire(settings.data) as folder:
        copied = asyncio.run(copy_to_postgresql(folder.database, folder.activity, settings.database.text))
        if not is_trial:
            asyncio.run(_close(folder, str(settings.database)))
        return copied


async def _close(folder: DataFolder, place: str) -> None:
    failures: list[BaseException] = []
    database = SqliteDatabase(folder.database, on_failure=failures.append)
    try:
        await database.write(lambda connection: server_state.put(connection, server_state.MOVED_TO, place))
    finally:
        await database.close()
