"""When an image was last pulled is told at once and written later, so that no pull waits for a write."""

import asyncio

import pytest

from openecr.application.pull_times import NOTES_MAX, PullTimes
from tests.contract.databases import Databases
from tests.contract.galleries import NOW, Gallery, by_digest, by_tag, image_of

IMAGE = image_of()


@pytest.fixture
async def gallery(databases: Databases) -> Gallery:
    return await Gallery(databases).open()


async def pulled_at(gallery: Gallery) -> int | None:
    (image,) = await gallery.images.describe(gallery.grant, [by_digest(IMAGE)])
    return image.last_pulled_at


async def test_a_get_is_a_pull_and_a_look_is_none(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1")
    await gallery.images.find_manifest(gallery.grant, "v1")
    await gallery.images.batch_delete(gallery.grant, [by_tag("nothing")])
    assert await pulled_at(gallery) is None
    gallery.clock.move(seconds=5)
    await gallery.images.get_manifest(gallery.grant, "v1")
    assert await pulled_at(gallery) == NOW + 5_000_000
    gallery.clock.move(seconds=5)
    await gallery.images.batch_get(gallery.grant, [by_tag("v1")])
    assert await pulled_at(gallery) == NOW + 10_000_000


async def test_pull_times_are_told_before_and_after_they_are_written(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1")
    await gallery.images.get_manifest(gallery.grant, "v1")
    await gallery.pull_times.flush()
    assert await pulled_at(gallery) == NOW
    gallery.clock.move(seconds=5)
    await gallery.images.get_manifest(gallery.grant, "v1")
    assert await pulled_at(gallery) == NOW + 5_000_000
    await gallery.pull_times.flush()
    await gallery.pull_times.flush()
    assert await pulled_at(gallery) == NOW + 5_000_000


async def test_a_pull_during_a_flush_is_not_lost(gallery: Gallery) -> None:
    for image_id in range(1, 1201):
        gallery.pull_times.record(image_id)
    flush = asyncio.create_task(gallery.pull_times.flush())
    await asyncio.sleep(0)
    gallery.clock.move(seconds=5)
    gallery.pull_times.record(1)
    gallery.pull_times.record(5000)
    await flush
    found = await gallery.pull_times.find([1, 2, 1200, 5000, 9999])
    assert found == {1: NOW + 5_000_000, 2: NOW, 1200: NOW, 5000: NOW + 5_000_000}
    await gallery.pull_times.flush()
    assert await gallery.pull_times.find([1, 2, 1200, 5000, 9999]) == found


async def test_memory_for_pulls_is_bounded_and_known_images_go_on(gallery: Gallery) -> None:
    for image_id in range(1, NOTES_MAX + 1):
        gallery.pull_times.record(image_id)
    gallery.clock.move(seconds=5)
    gallery.pull_times.record(NOTES_MAX + 1)
    gallery.pull_times.record(1)
    assert await gallery.pull_times.find([1, 2, NOTES_MAX + 1]) == {1: NOW + 5_000_000, 2: NOW}


async def test_the_latest_pull_counts_whichever_process_writes_last(
    gallery: Gallery, databases: Databases
) -> None:
    other = PullTimes(database=databases.activity, clock=gallery.clock)
    gallery.pull_times.record(1)
    gallery.clock.move(seconds=5)
    other.record(1)
    await other.flush()
    assert await gallery.pull_times.find([1]) == {1: NOW + 5_000_000}
    await gallery.pull_times.flush()
    assert await gallery.pull_times.find([1]) == await other.find([1]) == {1: NOW + 5_000_000}
