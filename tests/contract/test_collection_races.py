"""Collection beside everything that may need what it takes, in every order of their calls, with no grace at all."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from openecr.application.limits import Limits
from openecr.domain.blobs import StoredBlob
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    InvalidLayerPart,
    LayersNotFound,
    RepositoryNotFound,
    Unavailable,
    UploadNotFound,
)
from tests.contract.databases import Databases
from tests.contract.galleries import grant_for
from tests.contract.shelves import LIMITS, NO_GRACE, Shelf, chunks_of, digests_of
from tests.contract.turns import DatabaseInTurns, Orders, errors_of


class Race(Shelf):
    """A shelf with new repositories and new content in every order."""

    def __init__(self, databases: Databases, folder: Path, limits: Limits = NO_GRACE) -> None:
        database = DatabaseInTurns(databases.metadata)
        super().__init__(databases, folder, database=database, limits=limits)
        self.orders = Orders()
        self.others: list[Grant] = []
        self.kept: tuple[bytes, ...] = ()

    async def keep_bystander(self) -> None:
        """Push an image that has nothing to do with any order, and must stay whole beside all of them."""
        await self.push_image("bystander's config", "bystander's layer", grant=await self.create("bystander"))
        self.kept = (b"bystander's config", b"bystander's layer")

    def name(self, what: str) -> str:
        """Name this order's thing."""
        return f"{what}-{self.orders.count}"

    def content(self, what: str = "content") -> bytes:
        """Return this order's content."""
        return self.name(what).encode()

    async def begin(self) -> None:
        """End the order before, of which nothing may stay; make this one's repository."""
        await self.end()
        await self.open(self.name("app"))
        self.others.append(self.grant)

    async def other(self) -> Grant:
        """Make another repository."""
        grant = await self.create(self.name("other"))
        self.others.append(grant)
        return grant

    async def uploaded(self, *parts: bytes) -> str:
        """Begin an upload."""
        upload = await self.uploads.start(self.grant)
        for part in parts:
            await self.uploads.append(self.grant, upload.id, chunks_of(part))
        return upload.id

    async def finish(self, upload_id: str, content: bytes) -> StoredBlob:
        """End an upload."""
        return await self.uploads.finish(self.grant, upload_id, digests_of(content))

    async def take(self) -> None:
        """Collect blobs and remove their bytes at once."""
        await self.collection.run(self.collection.drop_links)
        await self.collection.run(self.collection.remove_doomed)

    async def is_readable(self, content: bytes) -> bool:
        """Tell whether the repository gives exactly these bytes."""
        blob = await self.blobs.find(self.grant, Digest.of(content))
        return blob is not None and await self.read(blob) == content

    async def end(self) -> None:
        """Delete every repository of the order: then nothing is left but the bystander."""
        while self.others:
            with suppress(RepositoryNotFound):
                await self.repositories.delete(self.others.pop(), force=True)
        await self.check_settled(*self.kept)


@pytest.fixture
async def race(databases: Databases, tmp_path: Path) -> AsyncIterator[Race]:
    race = Race(databases, tmp_path)
    await race.keep_bystander()
    yield race
    await race.end()
    await race.files.close()


async def test_an_image_is_pushed_whole_or_told_what_it_lacks(race: Race) -> None:
    pushed = 0
    async for take_turns in race.orders:
        await race.begin()
        await race.push(race.content("config"))
        await race.push(race.content("layer"))

        async def push() -> None:
            await race.put(race.name("config"), race.name("layer"))

        results = await take_turns(race.take, push)

        if not errors_of(results, LayersNotFound):
            pushed += 1
            await race.take()
            assert await race.is_readable(race.content("config"))
            assert await race.is_readable(race.content("layer"))
        await race.check()
    assert 0 < pushed < race.orders.count


async def test_a_blob_that_is_claimed_may_be_uploaded_again(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        await race.push(race.content(), grant=await race.other())
        upload_id = await race.uploaded(race.content())

        async def finish(upload_id: str = upload_id) -> StoredBlob:
            return await race.finish(upload_id, race.content())

        taken, finished = await take_turns(race.take, finish)

        assert taken is None
        assert isinstance(finished, StoredBlob)
        await race.check()


async def test_a_blob_is_mounted_whole_or_not_at_all(race: Race) -> None:
    await race.settings.put(grant_for("app"), "BLOB_MOUNTING", "ENABLED")
    mounted = 0
    async for take_turns in race.orders:
        await race.begin()
        source = await race.other()
        await race.push(race.content(), grant=source)

        async def mount_and_push(source: Grant = source) -> bool:
            if await race.blobs.mount(race.grant, [source], Digest.of(race.content())) is None:
                return False
            await race.put(race.name("content"), race.name("content"))
            return True

        results = await take_turns(race.take, mount_and_push)

        errors_of(results, LayersNotFound)
        if results[1] is True:
            mounted += 1
            await race.take()
            assert await race.is_readable(race.content())
        await race.check()
    assert 0 < mounted < race.orders.count


async def test_an_image_keeps_what_another_ones_deletion_sets_free(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        first = await race.push_image(race.name("one"), race.name("layer"))
        await race.push(race.content("other"))

        async def delete(first: Digest = first.image.digest) -> None:
            await race.images.delete_manifest(race.grant, first)

        async def push() -> None:
            await race.put(race.name("other"), race.name("layer"))

        results = await take_turns(race.collection.drop_links, delete, push)

        if not errors_of(results, LayersNotFound):
            await race.take()
            assert await race.is_readable(race.content("layer"))
            assert not await race.is_readable(race.content("one"))
        await race.check()


async def test_an_upload_that_expires_is_finished_or_gone(race: Race) -> None:
    finished = 0
    async for take_turns in race.orders:
        await race.begin()
        parts = (race.content(), b"more")
        upload_id = await race.uploaded(*parts)
        race.clock.move(seconds=NO_GRACE.upload_idle_seconds)

        async def expire() -> None:
            await race.collection.run(race.collection.expire_uploads)
            await race.collection.run(race.collection.remove_doomed)

        async def finish(upload_id: str = upload_id, content: bytes = b"".join(parts)) -> StoredBlob:
            return await race.finish(upload_id, content)

        expired, ended = await take_turns(expire, finish)

        assert expired is None
        # Its parts may be gone while it puts them together.
        if not errors_of([ended], UploadNotFound, Unavailable):
            finished += 1
            assert await race.is_readable(b"".join(parts))
        await race.check()
    assert 0 < finished < race.orders.count


async def test_an_upload_that_is_used_again_does_not_expire(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        upload_id = await race.uploaded(race.content())
        race.clock.move(seconds=NO_GRACE.upload_idle_seconds)

        async def use(upload_id: str = upload_id) -> StoredBlob | None:
            try:
                await race.uploads.append(race.grant, upload_id, chunks_of(b"more"))
            except UploadNotFound:
                return None
            return await race.finish(upload_id, race.content() + b"more")

        results = await take_turns(race.collection.expire_uploads, use)

        assert errors_of(results) == []
        await race.check()


async def test_of_several_ends_of_one_upload_one_counts(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        upload_id = await race.uploaded(race.content())

        async def finish(upload_id: str = upload_id) -> StoredBlob:
            return await race.finish(upload_id, race.content())

        async def cancel(upload_id: str = upload_id) -> None:
            await race.uploads.cancel(race.grant, upload_id)

        results = await take_turns(finish, finish, cancel)

        assert len(errors_of(results, UploadNotFound)) == 2
        is_cancelled = results[2] is None
        assert await race.is_readable(race.content()) is not is_cancelled
        await race.check()


async def test_parts_that_come_at_once_are_never_mixed(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        upload_id = await race.uploaded()

        async def append(content: bytes, upload_id: str = upload_id) -> object:
            return await race.uploads.append(race.grant, upload_id, chunks_of(content), first_byte=0)

        results = await take_turns(lambda: append(b"one"), lambda: append(b"two"))

        assert len(errors_of(results, InvalidLayerPart)) == 1
        content = b"two" if isinstance(results[0], Exception) else b"one"
        assert await race.read(await race.finish(upload_id, content)) == content
        await race.check()


async def test_a_part_that_comes_beside_the_end_is_in_the_blob_or_refused(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        upload_id = await race.uploaded(race.content(), b"more")

        async def append(upload_id: str = upload_id) -> object:
            return await race.uploads.append(race.grant, upload_id, chunks_of(b"late"))

        async def finish(upload_id: str = upload_id) -> StoredBlob:
            return await race.uploads.finish(
                race.grant, upload_id, digests_of(race.content() + b"more", race.content() + b"morelate")
            )

        appended, finished = await take_turns(append, finish)

        errors_of([appended, finished], InvalidLayerPart, UploadNotFound)
        if isinstance(finished, StoredBlob):
            is_late_in = finished.digest == Digest.of(race.content() + b"morelate")
            assert is_late_in is not isinstance(appended, Exception)
        else:
            assert not isinstance(appended, Exception)
        await race.check()


async def test_a_deleted_repository_takes_whatever_comes_late_with_it(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        upload_id = await race.uploaded(race.content())

        async def push(upload_id: str = upload_id) -> None:
            await race.finish(upload_id, race.content())
            await race.put(race.name("content"), race.name("content"))

        async def delete() -> None:
            await race.repositories.delete(race.grant, force=True)
            await race.collection.run(race.collection.purge_repositories)

        results = await take_turns(delete, push)

        assert results[0] is None
        errors_of(results, RepositoryNotFound, UploadNotFound)
        await race.check()


@pytest.mark.parametrize("left_seconds", [1, 499, 500, 1_000])
async def test_whoever_was_told_that_a_blob_is_there_may_push_its_image(
    databases: Databases, tmp_path: Path, left_seconds: int
) -> None:
    limits = replace(LIMITS, doomed_seconds=0)
    shelf = Shelf(databases, tmp_path, limits=limits, database=DatabaseInTurns(databases.metadata))
    orders = Orders()
    async for take_turns in orders:
        await shelf.open(f"app-{orders.count}")
        name = f"both {orders.count}"
        await shelf.push(name.encode())
        shelf.clock.move(seconds=limits.link_grace_seconds - left_seconds)

        async def push(name: str = name) -> bool:
            if await shelf.blobs.find(shelf.grant, Digest.of(name.encode())) is None:
                return False
            await shelf.put(name, name)
            return True

        async def collect_later() -> None:
            # Nobody waits longer than half of the grace between being told and pushing.
            shelf.clock.move(seconds=min(left_seconds, limits.link_grace_seconds / 2 - 1))
            await shelf.collection.run(shelf.collection.drop_links)

        results = await take_turns(collect_later, push)

        assert errors_of(results) == []
        await shelf.check()
    assert orders.count > 1
    await shelf.files.close()
