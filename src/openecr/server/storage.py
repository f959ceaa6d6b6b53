"""What a server keeps its data in: databases and the blob store, as the settings say."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.data_folder import DataFolder
from openecr.ports.blobs import BlobStore
from openecr.settings import Settings
from openecr.store.database import Database
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase


def open_databases(
    folder: DataFolder, stack: AsyncExitStack, *, on_failure: Callable[[BaseException], None]
) -> tuple[Database, Database]:
    """Open the database of the metadata and that of the activity; `stack` closes them. Raises CannotStart."""
    migrate_sqlite(folder.database, folder.activity)
    metadata = SqliteDatabase(folder.database, on_failure=on_failure)
    stack.push_async_callback(metadata.close)
    activity = SqliteDatabase(folder.activity, on_failure=on_failure)
    stack.push_async_callback(activity.close)
    return metadata, activity


def open_blob_store(settings: Settings, folder: DataFolder, stack: AsyncExitStack) -> BlobStore:
    """Open the store of the blobs; `stack` closes it."""
    store = FileBlobStore(
        folder.blobs,
        min_free_bytes=settings.storage_min_free_bytes,
        min_free_ratio=settings.storage_min_free_ratio,
    )
    stack.push_async_callback(store.close)
    return store
