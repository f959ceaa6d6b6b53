"""Every blob store keeps the port's promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openecr.adapters.blobs.files import FileBlobStore
from openecr.ports.blobs import BlobStore
from openecr.testing.faults import FaultyBlobStore
from tests.contract.blob_store import BlobStoreContract, FreshLocation


@pytest.fixture
def fresh_location() -> FreshLocation:
    return FreshLocation()


class TestFiles(BlobStoreContract):
    """A folder of files."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
        yield store
        await store.close()


class TestFaultless(BlobStoreContract):
    """The store that can be made to fail, as long as it is not."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
        yield FaultyBlobStore(store)
        await store.close()
