"""What a server keeps its blobs in, as the settings say."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.blobs.moving import MovingBlobStore
from openecr.adapters.blobs.s3 import S3BlobStore, S3Options
from openecr.adapters.data_folder import DataFolder
from openecr.application.limits import Limits
from openecr.application.store_identity import PlacedStore
from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.blobs import MarkedBlobStore, OpenBlobStore
from openecr.server.stopping import Stopping
from openecr.settings import S3Place, Settings


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """The store of the blobs, and the stores that it is made of: one, or two while blobs move."""

    store: OpenBlobStore
    placed: tuple[PlacedStore, ...]


async def open_blob_store(
    settings: Settings, folder: DataFolder, limits: Limits, stack: AsyncExitStack, stopping: Stopping
) -> OpenedStore:
    """Open the store of the blobs, and the one that they come from; `stack` closes them. Raises CannotStart."""
    place = settings.blobs or folder.blobs
    store = await open_place(settings, place, limits, stack, stopping)
    placed = PlacedStore(str(place), store)
    if settings.blobs_old is None:
        return OpenedStore(store, (placed,))
    old = await open_place(settings, settings.blobs_old, limits, stack, stopping)
    return OpenedStore(MovingBlobStore(store, old), (placed, PlacedStore(str(settings.blobs_old), old)))


async def open_place(
    settings: Settings, place: Path | S3Place, limits: Limits, stack: AsyncExitStack, stopping: Stopping
) -> MarkedBlobStore:
    """Open one store; `stack` closes it. Raises CannotStart."""
    if isinstance(place, S3Place):
        return await _open_s3(settings, place, limits, stack, stopping)
    try:
        store = FileBlobStore(
            place,
            min_free_bytes=settings.storage_min_free_bytes,
            min_free_ratio=settings.storage_min_free_ratio,
        )
    except OSError as error:
        raise CannotStart(message=f"cannot use {place}: {error.strerror or error}") from error
    stack.push_async_callback(store.close)
    return store


async def _open_s3(
    settings: Settings, place: S3Place, limits: Limits, stack: AsyncExitStack, stopping: Stopping
) -> S3BlobStore:
    """Open a bucket, and see that it may be written, read and removed from. Raises CannotStart."""
    options = S3Options(
        bucket=place.bucket,
        prefix=place.prefix,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        is_path_style=settings.s3_path_style,
        ca_file=settings.s3_ca_file,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        encryption=settings.s3_server_side_encryption,
        kms_key_id=settings.s3_kms_key_id,
    )
    if settings.s3_redirect and settings.s3_redirect_seconds >= limits.doomed_seconds:
        raise CannotStart(
            message=f"URLs of blobs would outlive the blobs: s3.redirect_seconds is {settings.s3_redirect_seconds}, "
            f"and limits.doomed_seconds, which must be more, {limits.doomed_seconds}"
        )
    if settings.s3_ca_file is not None and not settings.s3_ca_file.is_file():
        raise CannotStart(message=f"cannot read {settings.s3_ca_file} (s3.ca_file)")
    try:
        store = S3BlobStore(
            options, redirect_seconds=settings.s3_redirect_seconds if settings.s3_redirect else None
        )
    except ValueError as error:
        raise CannotStart(message=f"cannot use {place}: {error}") from error
    stack.push_async_callback(_close_s3, store, stopping)
    try:
        await store.prove()
    except Unavailable as error:
        raise CannotStart(message=f"cannot use {place}: {error.context or error.message}") from error
    return store


async def _close_s3(store: S3BlobStore, stopping: Stopping) -> None:
    await store.close(patience_seconds=stopping.for_store())
