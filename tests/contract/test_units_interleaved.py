"""Collection and its like inside each other's units of work on PostgreSQL, statement by statement, with no grace.

On SQLite units never overlap. Here SERIALIZABLE and foreign keys that restrict decide, and both are needed.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from openecr.application.images import PutImage, PutRules
from openecr.domain.blobs import StoredBlob
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    ImageReferencedByManifestList,
    ImageTagAlreadyExists,
    InvalidLayerPart,
    LayerInUse,
    LayerNotFound,
    LayersNotFound,
    ReferencedImagesNotFound,
    RepositoryNotFound,
    UploadNotFound,
)
from openecr.domain.images import ImageId
from openecr.domain.repositories import RepositorySettings
from tests.contract.databases import Databases
from tests.contract.galleries import IMMUTABLE, grant_for, image_of, index_of
from tests.contract.interleavings import DatabaseInSteps, Interleavings
from tests.contract.shelves import NO_GRACE, Shelf, chunks_of, digests_of
from tests.contract.turns import errors_of


class Meeting(Shelf):
    """A shelf with a new repository in each run."""

    def __init__(self, databases: Databases, folder: Path, runs: Interleavings) -> None:
        super().__init__(databases, folder, database=DatabaseInSteps(databases.metadata), limits=NO_GRACE)
        self.runs = runs

    def name(self, what: str) -> str:
        """Name this run's thing."""
        return f"{what}-{self.runs.count}"

    async def begin(self) -> None:
        """Make this run's repository."""
        await self.open(self.name("app"))

    async def take(self) -> None:
        """Collect blobs and remove their bytes at once."""
        await self.collection.run(self.collection.drop_links)
        await self.collection.run(self.collection.remove_doomed)

    async def is_whole(self, name: str) -> bool:
        """Tell whether the repository gives exactly this content, whatever collection does."""
        await self.take()
        blob = await self.blobs.find(self.grant, Digest.of(name.encode()))
        return blob is not None and await self.read(blob) == name.encode()

    async def put_as(self, content: bytes, *tags: str) -> PutImage:
        """Push a manifest."""
        return await self.images.put(self.grant, content, media_type=None, tags=tags, rules=PutRules.REGISTRY)


@pytest.fixture
def engine() -> str:
    return "postgresql"


@pytest.fixture
async def meeting(databases: Databases, postgres_url: str, tmp_path: Path) -> AsyncIterator[Meeting]:
    observer = create_async_engine(postgres_url, isolation_level="AUTOCOMMIT")
    meeting = Meeting(databases, tmp_path, Interleavings(observer))
    yield meeting
    assert meeting.runs.count > 4
    await meeting.check()
    await meeting.files.close()
    await observer.dispose()


async def test_a_layer_is_kept_by_an_image_or_taken_and_told(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        layer = meeting.name("layer")
        await meeting.push(layer.encode())

        async def push(layer: str = layer) -> PutImage:
            return await meeting.put(layer, layer)

        taken, pushed = await run(meeting.collection.drop_links, push)

        assert taken is False
        if not errors_of([pushed], LayersNotFound):
            assert await meeting.is_whole(layer)


async def test_content_that_is_being_claimed_is_stored_again_elsewhere(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        content = meeting.name("content").encode()
        await meeting.push(content, grant=await meeting.create(meeting.name("other")))
        upload = await meeting.uploads.start(meeting.grant)
        await meeting.uploads.append(meeting.grant, upload.id, chunks_of(content))

        async def finish(upload_id: str = upload.id, content: bytes = content) -> StoredBlob:
            return await meeting.uploads.finish(meeting.grant, upload_id, digests_of(content))

        taken, finished = await run(meeting.collection.drop_links, finish)

        assert taken is False
        assert isinstance(finished, StoredBlob), finished
        await meeting.check()


async def test_a_blob_is_mounted_whole_or_not_at_all(meeting: Meeting) -> None:
    await meeting.settings.put(grant_for("app"), "BLOB_MOUNTING", "ENABLED")
    async for run in meeting.runs:
        await meeting.begin()
        source = await meeting.create(meeting.name("source"))
        layer = meeting.name("layer")
        await meeting.push(layer.encode(), grant=source)

        async def mount(source: Grant = source, layer: str = layer) -> bool:
            if await meeting.blobs.mount(meeting.grant, [source], Digest.of(layer.encode())) is None:
                return False
            await meeting.put(layer, layer)
            return True

        taken, mounted = await run(meeting.collection.drop_links, mount)

        assert taken is False
        if not errors_of([mounted], LayersNotFound) and mounted:
            assert await meeting.is_whole(layer)
        await meeting.check()


async def test_a_layer_is_taken_out_or_in_use(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        layer = meeting.name("layer")
        await meeting.push(layer.encode())

        async def take_out(layer: str = layer) -> None:
            await meeting.blobs.unlink(meeting.grant, Digest.of(layer.encode()))

        async def push(layer: str = layer) -> PutImage:
            return await meeting.put(layer, layer)

        taken_out, pushed = await run(take_out, push)

        assert (taken_out is None) is bool(errors_of([pushed], LayersNotFound))
        errors_of([taken_out], LayerInUse, LayerNotFound)
        if taken_out is not None:
            assert await meeting.is_whole(layer)


async def test_a_tag_that_is_pushed_keeps_an_image_whose_last_tag_is_deleted(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        name = meeting.name("image")
        content = image_of(name, [name])
        await meeting.push(name.encode())
        await meeting.put_as(content, "old")

        async def delete() -> object:
            return await meeting.images.batch_delete(meeting.grant, [ImageId(tag="old")])

        async def push(content: bytes = content) -> PutImage:
            return await meeting.put_as(content, "new")

        deleted, pushed = await run(delete, push)

        errors_of([deleted])
        assert isinstance(pushed, PutImage), pushed
        found = await meeting.images.find_manifest(meeting.grant, "new")
        assert found is not None
        assert found.content == content
        assert await meeting.is_whole(name)


async def test_an_image_that_is_deleted_beside_its_own_push_is_there_whole_or_gone(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        name = meeting.name("image")
        await meeting.push(name.encode())
        image = (await meeting.put(name, name)).image

        async def delete(digest: Digest = image.digest) -> None:
            await meeting.images.delete_manifest(meeting.grant, digest)

        async def push(name: str = name) -> PutImage:
            return await meeting.put_as(image_of(name, [name]), "again")

        deleted, pushed = await run(delete, push)

        assert not errors_of([deleted, pushed])
        if await meeting.images.find_manifest(meeting.grant, "again") is not None:
            assert await meeting.is_whole(name)
        else:
            assert await meeting.images.find_manifest(meeting.grant, image.digest) is None
        await meeting.check()


async def test_a_child_is_kept_by_an_index_or_missed_by_it(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        name = meeting.name("child")
        await meeting.push(name.encode())
        child = (await meeting.put(name, name)).image

        async def delete(digest: Digest = child.digest) -> None:
            await meeting.images.delete_manifest(meeting.grant, digest)

        async def push(digest: Digest = child.digest) -> PutImage:
            return await meeting.put_as(index_of(str(digest)), "index")

        deleted, pushed = await run(delete, push)

        is_missed = bool(errors_of([pushed], ReferencedImagesNotFound))
        assert is_missed is not bool(errors_of([deleted], ImageReferencedByManifestList))
        assert is_missed is (await meeting.images.find_manifest(meeting.grant, child.digest) is None)
        if not is_missed:
            assert await meeting.is_whole(name)


async def test_an_immutable_tag_is_taken_once(meeting: Meeting) -> None:
    async for run in meeting.runs:
        meeting.grant = await meeting.create(
            meeting.name("app"), RepositorySettings(tag_mutability=IMMUTABLE)
        )
        for each in ("one", "other"):
            await meeting.push(each.encode())

        async def push(name: str) -> PutImage:
            return await meeting.put_as(image_of(name, [name]), "v1")

        ended = await run(lambda: push("one"), lambda: push("other"))

        assert len(errors_of(ended, ImageTagAlreadyExists, LayersNotFound)) == 1, ended
        (pushed,) = (each for each in ended if isinstance(each, PutImage))
        found = await meeting.images.find_manifest(meeting.grant, "v1")
        assert found == pushed.manifest


async def test_a_push_into_a_repository_that_is_deleted_goes_with_it(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        name = meeting.name("image")
        await meeting.push(name.encode())

        async def delete() -> None:
            await meeting.repositories.delete(meeting.grant, force=True)

        async def push(name: str = name) -> PutImage:
            return await meeting.put_as(image_of(name, [name]), "v1")

        deleted, pushed = await run(delete, push)

        assert deleted is None, deleted
        errors_of([pushed], RepositoryNotFound)
    await meeting.check_settled()


async def test_an_upload_expires_or_goes_on(meeting: Meeting) -> None:
    async for run in meeting.runs:
        await meeting.begin()
        content = meeting.name("content").encode()
        upload = await meeting.uploads.start(meeting.grant)
        await meeting.uploads.append(meeting.grant, upload.id, chunks_of(content))
        meeting.clock.move(seconds=NO_GRACE.upload_idle_seconds)

        async def go_on(upload_id: str = upload.id) -> object:
            return await meeting.uploads.append(meeting.grant, upload_id, chunks_of(b"more"))

        expired, appended = await run(meeting.collection.expire_uploads, go_on)

        errors_of([expired])
        if not errors_of([appended], UploadNotFound, InvalidLayerPart):
            await meeting.uploads.finish(meeting.grant, upload.id, digests_of(content + b"more"))
        await meeting.check()
