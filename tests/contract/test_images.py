"""Images are pushed, pulled and deleted by ECR's rules, in one transaction each, on both databases."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import bindparam, func, select, update

from openecr.application.images import PutRules
from openecr.application.limits import Limits
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    ImageAlreadyExists,
    ImageDigestDoesNotMatch,
    ImageTagAlreadyExists,
    InvalidManifest,
    InvalidParameter,
    LayersNotFound,
    LimitExceeded,
    ManifestNotFound,
    ManifestTooLarge,
    ReferencedImagesNotFound,
    RepositoryNotFound,
)
from openecr.domain.manifests import DOCKER_MANIFEST, DOCKER_SCHEMA_1, OCI_MANIFEST
from openecr.domain.repositories import TagMutability, TagMutabilitySetting
from openecr.store.connections import Connection
from openecr.store.statements import Statement
from openecr.store.tables import BLOBS, IMAGE_BLOBS, IMAGE_CHILDREN, IMAGE_TAGS, IMAGES, MANIFESTS
from tests.contract.databases import Databases
from tests.contract.galleries import (
    CONFIG_TYPE,
    IMMUTABLE,
    NOW,
    Gallery,
    blob_digest,
    by_tag,
    descriptor,
    digest,
    grant_for,
    image_of,
    index_of,
)

IMAGE = image_of()
OTHER = image_of(about="other")
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"


@pytest.fixture
async def gallery(databases: Databases) -> Gallery:
    return await Gallery(databases).open()


def opened_with(databases: Databases, **limits: Any) -> Any:
    return Gallery(databases, replace(Limits(), **limits)).open()


# --- what a push stores ----------------------------------------------------------------------------------------------


async def test_a_pushed_image_is_found_by_tag_and_by_digest_to_the_byte(gallery: Gallery) -> None:
    put = await gallery.push(IMAGE, "v1")
    assert put.manifest.digest == Digest.of(IMAGE)
    for reference in ("v1", Digest.of(IMAGE)):
        found = await gallery.images.find_manifest(gallery.grant, reference)
        assert found is not None
        assert found == put.manifest
        assert (found.content, found.media_type) == (IMAGE, OCI_MANIFEST)


async def test_a_push_tells_what_was_recorded(gallery: Gallery) -> None:
    content = image_of(subject=descriptor("subject", OCI_MANIFEST), artifactType="application/x-sbom")
    put = await gallery.push(content, "b", "a")
    assert put.image.repository_id == gallery.grant.require_repository().id
    assert (put.image.digest, put.image.media_type) == (Digest.of(content), OCI_MANIFEST)
    assert put.image.artifact_type == "application/x-sbom"
    assert put.image.subject == Digest.parse(blob_digest("subject"))
    assert put.image.size_bytes == len("config") + len("layer")
    assert put.image.manifest_size_bytes == len(content)
    assert put.image.pushed_at == NOW
    assert put.image.tags == ("a", "b")
    described = await gallery.images.describe(gallery.grant, [by_tag("a")])
    assert described == [put.image]


async def test_an_index_is_as_large_as_its_largest_child(gallery: Gallery) -> None:
    await gallery.hold("a much longer layer")
    large = image_of(layers=["layer", "a much longer layer"])
    await gallery.push(IMAGE)
    await gallery.push(large)
    inner = await gallery.push(index_of(IMAGE, large))
    assert inner.image.size_bytes == len("configlayera much longer layer")
    outer = await gallery.push(index_of(inner.manifest.content, IMAGE))
    assert outer.image.size_bytes == inner.image.size_bytes
    empty = await gallery.push(index_of())
    assert empty.image.size_bytes == 0


async def test_what_is_not_there_is_none_or_an_error(gallery: Gallery) -> None:
    assert await gallery.images.find_manifest(gallery.grant, "v1") is None
    with pytest.raises(ManifestNotFound, match=r"^Requested image not found$"):
        await gallery.images.get_manifest(gallery.grant, Digest.of(IMAGE))


async def test_repositories_share_no_images_tags_or_blobs(gallery: Gallery, databases: Databases) -> None:
    await gallery.push(IMAGE, "v1")
    other = Gallery(databases)
    await other.open("shop/other")
    assert await other.images.find_manifest(other.grant, "v1") is None
    await gallery.hold("ours")
    with pytest.raises(LayersNotFound):
        await other.push(image_of(layers=["ours"]), "v1")
    await other.push(IMAGE, "v1")
    await other.images.delete_manifest(other.grant, Digest.of(IMAGE))
    assert await gallery.tags_of(IMAGE) == ("v1",)


async def test_large_manifests_are_stored_like_small_ones(gallery: Gallery) -> None:
    content = image_of(padding="x" * 3_900_000)
    assert (await gallery.push(content, "v1")).image.manifest_size_bytes == len(content)
    found = await gallery.images.get_manifest(gallery.grant, "v1")
    assert found.content == content


async def test_a_missing_repository_is_told_before_anything_else(databases: Databases) -> None:
    gallery = Gallery(databases)
    with pytest.raises(RepositoryNotFound):
        await gallery.push(b"junk", "!")


async def test_a_repository_that_was_deleted_meanwhile_takes_no_push_though_a_namesake_lives(
    gallery: Gallery, databases: Databases
) -> None:
    await gallery.repositories.delete(gallery.grant, force=True)
    namesake = await Gallery(databases).open()
    with pytest.raises(RepositoryNotFound):
        await gallery.push(IMAGE, "v1")
    with pytest.raises(RepositoryNotFound):
        await gallery.images.delete_tag(gallery.grant, "v1")
    with pytest.raises(RepositoryNotFound):
        await gallery.images.delete_manifest(gallery.grant, Digest.of(IMAGE))
    with pytest.raises(RepositoryNotFound):
        await gallery.images.batch_delete(gallery.grant, [by_tag("v1")])
    assert await namesake.everything() == {}


# --- what a push refuses ---------------------------------------------------------------------------------------------


async def test_bytes_that_are_no_manifest_are_refused(gallery: Gallery) -> None:
    with pytest.raises(InvalidManifest, match="Invalid JSON syntax"):
        await gallery.push(b"junk", "v1")
    with pytest.raises(InvalidManifest):
        await gallery.push(IMAGE, "v1", media_type=DOCKER_MANIFEST)


async def test_limits_on_manifests_are_the_registrys(databases: Databases) -> None:
    gallery = await opened_with(databases, manifest_max_bytes=len(IMAGE), manifest_references=1)
    await gallery.push(IMAGE)
    with pytest.raises(ManifestTooLarge):
        await gallery.push(IMAGE + b" ")


@pytest.mark.parametrize("tag", ["", "-a", ".a", "a b", "a/b", "ä", "a\n", "a:b", "x" * 129, "a\0"])
async def test_a_malformed_tag_is_refused(gallery: Gallery, tag: str) -> None:
    with pytest.raises(InvalidParameter, match="'imageTag'"):
        await gallery.push(IMAGE, tag)


async def test_missing_config_and_layers_are_named_once_in_the_order_of_the_manifest(
    gallery: Gallery,
) -> None:
    content = image_of("no config", ["z", "layer", "a", "z"])
    missing = [blob_digest("no config"), blob_digest("z"), blob_digest("a")]
    with pytest.raises(LayersNotFound) as caught:
        await gallery.push(content, "v1")
    assert caught.value.message == (
        f"Layers with digests '[{', '.join(missing)}]' required for pushing image into repository with name "
        "'shop/app' in the registry with id '000000000000' do not exist"
    )
    assert await gallery.everything() == {}


async def test_missing_children_are_named_once_in_the_order_of_the_index(gallery: Gallery) -> None:
    await gallery.push(IMAGE)
    missing = [blob_digest("z"), blob_digest("a")]
    with pytest.raises(ReferencedImagesNotFound) as caught:
        await gallery.push(index_of(missing[0], IMAGE, missing[1], missing[0]), "v1")
    assert caught.value.message == (
        f"Images with digests '[{', '.join(missing)}]' required for pushing image into repository with name "
        "'shop/app' in the registry with id '000000000000' do not exist"
    )


async def test_layers_of_an_index_are_no_children(gallery: Gallery) -> None:
    with pytest.raises(ReferencedImagesNotFound):
        await gallery.push(index_of(blob_digest("layer")), "v1")


async def test_a_layer_whose_bytes_were_lost_must_be_pushed_again(gallery: Gallery) -> None:
    lose = Statement(update(BLOBS).where(BLOBS.c.digest == bindparam("the_digest")).values(state="lost"))
    await gallery.database.write(lambda connection: connection.execute(lose, the_digest=blob_digest("layer")))
    with pytest.raises(LayersNotFound):
        await gallery.push(IMAGE, "v1")
    await gallery.hold("layer")
    await gallery.push(IMAGE, "v1")


async def test_a_subject_need_not_exist(gallery: Gallery) -> None:
    await gallery.push(image_of(subject=descriptor("nowhere", OCI_MANIFEST)), "v1")


async def test_a_foreign_layer_need_not_exist_but_is_kept_where_it_does(gallery: Gallery) -> None:
    foreign = [descriptor(name, FOREIGN, urls=["https://example.com"]) for name in ("away", "here")]
    await gallery.hold("here")
    await gallery.push(
        image_of(layers=[]) and json.dumps(json.loads(IMAGE) | {"layers": foreign}).encode(), "v1"
    )
    assert not await gallery.drop("here")
    assert not await gallery.drop("away")


async def test_layers_of_an_image_are_kept_and_those_of_a_deleted_one_are_not(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1")
    assert not await gallery.drop("layer")
    assert not await gallery.drop("config")
    await gallery.images.delete_manifest(gallery.grant, Digest.of(IMAGE))
    assert await gallery.drop("layer")


async def test_schema_1_is_stored_with_its_layers(gallery: Gallery) -> None:
    content = json.dumps({"schemaVersion": 1, "fsLayers": [{"blobSum": blob_digest("layer")}]}).encode()
    put = await gallery.push(content, "old", media_type=DOCKER_SCHEMA_1)
    assert put.manifest.media_type == DOCKER_SCHEMA_1
    assert not await gallery.drop("layer")


# --- digests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", PutRules)
async def test_a_digest_that_is_not_the_bytes_is_refused(gallery: Gallery, rules: PutRules) -> None:
    for given in (digest(OTHER), "sha256:abc", "md5:" + "a" * 32, "junk"):
        with pytest.raises(ImageDigestDoesNotMatch) as caught:
            await gallery.push(IMAGE, "v1", digest=given, rules=rules)
        assert caught.value.message == (
            f"The provided image digest '{given}' does not match the computed one '{digest(IMAGE)}'"
        )
    await gallery.push(IMAGE, "v1", digest=digest(IMAGE), rules=rules)


async def test_by_the_rules_of_the_registry_an_image_keeps_the_digest_under_which_it_was_pushed(
    gallery: Gallery,
) -> None:
    wanted = Digest.of(IMAGE, "sha512")
    put = await gallery.push(IMAGE, digest=str(wanted))
    assert put.manifest.digest == wanted
    found = await gallery.images.find_manifest(gallery.grant, wanted)
    assert found is not None
    assert found.digest == wanted
    assert await gallery.images.find_manifest(gallery.grant, Digest.of(IMAGE)) is None


async def test_by_the_rules_of_aws_digests_are_sha256(gallery: Gallery) -> None:
    with pytest.raises(ImageDigestDoesNotMatch):
        await gallery.push(IMAGE, digest=str(Digest.of(IMAGE, "sha512")), rules=PutRules.AWS)


# --- pushing again ---------------------------------------------------------------------------------------------------


async def test_on_the_registry_pushing_the_same_again_changes_nothing(gallery: Gallery) -> None:
    first = await gallery.push(IMAGE, "v1")
    gallery.clock.move(seconds=60)
    assert await gallery.push(IMAGE, "v1") == first
    assert (await gallery.push(IMAGE)).image.tags == ("v1",)
    assert await gallery.everything() == {digest(IMAGE): ("v1",)}


async def test_by_aws_rules_pushing_the_same_again_is_a_conflict(gallery: Gallery) -> None:
    await gallery.push(IMAGE, "v1", rules=PutRules.AWS)
    for tags, named in ((["v1"], "v1"), ([], "null")):
        with pytest.raises(ImageAlreadyExists) as caught:
            await gallery.push(IMAGE, *tags, rules=PutRules.AWS)
        assert caught.value.message == (
            f"Image with digest '{digest(IMAGE)}' and tag '{named}' already exists in the repository with name "
            "'shop/app' in registry with id '000000000000'"
        )


@pytest.mark.parametrize("rules", PutRules)
async def test_a_second_tag_is_added_and_the_time_of_the_push_stays(
    gallery: Gallery, rules: PutRules
) -> None:
    await gallery.push(IMAGE, "v1", rules=rules)
    gallery.clock.move(seconds=60)
    put = await gallery.push(IMAGE, "v2", rules=rules)
    assert (put.image.tags, put.image.pushed_at) == (("v1", "v2"), NOW)


@pytest.mark.parametrize("rules", PutRules)
async def test_a_tag_moves_and_leaves_the_old_image_untagged(gallery: Gallery, rules: PutRules) -> None:
    await gallery.push(IMAGE, "v1", rules=rules)
    await gallery.push(OTHER, "v1", rules=rules)
    assert await gallery.everything() == {digest(IMAGE): (), digest(OTHER): ("v1",)}


async def test_an_image_keeps_the_type_under_which_it_was_first_pushed(gallery: Gallery) -> None:
    document = json.loads(IMAGE)
    del document["mediaType"]
    content = json.dumps(document).encode()
    await gallery.push(content, "v1", media_type=DOCKER_MANIFEST)
    put = await gallery.push(content, "v2", media_type=OCI_MANIFEST)
    assert put.manifest.media_type == DOCKER_MANIFEST


# --- immutable tags --------------------------------------------------------------------------------------------------

REFUSED = (
    "The image tag 'v1' already exists in the 'shop/app' repository and cannot be overwritten because the tag is "
    "immutable."
)


@pytest.mark.parametrize("rules", PutRules)
async def test_an_immutable_tag_does_not_move(gallery: Gallery, rules: PutRules) -> None:
    await gallery.push(IMAGE, "v1")
    await gallery.change(IMMUTABLE)
    with pytest.raises(ImageTagAlreadyExists) as caught:
        await gallery.push(OTHER, "v1", rules=rules)
    assert caught.value.message == REFUSED
    assert await gallery.everything() == {digest(IMAGE): ("v1",)}


async def test_the_unchanged_image_under_an_immutable_tag_is_refused_by_either_rule_in_its_own_words(
    gallery: Gallery,
) -> None:
    await gallery.change(IMMUTABLE)
    await gallery.push(IMAGE, "v1")
    with pytest.raises(ImageTagAlreadyExists):
        await gallery.push(IMAGE, "v1", rules=PutRules.REGISTRY)
    with pytest.raises(ImageAlreadyExists):
        await gallery.push(IMAGE, "v1", rules=PutRules.AWS)


@pytest.mark.parametrize("rules", PutRules)
async def test_immutability_hinders_no_new_tag_no_untagged_push_and_no_deletion(
    gallery: Gallery, rules: PutRules
) -> None:
    await gallery.change(IMMUTABLE)
    await gallery.push(IMAGE, "v1", rules=rules)
    await gallery.push(IMAGE, "v2", rules=rules)
    await gallery.push(OTHER, rules=rules)
    await gallery.images.delete_tag(gallery.grant, "v1")
    await gallery.push(OTHER, "v1", rules=rules)
    assert await gallery.everything() == {digest(IMAGE): ("v2",), digest(OTHER): ("v1",)}


async def test_of_several_tags_one_that_is_immutable_stops_them_all(gallery: Gallery) -> None:
    await gallery.change(
        TagMutabilitySetting(mode=TagMutability.MUTABLE_WITH_EXCLUSION, exclusion_filters=("v*",))
    )
    await gallery.push(IMAGE, "latest", "v1")
    with pytest.raises(ImageTagAlreadyExists):
        await gallery.push(OTHER, "latest", "new", "v1")
    assert await gallery.everything() == {digest(IMAGE): ("latest", "v1")}
    await gallery.push(OTHER, "latest", "new", "v2")
    assert await gallery.everything() == {digest(IMAGE): ("v1",), digest(OTHER): ("latest", "new", "v2")}


@pytest.mark.parametrize("rules", PutRules)
async def test_a_push_that_was_authorized_before_its_tag_became_immutable_does_not_move_it(
    gallery: Gallery, rules: PutRules
) -> None:
    await gallery.push(IMAGE, "v1", "latest")
    authorized = gallery.grant
    await gallery.change(
        TagMutabilitySetting(mode=TagMutability.IMMUTABLE_WITH_EXCLUSION, exclusion_filters=("v*",))
    )
    gallery.grant = authorized
    with pytest.raises(ImageTagAlreadyExists):
        await gallery.push(OTHER, "latest", rules=rules)
    await gallery.push(OTHER, "v1", rules=rules)
    assert await gallery.everything() == {digest(IMAGE): ("latest",), digest(OTHER): ("v1",)}


async def test_what_is_missing_is_told_before_immutability(gallery: Gallery) -> None:
    await gallery.change(IMMUTABLE)
    await gallery.push(IMAGE, "v1")
    with pytest.raises(LayersNotFound):
        await gallery.push(image_of(layers=["nowhere"]), "v1")


# --- quotas ----------------------------------------------------------------------------------------------------------


async def test_a_full_repository_takes_tags_but_no_further_image(databases: Databases) -> None:
    gallery = await opened_with(databases, images_per_repository=2)
    await gallery.push(IMAGE, "v1")
    await gallery.push(OTHER)
    await gallery.push(IMAGE, "v2")
    with pytest.raises(LimitExceeded) as caught:
        await gallery.push(image_of(about="third"), "v3")
    assert caught.value.message == (
        "The repository with name 'shop/app' in registry with id '000000000000' already has the maximum allowed "
        "number of images which is '2'"
    )
    await gallery.images.delete_manifest(gallery.grant, Digest.of(OTHER))
    await gallery.push(image_of(about="third"), "v3")


async def test_an_image_has_no_more_tags_than_its_quota(databases: Databases) -> None:
    gallery = await opened_with(databases, tags_per_image=2)
    await gallery.push(IMAGE, "a", "b")
    await gallery.push(IMAGE, "a")
    with pytest.raises(LimitExceeded) as caught:
        await gallery.push(IMAGE, "c")
    assert caught.value.message == (
        "Adding tag 'c' to an image in the repository with name 'shop/app' in registry with id '000000000000' "
        "exceeds the maximum allowed number of tags per image which is '2'"
    )
    assert await gallery.tags_of(IMAGE) == ("a", "b")


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "artifact_type"), [({}, CONFIG_TYPE), ({"artifactType": "application/x"}, "application/x")]
)
async def test_the_artifact_type_is_recorded(
    gallery: Gallery, more: dict[str, Any], artifact_type: str
) -> None:
    assert (await gallery.push(image_of(**more))).image.artifact_type == artifact_type


async def test_nothing_of_a_refused_push_is_stored(gallery: Gallery) -> None:
    await gallery.change(IMMUTABLE)
    await gallery.push(IMAGE, "v1")
    with pytest.raises(ImageTagAlreadyExists):
        await gallery.push(OTHER, "v2", "v1")
    tables = (IMAGES, MANIFESTS, IMAGE_TAGS, IMAGE_BLOBS, IMAGE_CHILDREN)

    def count(connection: Connection) -> list[int]:
        rows = [connection.fetch_one(Statement(select(func.count()).select_from(table))) for table in tables]
        return [0 if row is None else row[0] for row in rows]

    assert await gallery.database.scan(count) == [1, 1, 1, 2, 0]


async def test_the_grant_decides_which_repository(gallery: Gallery) -> None:
    with pytest.raises(RepositoryNotFound, match="'shop/none'"):
        await gallery.images.find_manifest(grant_for("shop/none"), "v1")
