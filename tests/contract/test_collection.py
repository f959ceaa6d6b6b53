"""Collection takes what nobody needs, all of it, in bounded steps, on both databases."""

import shutil
from collections.abc import AsyncIterator, Sequence
from collections.abc import Collection as Group
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Table, delete

from openecr.adapters.blobs.files import FileBlobStore
from openecr.application.collection import Collection
from openecr.application.images import PutRules
from openecr.domain.accounts import KeyUse
from openecr.domain.digests import Digest
from openecr.domain.errors import Unavailable
from openecr.ports.blobs import BlobStore
from openecr.store import access_key_uses
from openecr.store.connections import ConstraintViolated
from openecr.store.statements import Statement
from openecr.store.tables import BLOBS, IMAGES, LINKS, REPOSITORIES, UPLOADS
from openecr.testing.faults import FaultyBlobStore
from tests.clients.images import MEBIBYTE
from tests.contract.databases import Databases
from tests.contract.galleries import index_of
from tests.contract.shelves import (
    ALL_BLOBS,
    ALL_DOOMED,
    ALL_LINKS,
    ALL_PARTS,
    ALL_REPOSITORIES,
    ALL_UPLOADS,
    LIMITS,
    NO_GRACE,
    Shelf,
    chunks_of,
    digests_of,
)
from tests.disks import small_disk


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.check()
    await shelf.files.close()


@pytest.fixture
async def small_steps(shelf: Shelf) -> None:
    """Steps of a few rows, so that little takes many."""
    shelf.collection = Collection(
        database=shelf.database,
        activity=shelf.activity,
        blobs=shelf.store,
        clock=shelf.clock,
        limits=shelf.limits,
        step_rows=3,
        window_rows=4,
    )


async def test_what_an_image_needs_is_never_taken(shelf: Shelf) -> None:
    await shelf.push_image("config", "layer")

    await shelf.check_settled(b"config", b"layer")


async def test_what_no_image_needs_is_taken_after_its_grace_and_its_bytes_later(shelf: Shelf) -> None:
    blob = await shelf.push(b"loose")
    shelf.clock.move(seconds=LIMITS.link_grace_seconds - 1)
    await shelf.collection.collect()
    assert await shelf.blobs.get(shelf.grant, blob.digest) == blob

    shelf.clock.move(seconds=1)
    await shelf.collection.collect()
    assert await shelf.blobs.find(shelf.grant, blob.digest) is None
    assert await shelf.rows(ALL_BLOBS) == []
    shelf.clock.move(seconds=LIMITS.doomed_seconds - 1)
    await shelf.collection.collect()
    assert await shelf.read(blob) == b"loose", "a response that had begun goes on"

    shelf.clock.move(seconds=1)
    await shelf.collection.collect()
    assert await shelf.locations() == set()
    assert await shelf.rows(ALL_DOOMED) == []


async def test_what_a_deleted_image_needed_is_taken(shelf: Shelf) -> None:
    first = await shelf.push_image("config", "layer")
    await shelf.push_image("other", "layer")

    await shelf.images.delete_manifest(shelf.grant, first.image.digest)

    await shelf.check_settled(b"other", b"layer")


async def test_a_repository_of_its_own_needs_a_blob_for_itself(shelf: Shelf) -> None:
    other = await shelf.create("other")
    await shelf.push_image("config", "layer")
    await shelf.push(b"layer", grant=other)

    await shelf.collect_everything()

    assert await shelf.blobs.find(other, Digest.of(b"layer")) is None
    await shelf.check_settled(b"config", b"layer")


async def test_everything_goes_however_many_steps_it_takes(shelf: Shelf, small_steps: None) -> None:
    for number in range(11):
        await shelf.push(b"loose %d" % number)
        await shelf.push_image(f"config {number % 3}", f"layer {number}")
        upload = await shelf.uploads.start(shelf.grant)
        for part in range(number % 4):
            await shelf.uploads.append(shelf.grant, upload.id, chunks_of(b"%d" % part))

    kept = [b"config %d" % number for number in range(3)] + [b"layer %d" % number for number in range(11)]
    await shelf.check_settled(*kept)


async def test_needed_links_never_hide_those_that_may_go(shelf: Shelf, small_steps: None) -> None:
    for number in range(7):
        await shelf.push_image(f"config {number}", f"layer {number}")
    await shelf.push(b"loose")
    shelf.clock.move(seconds=LIMITS.link_grace_seconds)

    steps = 1
    while await shelf.collection.drop_links():
        steps += 1

    assert steps >= 15 // 4
    assert await shelf.blobs.find(shelf.grant, Digest.of(b"loose")) is None


class RememberingBlobStore(FaultyBlobStore):
    """Remembers what it was told to remove, call by call."""

    def __init__(self, store: BlobStore) -> None:
        super().__init__(store)
        self.removed: list[Sequence[str]] = []

    async def remove(self, locations: Sequence[str]) -> Group[str]:
        self.removed.append(locations)
        return await super().remove(locations)


async def test_bytes_go_folder_by_folder_in_bounded_steps(shelf: Shelf) -> None:
    store = RememberingBlobStore(shelf.store)
    shelf.collection = Collection(
        database=shelf.database,
        activity=shelf.activity,
        blobs=store,
        clock=shelf.clock,
        limits=shelf.limits,
        step_rows=3,
    )
    for number in range(10):
        await shelf.push(b"loose %d" % number)

    await shelf.collect_everything()

    locations = [each for some in store.removed for each in some]
    assert [len(some) for some in store.removed] == [3, 3, 3, 1]
    assert locations == sorted(locations)
    assert await shelf.locations() == set()
    assert await shelf.rows(ALL_DOOMED) == []


async def test_bytes_that_would_not_go_keep_no_others_and_are_tried_again(shelf: Shelf) -> None:
    blobs = [await shelf.push(b"loose %d" % number) for number in range(3)]
    in_the_way = shelf.files.path(blobs[0].location)
    assert in_the_way is not None
    in_the_way.unlink()
    in_the_way.mkdir()  # no file, which cannot be unlinked
    shelf.clock.move(seconds=LIMITS.link_grace_seconds)
    await shelf.collection.collect()
    shelf.clock.move(seconds=LIMITS.doomed_seconds)

    await shelf.collection.collect()

    assert [row[0] for row in await shelf.rows(ALL_DOOMED)] == [blobs[0].location]
    assert await shelf.locations() == {blobs[0].location}
    assert await shelf.collection.remove_doomed() is False, "it has time until later"
    shelf.clock.move(seconds=3600)
    with pytest.raises(Unavailable):
        await shelf.collection.remove_doomed()
    in_the_way.rmdir()
    shelf.clock.move(seconds=3600)
    assert await shelf.collection.remove_doomed() is True
    assert await shelf.rows(ALL_DOOMED) == []


async def test_a_step_that_changes_nothing_ends(shelf: Shelf) -> None:
    for step in shelf.collection.steps.values():
        assert await step() is False


async def test_a_deleted_repository_goes_with_all_it_held(shelf: Shelf, small_steps: None) -> None:
    other = await shelf.create("other")
    await shelf.push(b"shared", grant=other)
    await shelf.push_image("config", "shared")
    for number in range(5):
        await shelf.push_image("config", f"layer {number}")
        await shelf.push(b"loose %d" % number)
        upload = await shelf.uploads.start(shelf.grant)
        await shelf.uploads.append(shelf.grant, upload.id, chunks_of(b"1", b"2"))
    await shelf.push_image("config", "layer", grant=other)

    await shelf.repositories.delete(shelf.grant, force=True)
    await shelf.collection.collect()

    assert [row[0] for row in await shelf.rows(ALL_REPOSITORIES)] == [other.require_repository().id]
    assert {row[0] for row in await shelf.rows(ALL_LINKS)} == {other.require_repository().id}
    assert await shelf.rows(ALL_PARTS) == await shelf.rows(ALL_UPLOADS) == []
    assert await shelf.blobs.find(other, Digest.of(b"shared")) is not None
    await shelf.check_settled(b"config", b"layer")


async def test_an_index_goes_with_its_repository(shelf: Shelf) -> None:
    child = (await shelf.push_image("config", "layer")).manifest.content
    index = index_of(child)
    outer = index_of(index, child)
    for content in (index, outer):
        await shelf.images.put(shelf.grant, content, media_type=None, tags=["t"], rules=PutRules.REGISTRY)

    await shelf.repositories.delete(shelf.grant, force=True)

    await shelf.check_settled()
    assert await shelf.rows(ALL_REPOSITORIES) == []


async def test_one_step_of_a_purge_is_bounded(shelf: Shelf, small_steps: None) -> None:
    for number in range(10):
        await shelf.push(b"%d" % number)
    await shelf.repositories.delete(shelf.grant, force=True)

    assert await shelf.collection.purge_repositories() is True

    assert len(await shelf.rows(ALL_LINKS)) == 7


async def test_one_step_of_an_expiry_is_bounded(shelf: Shelf, small_steps: None) -> None:
    for _ in range(4):
        upload = await shelf.uploads.start(shelf.grant)
        await shelf.uploads.append(shelf.grant, upload.id, chunks_of(b"1"))
    shelf.clock.move(seconds=LIMITS.upload_idle_seconds)

    assert await shelf.collection.expire_uploads() is True

    assert len(await shelf.rows(ALL_UPLOADS)) == 3


@pytest.mark.parametrize("after", [False, True], ids=["instead of its work", "after its work"])
async def test_bytes_that_could_not_be_removed_are_removed_later(
    databases: Databases, tmp_path: Path, after: bool
) -> None:
    files = Shelf(databases, tmp_path).files
    store = FaultyBlobStore(files, after=after)
    shelf = await Shelf(databases, tmp_path, limits=NO_GRACE, blobs=store, files=files).open()
    await shelf.push(b"loose")
    store.fail_at = store.calls + 1

    with pytest.raises(Unavailable):
        await shelf.collection.collect()
    assert len(await shelf.rows(ALL_DOOMED)) == 1
    await shelf.collection.collect()

    await shelf.check_settled()
    await files.close()


@pytest.mark.parametrize(("size_bytes", "is_urgent"), [(32 * MEBIBYTE, True), (256 * MEBIBYTE, False)])
async def test_collection_is_urgent_where_uploads_have_hardly_any_room(
    databases: Databases, tmp_path: Path, size_bytes: int, is_urgent: bool
) -> None:
    with small_disk(tmp_path, size_bytes) as disk:
        files = FileBlobStore(disk / "blobs", min_free_bytes=0, min_free_ratio=0)

        assert await Shelf(databases, tmp_path, files=files).collection.is_urgent() is is_urgent

        await files.close()


async def test_collection_goes_on_where_nobody_can_tell_how_much_room_there_is(
    databases: Databases, tmp_path: Path
) -> None:
    shelf = Shelf(databases, tmp_path)
    shutil.rmtree(tmp_path / "blobs")

    assert await shelf.collection.is_urgent() is False

    await shelf.files.close()


async def test_a_whole_collection_begins_at_the_first_link(shelf: Shelf, small_steps: None) -> None:
    for number in range(6):
        await shelf.push(b"loose %d" % number)
    shelf.clock.move(seconds=LIMITS.link_grace_seconds)
    assert await shelf.collection.drop_links() is True
    for number in range(6, 12):
        await shelf.push(b"loose %d" % number)
    shelf.clock.move(seconds=LIMITS.link_grace_seconds)

    await shelf.collection.collect()

    assert await shelf.rows(ALL_LINKS) == []


async def test_a_blob_of_two_names_goes_name_by_name(shelf: Shelf) -> None:
    for algorithm in ("sha256", "sha512"):
        await shelf.push(b"content", algorithm=algorithm)
    shelf.clock.move(seconds=LIMITS.link_grace_seconds - 1)
    await shelf.blobs.find(shelf.grant, *digests_of(b"content", algorithm="sha512"))
    shelf.clock.move(seconds=1)

    await shelf.collection.collect()

    assert await shelf.blobs.find(shelf.grant, *digests_of(b"content")) is None
    blob = await shelf.blobs.get(shelf.grant, *digests_of(b"content", algorithm="sha512"))
    assert await shelf.read(blob) == b"content"


async def test_pull_times_go_with_their_images_and_with_deleted_repositories(
    shelf: Shelf, small_steps: None
) -> None:
    pushed = [(await shelf.push_image(f"config {number}")).image for number in range(8)]
    other = await shelf.create("other")
    elsewhere = (await shelf.push_image(grant=other)).image
    for image in pushed:
        await shelf.images.get_manifest(shelf.grant, image.digest)
    await shelf.images.get_manifest(other, elsewhere.digest)
    await shelf.pull_times.flush()

    for image in pushed[::2]:
        await shelf.images.delete_manifest(shelf.grant, image.digest)
    await shelf.collection.collect()
    kept = {image.id for image in (*pushed[1::2], elsewhere)}
    assert await shelf.pulled() == kept

    shelf.pull_times.record(pushed[0].id)
    await shelf.pull_times.flush()
    assert await shelf.pulled() == kept | {pushed[0].id}, "a pull that began before the deletion"
    await shelf.repositories.delete(shelf.grant, force=True)
    await shelf.collection.collect()
    assert await shelf.pulled() == {elsewhere.id}


async def test_uses_of_keys_that_are_gone_go_too(shelf: Shelf, small_steps: None) -> None:
    """Another process may write one after the key was deleted."""
    uses = {f"AKIA{number}": KeyUse(used_at=1, service="ecr", region="r") for number in range(8)}
    await shelf.activity.write(lambda connection: access_key_uses.put(connection, uses))

    await shelf.collection.collect()

    for key_id in uses:
        assert await shelf.activity.read(partial(access_key_uses.find, access_key_id=key_id)) is None


@pytest.mark.parametrize("table", [BLOBS, LINKS, IMAGES, REPOSITORIES, UPLOADS], ids=lambda table: table.name)
async def test_the_database_itself_keeps_whatever_something_refers_to(shelf: Shelf, table: Table) -> None:
    child = await shelf.push_image()
    await shelf.images.put(
        shelf.grant, index_of(str(child.image.digest)), media_type=None, rules=PutRules.REGISTRY
    )
    upload = await shelf.uploads.start(shelf.grant)
    await shelf.uploads.append(shelf.grant, upload.id, chunks_of(b"part"))
    if table is IMAGES:
        remove = Statement(delete(IMAGES).where(IMAGES.c.id == child.image.id))
    else:
        remove = Statement(delete(table))

    with pytest.raises(ConstraintViolated):
        await shelf.database.write(lambda connection: connection.execute(remove))


@pytest.mark.parametrize("table", [LINKS, IMAGES, UPLOADS], ids=lambda table: table.name)
async def test_each_thing_of_a_repository_keeps_its_row(shelf: Shelf, table: Table) -> None:
    if table is LINKS:
        await shelf.push(b"loose")
    elif table is UPLOADS:
        await shelf.uploads.start(shelf.grant)
    else:
        await shelf.images.put(shelf.grant, index_of(), media_type=None, rules=PutRules.REGISTRY)

    with pytest.raises(ConstraintViolated):
        await shelf.database.write(lambda connection: connection.execute(Statement(delete(REPOSITORIES))))


async def test_a_link_keeps_its_blob_though_no_image_needs_it(shelf: Shelf) -> None:
    await shelf.push(b"loose")

    with pytest.raises(ConstraintViolated):
        await shelf.database.write(lambda connection: connection.execute(Statement(delete(BLOBS))))
