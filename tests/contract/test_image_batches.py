"""BatchGetImage and BatchDeleteImage: every identifier is answered on its own, in ECR's words."""

from collections.abc import Sequence

import pytest

from openecr.application.image_batches import ANSWER_MAX_BYTES, begin_deletion, delete_some
from openecr.domain.digests import Digest
from openecr.domain.errors import LimitExceeded
from openecr.domain.images import FailureCode, ImageFailure, ImageId
from openecr.domain.manifests import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.contract.databases import Databases
from tests.contract.galleries import Gallery, both, by_digest, by_tag, digest, image_of, index_of

IMAGE = image_of()
OTHER = image_of(about="other")

NOT_FOUND = (FailureCode.IMAGE_NOT_FOUND, "Requested image not found")
MISMATCH = (
    FailureCode.IMAGE_TAG_DOES_NOT_MATCH_DIGEST,
    "Invalid request parameters: given tag does not map to the given digest",
)
BAD_DIGEST = (
    FailureCode.INVALID_IMAGE_DIGEST,
    "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
)
BAD_TAG = (
    FailureCode.INVALID_IMAGE_TAG,
    "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9-_.]+'",
)
MISSING = (
    FailureCode.MISSING_DIGEST_AND_TAG,
    "Invalid request parameters: both tag and digest cannot be null",
)

FAILURES = [
    (ImageId(), MISSING),
    (by_tag("nothing"), NOT_FOUND),
    (ImageId(digest="sha256:" + "0" * 64), NOT_FOUND),
    (ImageId(digest="md5:AB"), NOT_FOUND),
    (both(IMAGE, "nothing"), NOT_FOUND),
    (both(OTHER, "v1"), MISMATCH),
    (ImageId(digest="sha256:" + "0" * 64, tag="v1"), MISMATCH),
    (ImageId(digest="junk"), BAD_DIGEST),
    (ImageId(digest=""), BAD_DIGEST),
    (ImageId(digest=digest(IMAGE) + "\n"), BAD_DIGEST),
    (ImageId(digest="sha256:\0", tag="v1"), BAD_DIGEST),
    (by_tag("a b"), BAD_TAG),
    (by_tag(""), BAD_TAG),
    (by_tag("v1\n"), BAD_TAG),
    (both(IMAGE, "\ud800"), BAD_TAG),
]


@pytest.fixture
async def gallery(databases: Databases) -> Gallery:
    """One image under v1 and v2, another under v3."""
    gallery = await Gallery(databases).open()
    await gallery.push(IMAGE, "v1", "v2")
    await gallery.push(OTHER, "v3")
    return gallery


async def got(gallery: Gallery, *image_ids: ImageId, accepted: Sequence[str] = ()) -> list[ImageId]:
    """The entries found, when nothing failed."""
    found, failures = await gallery.images.batch_get(gallery.grant, image_ids, accepted)
    assert failures == []
    for entry in found:
        assert entry.image_id.digest == str(Digest.of(entry.manifest.content))
    return [entry.image_id for entry in found]


async def deleted(
    gallery: Gallery, *image_ids: ImageId
) -> tuple[list[ImageId], list[tuple[ImageId, FailureCode, str]]]:
    gone, failures = await gallery.images.batch_delete(gallery.grant, image_ids)
    return gone, [(failure.image_id, failure.code, failure.reason) for failure in failures]


# --- get -------------------------------------------------------------------------------------------------------------


async def test_by_tag_one_entry_comes_back_under_that_tag(gallery: Gallery) -> None:
    assert await got(gallery, by_tag("v2")) == [both(IMAGE, "v2")]


async def test_by_digest_an_entry_comes_back_for_each_tag(gallery: Gallery) -> None:
    assert await got(gallery, by_digest(IMAGE)) == [both(IMAGE, "v1"), both(IMAGE, "v2")]


async def test_by_digest_an_untagged_image_comes_back_once(gallery: Gallery) -> None:
    await gallery.images.delete_tag(gallery.grant, "v3")
    assert await got(gallery, by_digest(OTHER)) == [both(OTHER)]


async def test_by_both_the_tag_is_echoed(gallery: Gallery) -> None:
    assert await got(gallery, both(IMAGE, "v1")) == [both(IMAGE, "v1")]


async def test_what_is_asked_twice_is_answered_once_in_the_order_of_the_question(gallery: Gallery) -> None:
    assert await got(gallery, by_tag("v3"), by_tag("v1"), by_tag("v3")) == [
        both(OTHER, "v3"),
        both(IMAGE, "v1"),
    ]


@pytest.mark.parametrize(("image_id", "failure"), FAILURES, ids=lambda value: ascii(value)[:60])
async def test_a_failure_echoes_what_was_asked_and_harms_no_other(
    gallery: Gallery, image_id: ImageId, failure: tuple[FailureCode, str]
) -> None:
    found, failures = await gallery.images.batch_get(gallery.grant, [image_id, by_tag("v1")], ())
    assert [entry.image_id for entry in found] == [both(IMAGE, "v1")]
    assert failures == [ImageFailure(image_id=image_id, code=failure[0], reason=failure[1])]


async def test_the_stored_manifest_comes_back_where_its_type_is_accepted_or_none_is_named(
    gallery: Gallery,
) -> None:
    assert await got(gallery, by_tag("v1"), accepted=[DOCKER_MANIFEST, OCI_MANIFEST]) == [both(IMAGE, "v1")]


async def test_by_digest_the_stored_manifest_comes_back_whatever_is_accepted(gallery: Gallery) -> None:
    assert await got(gallery, by_digest(OTHER), accepted=[DOCKER_MANIFEST]) == [both(OTHER, "v3")]


async def test_by_tag_a_manifest_of_another_type_is_not_found_since_nothing_is_converted(
    gallery: Gallery,
) -> None:
    found, failures = await gallery.images.batch_get(gallery.grant, [by_tag("v1")], [OCI_INDEX])
    assert found == []
    assert [(failure.code, failure.reason) for failure in failures] == [NOT_FOUND]


async def test_an_answer_is_bounded(gallery: Gallery) -> None:
    large = image_of(padding="x" * 3_900_000)
    await gallery.push(large, *(f"large{number}" for number in range(ANSWER_MAX_BYTES // len(large) + 1)))
    with pytest.raises(LimitExceeded):
        await gallery.images.batch_get(gallery.grant, [by_digest(large)], ())


# --- delete ----------------------------------------------------------------------------------------------------------


async def test_by_tag_one_of_several_tags_goes(gallery: Gallery) -> None:
    assert await deleted(gallery, by_tag("v1")) == ([both(IMAGE, "v1")], [])
    assert await gallery.tags_of(IMAGE) == ("v2",)


async def test_by_tag_with_the_last_tag_the_image_goes(gallery: Gallery) -> None:
    assert await deleted(gallery, by_tag("v3")) == ([both(OTHER, "v3")], [])
    assert await gallery.tags_of(OTHER) is None


async def test_by_digest_the_image_goes_with_every_tag(gallery: Gallery) -> None:
    assert await deleted(gallery, by_digest(IMAGE)) == ([both(IMAGE, "v1"), both(IMAGE, "v2")], [])
    assert await gallery.everything() == {digest(OTHER): ("v3",)}


async def test_by_digest_an_untagged_image_goes(gallery: Gallery) -> None:
    await gallery.images.delete_tag(gallery.grant, "v3")
    assert await deleted(gallery, by_digest(OTHER)) == ([both(OTHER)], [])


async def test_by_both_only_the_tag_goes(gallery: Gallery) -> None:
    assert await deleted(gallery, both(IMAGE, "v1")) == ([both(IMAGE, "v1")], [])
    assert await deleted(gallery, both(IMAGE, "v2")) == ([both(IMAGE, "v2")], [])
    assert await gallery.tags_of(IMAGE) is None


@pytest.mark.parametrize(
    "image_ids",
    [
        [by_tag("v1"), by_tag("v2")],
        [by_tag("v2"), by_tag("v1")],
        [by_digest(IMAGE), by_tag("v1")],
        [by_tag("v1"), by_digest(IMAGE)],
        [by_digest(IMAGE), by_digest(IMAGE)],
        [by_tag("v1"), both(IMAGE, "v1"), by_tag("v1"), by_digest(IMAGE), by_tag("v2")],
    ],
)
async def test_several_names_of_one_image_delete_it_once_without_a_failure(
    gallery: Gallery, image_ids: list[ImageId]
) -> None:
    gone, failures = await deleted(gallery, *image_ids)
    assert sorted(gone, key=lambda image_id: image_id.tag or "") == [both(IMAGE, "v1"), both(IMAGE, "v2")]
    assert failures == []
    assert await gallery.everything() == {digest(OTHER): ("v3",)}


@pytest.mark.parametrize(("image_id", "failure"), FAILURES, ids=lambda value: ascii(value)[:60])
async def test_a_failed_deletion_echoes_what_was_asked_and_harms_no_other(
    gallery: Gallery, image_id: ImageId, failure: tuple[FailureCode, str]
) -> None:
    assert await deleted(gallery, image_id, by_tag("v3")) == ([both(OTHER, "v3")], [(image_id, *failure)])
    assert await gallery.tags_of(IMAGE) == ("v1", "v2")


async def test_what_an_index_names_stays_and_says_why_by_digest_and_by_last_tag(gallery: Gallery) -> None:
    parents = [index_of(IMAGE, OTHER, annotations={"number": str(number)}) for number in range(2)]
    for parent in parents:
        await gallery.push(parent)
    reason = "Requested image referenced by manifest list: [" + ", ".join(sorted(map(digest, parents))) + "]"
    code = FailureCode.IMAGE_REFERENCED_BY_MANIFEST_LIST
    gone, failures = await deleted(gallery, by_digest(IMAGE), by_tag("v3"), both(OTHER, "v3"))
    assert gone == []
    assert failures == [
        (by_digest(IMAGE), code, reason),
        (by_tag("v3"), code, reason),
        (both(OTHER, "v3"), code, reason),
    ]
    assert await deleted(gallery, by_tag("v1"), by_tag("v2")) == (
        [both(IMAGE, "v1")],
        [(by_tag("v2"), code, reason)],
    )


async def test_deleting_an_index_leaves_its_children(gallery: Gallery) -> None:
    await gallery.push(index_of(IMAGE), "list")
    await deleted(gallery, by_tag("list"))
    assert await gallery.tags_of(IMAGE) == ("v1", "v2")


@pytest.mark.parametrize("backwards", [False, True])
async def test_nested_indexes_and_their_children_go_in_one_call_in_any_order(
    gallery: Gallery, *, backwards: bool
) -> None:
    inner = index_of(IMAGE, annotations={"a": "inner"})
    await gallery.push(inner)
    outer = index_of(inner, OTHER)
    await gallery.push(outer, "list")
    wanted = [by_digest(IMAGE), by_tag("v3"), by_digest(inner), by_tag("list")]
    gone, failures = await deleted(gallery, *(reversed(wanted) if backwards else wanted))
    assert failures == []
    assert len(gone) == 5
    assert await gallery.everything() == {}


async def test_what_somebody_else_deletes_between_two_units_is_not_found(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1")
    asked = [ImageId(tag="v1"), ImageId(digest=digest(IMAGE))]
    begun = await gallery.database.write(lambda connection: begin_deletion(connection, gallery.grant, asked))
    await gallery.images.batch_delete(gallery.grant, [ImageId(digest=digest(IMAGE))])
    ended = await gallery.database.write(
        lambda connection: delete_some(connection, gallery.grant, begun, limit=10)
    )
    assert not ended.pending
    deleted, failures = ended.outcome
    assert deleted == []
    assert [(failure.image_id, failure.code) for failure in failures] == [
        (each, FailureCode.IMAGE_NOT_FOUND) for each in asked
    ]


async def test_failures_come_in_the_order_of_the_question(gallery: Gallery) -> None:
    await gallery.push(index_of(IMAGE))
    asked = [by_tag("nothing"), by_digest(IMAGE), ImageId()]
    _, failures = await deleted(gallery, *asked)
    assert [image_id for image_id, _, _ in failures] == asked
