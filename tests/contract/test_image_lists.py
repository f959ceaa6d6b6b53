"""Lists of images: filtered, in a stable order, and page by page the same as whole."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from openecr.application.limits import Limits
from openecr.domain.digests import Digest
from openecr.domain.errors import ImageNotFound
from openecr.domain.images import ImageId, TagStatus
from openecr.domain.manifests import OCI_INDEX, OCI_MANIFEST
from openecr.domain.pages import Page, PageRequest
from tests.contract.databases import Databases
from tests.contract.galleries import (
    CONFIG_TYPE,
    Gallery,
    both,
    by_digest,
    by_tag,
    descriptor,
    digest,
    image_of,
    index_of,
)

T = TypeVar("T")
IMAGE = image_of()
OTHER = image_of(about="other")
ALL = PageRequest(limit=1000)


@pytest.fixture
async def gallery(databases: Databases) -> Gallery:
    return await Gallery(databases).open()


@pytest.fixture
async def full(gallery: Gallery) -> dict[str, tuple[str, ...]]:
    """Twelve images: every third without a tag, the others with one to three."""
    tags = ["latest", "Latest", "v1.0", "v1-0", "v10", "v_1", "0", "a.b", "z", "_", "A", "b", "v1"]
    for number in range(12):
        mine = [] if number % 3 == 0 else [tags.pop() for _ in range(1 + number % 2) if tags]
        await gallery.push(image_of(about=number), *mine)
    return dict(sorted((await gallery.everything()).items()))


async def pages(ask: Callable[[PageRequest], Awaitable[Page[T]]], limit: int) -> list[list[T]]:
    """Follow a list to its end."""
    found: list[list[T]] = []
    after: str | None = None
    while True:
        page = await ask(PageRequest(limit=limit, after=after))
        found.append(list(page.items))
        if page.after is None:
            return found
        assert len(page.items) == limit
        after = page.after


# --- describe --------------------------------------------------------------------------------------------------------


async def test_an_image_is_described_by_tag_or_digest_with_all_its_tags(gallery: Gallery) -> None:
    put = await gallery.push(IMAGE, "b", "a")
    for image_id in (by_tag("a"), by_digest(IMAGE), both(IMAGE, "b")):
        assert await gallery.images.describe(gallery.grant, [image_id]) == [put.image]


async def test_several_names_of_an_image_describe_it_once_in_the_order_asked(gallery: Gallery) -> None:
    first = await gallery.push(IMAGE, "a", "b")
    second = await gallery.push(OTHER, "c")
    asked = [by_tag("c"), by_tag("b"), by_tag("a"), by_digest(OTHER)]
    assert await gallery.images.describe(gallery.grant, asked) == [second.image, first.image]


@pytest.mark.parametrize(
    ("image_id", "told"),
    [
        (by_tag("x"), "imageDigest:'null', imageTag:'x'"),
        (by_digest(OTHER), f"imageDigest:'{digest(OTHER)}', imageTag:'null'"),
        (both(OTHER, "a"), f"imageDigest:'{digest(OTHER)}', imageTag:'a'"),
        (both(IMAGE, "x"), f"imageDigest:'{digest(IMAGE)}', imageTag:'x'"),
        (ImageId(), "imageDigest:'null', imageTag:'null'"),
    ],
)
async def test_a_missing_image_fails_the_whole_description(
    gallery: Gallery, image_id: ImageId, told: str
) -> None:
    await gallery.push(IMAGE, "a")
    with pytest.raises(ImageNotFound) as caught:
        await gallery.images.describe(gallery.grant, [by_tag("a"), image_id])
    assert caught.value.message == (
        f"The image with imageId {{{told}}} does not exist within the repository with name 'shop/app' in the "
        "registry with id '000000000000'"
    )


# --- lists -----------------------------------------------------------------------------------------------------------


def selects(status: TagStatus, tags: tuple[str, ...]) -> bool:
    return status is TagStatus.ANY or (status is TagStatus.TAGGED) == bool(tags)


@pytest.mark.parametrize("status", TagStatus)
async def test_images_are_listed_by_digest_and_filtered_by_tag(
    gallery: Gallery, full: dict[str, tuple[str, ...]], status: TagStatus
) -> None:
    expected = [(name, tags) for name, tags in full.items() if selects(status, tags)]

    def ask(page: PageRequest) -> Awaitable[Page[Any]]:
        return gallery.images.list_images(gallery.grant, status, page)

    for limit in (1, 2, 5, len(expected), 1000):
        found = [image for page in await pages(ask, limit) for image in page]
        assert [(str(image.digest), image.tags) for image in found] == expected


@pytest.mark.parametrize("status", TagStatus)
async def test_identifiers_are_listed_by_digest_and_tag_and_filtered_by_tag(
    gallery: Gallery, full: dict[str, tuple[str, ...]], status: TagStatus
) -> None:
    expected = [
        ImageId(digest=name, tag=tag)
        for name, tags in full.items()
        if selects(status, tags)
        for tag in tags or (None,)
    ]
    assert expected

    def ask(page: PageRequest) -> Awaitable[Page[ImageId]]:
        return gallery.images.list_ids(gallery.grant, status, page)

    for limit in (1, 2, 3, len(expected), 1000):
        assert [image_id for page in await pages(ask, limit) for image_id in page] == expected


async def test_tags_are_listed_in_byte_order(gallery: Gallery, full: dict[str, tuple[str, ...]]) -> None:
    expected = sorted((tag for tags in full.values() for tag in tags), key=str.encode)
    assert len(expected) > 8

    def ask(page: PageRequest) -> Awaitable[Page[str]]:
        return gallery.images.list_tags(gallery.grant, page)

    for limit in (1, 3, len(expected), 1000):
        assert [tag for page in await pages(ask, limit) for tag in page] == expected
    page = await gallery.images.list_tags(gallery.grant, PageRequest(limit=1000, after="no such tag"))
    assert list(page.items) == [tag for tag in expected if tag > "no such tag"]


async def test_a_page_that_ends_with_the_list_leads_nowhere(
    gallery: Gallery, full: dict[str, tuple[str, ...]]
) -> None:
    page = await gallery.images.list_images(gallery.grant, TagStatus.ANY, PageRequest(limit=len(full)))
    assert page.after is None


async def test_what_goes_or_comes_between_pages_disturbs_nothing_else(gallery: Gallery) -> None:
    contents = sorted((image_of(about=number) for number in range(6)), key=digest)
    for number, content in enumerate(contents[:4]):
        await gallery.push(content, f"v{number}")
    ask = gallery.images.list_ids
    first = await ask(gallery.grant, TagStatus.ANY, PageRequest(limit=2))
    await gallery.images.batch_delete(gallery.grant, [by_tag("v1")])  # the very one after which the page ends
    await gallery.push(contents[4], "v4")
    rest = await ask(gallery.grant, TagStatus.ANY, PageRequest(limit=10, after=first.after))
    assert [image_id.tag for image_id in (*first.items, *rest.items)] == ["v0", "v1", "v2", "v3", "v4"]


async def test_lists_of_an_empty_repository_are_empty(gallery: Gallery) -> None:
    assert (await gallery.images.list_images(gallery.grant, TagStatus.ANY, ALL)).items == ()
    assert (await gallery.images.list_ids(gallery.grant, TagStatus.ANY, ALL)).items == ()
    assert (await gallery.images.list_tags(gallery.grant, ALL)).items == ()


# --- referrers -------------------------------------------------------------------------------------------------------


def referring_to(content: bytes, **more: Any) -> bytes:
    subject = descriptor("x", OCI_MANIFEST) | {"digest": digest(content)}
    return image_of(subject=subject, **more)


async def test_referrers_are_told_with_type_size_and_annotations_though_the_subject_is_unknown(
    gallery: Gallery,
) -> None:
    own = referring_to(IMAGE, artifactType="application/x-sbom", annotations={"a": "b\U0001f40b"})
    of_config = referring_to(IMAGE)
    index = json.dumps(json.loads(index_of()) | {"subject": json.loads(own)["subject"]}).encode()
    for content in (own, of_config, index, image_of(about="no referrer"), referring_to(OTHER)):
        await gallery.push(content)
    page = await gallery.images.list_referrers(gallery.grant, Digest.of(IMAGE), page=ALL)
    assert page.after is None
    assert [
        (str(each.digest), each.media_type, each.artifact_type, each.size_bytes, each.annotations)
        for each in page.items
    ] == sorted(
        [
            (digest(own), OCI_MANIFEST, "application/x-sbom", len(own), {"a": "b\U0001f40b"}),
            (digest(of_config), OCI_MANIFEST, CONFIG_TYPE, len(of_config), {}),
            (digest(index), OCI_INDEX, None, len(index), {}),
        ],
        key=lambda told: told[0],
    )


async def test_referrers_are_filtered_by_type(gallery: Gallery) -> None:
    types = {f"application/{name}": referring_to(IMAGE, artifactType=f"application/{name}") for name in "abc"}
    for content in types.values():
        await gallery.push(content)

    async def listed(*wanted: str) -> set[str]:
        page = await gallery.images.list_referrers(
            gallery.grant, Digest.of(IMAGE), artifact_types=wanted, page=ALL
        )
        return {str(each.digest) for each in page.items}

    assert await listed("application/b") == {digest(types["application/b"])}
    assert await listed("application/b", "application/c", "x") == {
        digest(types["application/b"]),
        digest(types["application/c"]),
    }
    assert await listed("x") == set()
    assert await listed() == {digest(content) for content in types.values()}


async def test_pages_of_referrers_make_the_list_and_are_bounded_in_bytes(databases: Databases) -> None:
    contents = [referring_to(IMAGE, annotations={"number": "x" * 100 + str(number)}) for number in range(7)]
    limits = replace(Limits(), referrers_page_bytes=2 * len(contents[0]))
    gallery = await Gallery(databases, limits).open()
    for content in contents:
        await gallery.push(content)
    for limit, sizes in ((1, [1] * 7), (2, [2, 2, 2, 1]), (3, [2, 2, 2, 1]), (1000, [2, 2, 2, 1])):
        found: list[str] = []
        lengths: list[int] = []
        after: str | None = None
        while True:
            page = await gallery.images.list_referrers(
                gallery.grant, Digest.of(IMAGE), page=PageRequest(limit=limit, after=after)
            )
            found += [str(each.digest) for each in page.items]
            lengths.append(len(page.items))
            after = page.after
            if after is None:
                break
        assert found == sorted(map(digest, contents))
        assert lengths == sizes


async def test_a_referrer_longer_than_a_page_makes_a_page_of_its_own(databases: Databases) -> None:
    gallery = await Gallery(databases, replace(Limits(), referrers_page_bytes=1)).open()
    await gallery.push(referring_to(IMAGE))
    page = await gallery.images.list_referrers(gallery.grant, Digest.of(IMAGE), page=ALL)
    assert (len(page.items), page.after) == (1, None)


async def test_a_subject_is_matched_by_its_very_digest(gallery: Gallery) -> None:
    await gallery.push(referring_to(IMAGE))
    page = await gallery.images.list_referrers(gallery.grant, Digest.of(IMAGE, "sha512"), page=ALL)
    assert page.items == ()


async def test_a_referrer_that_is_deleted_is_listed_no_more(gallery: Gallery) -> None:
    content = referring_to(IMAGE)
    await gallery.push(content)
    await gallery.images.delete_manifest(gallery.grant, Digest.of(content))
    page = await gallery.images.list_referrers(gallery.grant, Digest.of(IMAGE), page=ALL)
    assert page.items == ()
