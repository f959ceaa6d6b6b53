"""Deletion by the registry's rules, and what happens to an image while others push and delete."""

import asyncio

import pytest

from openecr.domain.digests import Digest
from openecr.domain.errors import ImageReferencedByManifestList, LayersNotFound, ManifestNotFound
from openecr.domain.manifests import OCI_MANIFEST
from tests.contract.databases import Databases
from tests.contract.galleries import IMMUTABLE, Gallery, descriptor, digest, image_of, index_of

IMAGE = image_of()
OTHER = image_of(about="other")


@pytest.fixture
async def gallery(databases: Databases) -> Gallery:
    return await Gallery(databases).open()


async def test_deleting_a_tag_keeps_the_image(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1")
    await gallery.images.delete_tag(gallery.grant, "v1")
    assert await gallery.everything() == {digest(IMAGE): ()}
    with pytest.raises(ManifestNotFound):
        await gallery.images.delete_tag(gallery.grant, "v1")


async def test_deleting_a_manifest_takes_every_tag(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1", "v2")
    await gallery.push(OTHER, "v3")
    await gallery.images.delete_manifest(gallery.grant, Digest.of(IMAGE))
    assert await gallery.everything() == {digest(OTHER): ("v3",)}
    with pytest.raises(ManifestNotFound):
        await gallery.images.delete_manifest(gallery.grant, Digest.of(IMAGE))


async def test_a_child_of_indexes_is_deleted_after_them(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1")
    parents = [index_of(IMAGE, annotations={"number": str(number)}) for number in range(2)]
    for parent in parents:
        await gallery.push(parent)
    with pytest.raises(ImageReferencedByManifestList) as caught:
        await gallery.images.delete_manifest(gallery.grant, Digest.of(IMAGE))
    named = ", ".join(sorted(digest(parent) for parent in parents))
    assert caught.value.message == f"Requested image referenced by manifest list: [{named}]"
    await gallery.images.delete_tag(gallery.grant, "v1")
    for content in (*parents, IMAGE):
        await gallery.images.delete_manifest(gallery.grant, Digest.of(content))
    assert await gallery.everything() == {}


async def test_an_index_that_names_itself_nowhere_names_a_child_twice(gallery: Gallery) -> None:
    await gallery.push(IMAGE)
    twice = index_of(IMAGE, IMAGE)
    await gallery.push(twice, "v1")
    await gallery.images.delete_manifest(gallery.grant, Digest.of(twice))
    await gallery.images.delete_manifest(gallery.grant, Digest.of(IMAGE))


async def test_an_image_with_referrers_may_be_deleted(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1")
    await gallery.push(image_of(subject=descriptor("x", OCI_MANIFEST) | {"digest": digest(IMAGE)}))
    await gallery.images.delete_manifest(gallery.grant, Digest.of(IMAGE))
    assert await gallery.tags_of(IMAGE) is None


# --- at once ---------------------------------------------------------------------------------------------------------


async def test_the_same_image_pushed_by_many_at_once_is_stored_once(gallery: Gallery) -> None:
    puts = await asyncio.gather(*(gallery.push(IMAGE, f"v{number}") for number in range(8)))
    assert len({put.image.id for put in puts}) == 1
    assert await gallery.everything() == {digest(IMAGE): tuple(f"v{number}" for number in range(8))}


async def test_of_many_images_pushed_to_an_immutable_tag_at_once_one_wins(gallery: Gallery) -> None:
    await gallery.change(IMMUTABLE)
    contents = [image_of(about=number) for number in range(6)]
    results = await asyncio.gather(
        *(gallery.push(content, "v1") for content in contents), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["ImageTagAlreadyExists"] * 5 + ["PutImage"]
    assert len(await gallery.everything()) == 1


async def test_an_index_pushed_while_its_child_is_deleted_never_loses_it(gallery: Gallery) -> None:
    for number in range(5):
        child = image_of(about=number)
        await gallery.push(child)
        parent = index_of(child)
        results = await asyncio.gather(
            gallery.push(parent, f"v{number}"),
            gallery.images.delete_manifest(gallery.grant, Digest.of(child)),
            return_exceptions=True,
        )
        there = await gallery.everything()
        assert (digest(parent) in there) == (digest(child) in there)
        assert sum(isinstance(result, Exception) for result in results) == 1


async def test_a_layer_dropped_while_its_image_is_pushed_is_never_missing(gallery: Gallery) -> None:
    for number in range(5):
        await gallery.hold(f"layer {number}")
        content = image_of(layers=[f"layer {number}"])
        pushed, dropped = await asyncio.gather(
            gallery.push(content), gallery.drop(f"layer {number}"), return_exceptions=True
        )
        assert isinstance(pushed, LayersNotFound) == (dropped is True)
