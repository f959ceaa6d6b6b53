"""Every blob store keeps the port's promises."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.blobs.moving import MovingBlobStore
from openecr.adapters.blobs.s3 import S3BlobStore
from openecr.ports.blobs import BlobStore
from openecr.testing.faults import FaultyBlobStore
from tests.contract.blob_store import BlobStoreContract, FreshLocation
from tests.s3_servers import S3Server, swift_server, versity_server


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


@pytest.fixture(scope="module")
def swift() -> Iterator[S3Server]:
    with swift_server() as server:
        yield server


class TestSwift(BlobStoreContract):
    """A bucket of OpenStack Swift."""

    @pytest.fixture
    async def store(self, swift: S3Server) -> AsyncIterator[BlobStore]:
        store = S3BlobStore(swift.options(swift.make_bucket(), prefix="blobs/"))
        yield store
        await store.close()


@pytest.fixture(scope="module")
def versity() -> Iterator[S3Server]:
    with versity_server() as server:
        yield server


class TestVersity(BlobStoreContract):
    """A bucket of Versity's gateway."""

    @pytest.fixture
    async def store(self, versity: S3Server) -> AsyncIterator[BlobStore]:
        store = S3BlobStore(versity.options(versity.make_bucket()))
        yield store
        await store.close()


class TestFaultless(BlobStoreContract):
    """The store that can be made to fail, as long as it is not."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
        yield FaultyBlobStore(store)
        await store.close()


class TestMoving(BlobStoreContract):
    """A store whose blobs are being moved, with nothing in the old one."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[BlobStore]:
        new, old = (
            FileBlobStore(tmp_path / name, min_free_bytes=0, min_free_ratio=0) for name in ("new", "old")
        )
        yield MovingBlobStore(new, old)
        await new.close()
        await old.close()
