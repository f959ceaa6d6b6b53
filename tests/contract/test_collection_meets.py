"""Collection meets each kind of new user of a blob that nobody needed, call by call, in every order, with no grace.

What was acknowledged is whole afterwards whatever collection still does, and all else goes in the end.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from openecr.application.images import PutRules
from openecr.domain.blobs import Availability
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    ImageReferencedByManifestList,
    LayerInUse,
    LayerNotFound,
    LayersNotFound,
    ReferencedImagesNotFound,
    Unavailable,
)
from openecr.domain.images import ImageId
from tests.contract.databases import Databases
from tests.contract.galleries import grant_for, image_of, index_of
from tests.contract.shelves import ALL_REPOSITORIES, NO_GRACE, chunks_of, digests_of
from tests.contract.test_collection_races import Race
from tests.contract.turns import errors_of


@pytest.fixture
async def race(databases: Databases, tmp_path: Path) -> AsyncIterator[Race]:
    race = Race(databases, tmp_path)
    await race.keep_bystander()
    await race.settings.put(grant_for("app"), "BLOB_MOUNTING", "ENABLED")
    yield race
    await race.end()
    await race.files.close()


@dataclass(slots=True)
class Scene:
    """One order's repository `app` that holds a layer which no image needs, another one, and an open upload."""

    race: Race
    layer: str
    other: Grant
    upload_id: str

    @property
    def content(self) -> bytes:
        """The layer's bytes."""
        return self.layer.encode()

    async def put(self, grant: Grant, rules: PutRules = PutRules.REGISTRY) -> Grant:
        """Push an image that needs the layer; gives who has it now."""
        manifest = image_of(self.layer, [self.layer])
        await self.race.images.put(grant, manifest, media_type=None, tags=["v1"], rules=rules)
        return grant


async def another_turn(race: Race) -> None:
    """Stand still once more, though the database is not asked: the bytes come next."""
    await race.database.read(lambda _: None)


User = Callable[[Scene], Awaitable[Grant | None]]


async def image_over_the_registry(scene: Scene) -> Grant | None:
    return await scene.put(scene.race.grant)


async def image_over_the_api(scene: Scene) -> Grant | None:
    return await scene.put(scene.race.grant, PutRules.AWS)


async def same_push_again(scene: Scene) -> Grant | None:
    await scene.race.uploads.finish(scene.race.grant, scene.upload_id, digests_of(scene.content))
    return await scene.put(scene.race.grant)


async def same_content_elsewhere(scene: Scene) -> Grant | None:
    await scene.race.push(scene.content, grant=scene.other)
    return await scene.put(scene.other)


async def mount(scene: Scene) -> Grant | None:
    mounted = await scene.race.blobs.mount(scene.other, [scene.race.grant], Digest.of(scene.content))
    return None if mounted is None else await scene.put(scene.other)


async def availability_check(scene: Scene) -> Grant | None:
    (status,), _ = await scene.race.blobs.check(scene.race.grant, [str(Digest.of(scene.content))])
    return await scene.put(scene.race.grant) if status.availability is Availability.AVAILABLE else None


async def cancelled_upload(scene: Scene) -> Grant | None:
    await scene.race.uploads.cancel(scene.race.grant, scene.upload_id)
    return None


async def deleted_layer(scene: Scene) -> Grant | None:
    await scene.race.blobs.unlink(scene.race.grant, Digest.of(scene.content))
    return None


async def download(scene: Scene) -> Grant | None:
    blob = await scene.race.blobs.get(scene.race.grant, Digest.of(scene.content))
    await another_turn(scene.race)
    assert await scene.race.read(blob) == scene.content
    return None


@pytest.mark.parametrize(
    "user",
    [
        image_over_the_registry,
        image_over_the_api,
        same_push_again,
        mount,
        availability_check,
        cancelled_upload,
        deleted_layer,
        download,
    ],
    ids=lambda user: user.__name__.replace("_", " "),
)
@pytest.mark.timeout(600)
async def test_a_new_user_has_the_layer_whole_or_hears_that_it_is_gone(race: Race, user: User) -> None:
    acknowledged = 0
    async for take_turns in race.orders:
        await race.begin()
        layer = race.name("layer")
        await race.push(layer.encode())
        scene = Scene(race, layer, await race.other(), await race.uploaded(layer.encode()))

        taken, used = await take_turns(race.take, lambda scene=scene: user(scene))

        assert taken is None
        errors_of([used], LayersNotFound, LayerNotFound, LayerInUse, Unavailable)
        if isinstance(used, Grant):
            acknowledged += 1
            await race.take()
            race.grant = used
            assert await race.is_readable(scene.content)
        await race.check()
    assert race.orders.count > 1
    # An upload of one's own cannot be too late.
    assert user is not same_push_again or acknowledged > 0


async def test_the_same_content_elsewhere_is_never_too_late(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        layer = race.name("layer")
        await race.push(layer.encode())
        other = await race.other()
        upload = await race.uploads.start(other)
        await race.uploads.append(other, upload.id, chunks_of(layer.encode()))

        async def finish(other: Grant = other, upload_id: str = upload.id, layer: str = layer) -> None:
            await race.uploads.finish(other, upload_id, digests_of(layer.encode()))

        assert await take_turns(race.take, finish) == [None, None]
        await race.check()


async def test_an_image_that_is_deleted_beside_its_own_push_is_there_whole_or_gone(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        layer = race.name("layer")
        first = (await race.push_image(layer, layer)).image

        async def delete(digest: Digest = first.digest) -> None:
            await race.images.delete_manifest(race.grant, digest)

        async def push(layer: str = layer) -> None:
            await race.images.put(
                race.grant, image_of(layer, [layer]), media_type=None, tags=["v1"], rules=PutRules.REGISTRY
            )

        deleted, pushed, taken = await take_turns(delete, push, race.collection.drop_links)

        assert deleted is None
        assert taken is False
        is_there = await race.images.find_manifest(race.grant, "v1") is not None
        if not errors_of([pushed], LayersNotFound) and is_there:
            await race.take()
            assert await race.is_readable(layer.encode())
        await race.check()


async def test_a_tag_that_is_pushed_keeps_an_image_whose_last_tag_is_deleted(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        layer = race.name("layer")
        await race.push(layer.encode())
        content = image_of(layer, [layer])

        async def push(tag: str, content: bytes = content) -> None:
            await race.images.put(race.grant, content, media_type=None, tags=[tag], rules=PutRules.REGISTRY)

        async def delete() -> None:
            await race.images.batch_delete(race.grant, [ImageId(tag="old")])

        await push("old")
        deleted, pushed, taken = await take_turns(delete, lambda: push("new"), race.collection.drop_links)

        assert (deleted, taken) == (None, False)
        if not errors_of([pushed], LayersNotFound):
            assert await race.images.find_manifest(race.grant, "new") is not None
            await race.take()
            assert await race.is_readable(layer.encode())
        await race.check()


async def test_a_child_is_kept_by_an_index_or_missed_by_it(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        layer = race.name("layer")
        child = (await race.push_image(layer, layer)).image

        async def delete(digest: Digest = child.digest) -> None:
            await race.images.delete_manifest(race.grant, digest)

        async def push(digest: Digest = child.digest) -> None:
            await race.images.put(race.grant, index_of(str(digest)), media_type=None, rules=PutRules.REGISTRY)

        deleted, pushed, taken = await take_turns(delete, push, race.take)

        assert taken is None
        is_missed = bool(errors_of([pushed], ReferencedImagesNotFound))
        assert is_missed is not bool(errors_of([deleted], ImageReferencedByManifestList))
        if not is_missed:
            await race.take()
            assert await race.is_readable(layer.encode())
        await race.check()


async def test_what_is_being_downloaded_stays_until_its_time(databases: Databases, tmp_path: Path) -> None:
    race = Race(databases, tmp_path, limits=replace(NO_GRACE, doomed_seconds=50))
    async for take_turns in race.orders:
        await race.begin()
        layer = race.name("layer")
        await race.push_image(layer, layer)
        url = await race.blobs.download_link(race.grant, Digest.of(layer.encode()))

        async def remove() -> None:
            await race.repositories.delete(race.grant, force=True)
            await race.collection.run(race.collection.purge_repositories)
            race.clock.move(seconds=49)
            await race.take()

        async def fetch(url: str = url, layer: str = layer) -> None:
            digest = Digest.parse(race.blobs.open_link(url).digest)
            blob = await race.blobs.get(race.grant, digest)
            await another_turn(race)
            assert await race.read(blob) == layer.encode()

        removed, fetched = await take_turns(remove, fetch)

        assert removed is None
        errors_of([fetched], LayerNotFound)
        await race.check()
    await race.end()
    await race.files.close()


async def test_a_repository_that_is_deleted_beside_the_purge_is_purged_whole(race: Race) -> None:
    async for take_turns in race.orders:
        await race.begin()
        layer = race.name("layer")
        await race.push_image(layer, layer)

        async def delete() -> None:
            await race.repositories.delete(race.grant, force=True)

        step = race.collection.purge_repositories
        assert errors_of(await take_turns(delete, step, step)) == []

        await race.collection.run(step)
        await race.take()
        assert len(await race.rows(ALL_REPOSITORIES)) == 1, "the bystander's"
        assert len(await race.locations()) == len(race.kept)
