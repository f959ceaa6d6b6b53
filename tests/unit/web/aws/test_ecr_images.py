"""Images through the AWS API."""

from typing import Any

import pytest

from openecr.testing.aws import AwsClient
from tests.unit.web.aws.conftest import ACCOUNT, House, refused
from tests.unit.web.aws.contents import (
    CONFIG,
    IMAGE,
    NO_UPLOAD,
    UNKNOWN,
    digest_of,
    index,
    manifest,
    pages,
    push,
    upload,
)


async def test_an_image_is_kept_byte_for_byte(ecr: AwsClient) -> None:
    await upload(ecr, b"{}")
    await upload(ecr, b"layer")
    document = manifest(b"layer") + "\n "

    put = await ecr.call("put_image", repositoryName="app", imageManifest=document, imageTag="v1")
    got = await ecr.call("batch_get_image", repositoryName="app", imageIds=[{"imageTag": "v1"}])

    assert put["image"] == {
        "registryId": ACCOUNT,
        "repositoryName": "app",
        "imageId": {"imageDigest": digest_of(document), "imageTag": "v1"},
        "imageManifest": document,
        "imageManifestMediaType": IMAGE,
    }
    assert got["images"] == [put["image"]]
    assert got["failures"] == []


async def test_the_same_image_under_the_same_tag_exists_already(ecr: AwsClient) -> None:
    document = await push(ecr, b"layer", tag="v1")
    again: dict[str, Any] = {"repositoryName": "app", "imageManifest": document}

    same = await refused(ecr, "put_image", **again, imageTag="v1")
    untagged = await refused(ecr, "put_image", **again)
    other = await ecr.call("put_image", **again, imageTag="v2")

    for answer, tag in ((same, "v1"), (untagged, "null")):
        assert answer == (
            "ImageAlreadyExistsException",
            (
                f"Image with digest '{digest_of(document)}' and tag '{tag}' already exists "
                "in the repository with name 'app' in registry with id '000000000000'"
            ),
        )
    assert other["image"]["imageId"]["imageTag"] == "v2"


async def test_what_a_manifest_names_must_be_there(ecr: AwsClient) -> None:
    layers = await refused(ecr, "put_image", repositoryName="app", imageManifest=manifest(b"none"))
    images = await refused(ecr, "put_image", repositoryName="app", imageManifest=index(manifest()))

    assert layers[0] == "LayersNotFoundException"
    assert f"Layers with digests '[{digest_of(b'{}')}, {digest_of(b'none')}]' required" in layers[1]
    assert images[0] == "ReferencedImagesNotFoundException"
    assert f"Images with digests '[{digest_of(manifest())}]' required for pushing image" in images[1]


@pytest.mark.parametrize("document", ["{", "[]", "null", '"x"', "{}", '{"schemaVersion": 2}', "\ud800", "é"])
async def test_what_is_no_manifest_is_refused_in_ecrs_words(ecr: AwsClient, document: str) -> None:
    answer = await refused(ecr, "put_image", repositoryName="app", imageManifest=document)

    assert answer in {
        (
            "InvalidParameterException",
            "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
        ),
        ("SerializationException", "The request body is not valid JSON."),
    }


async def test_a_digest_that_is_not_the_manifests_is_refused(ecr: AwsClient) -> None:
    document = await push(ecr, b"layer", tag="v1")

    wrong = await refused(
        ecr, "put_image", repositoryName="app", imageManifest=document, imageTag="v2", imageDigest=UNKNOWN
    )
    right = await ecr.call(
        "put_image",
        repositoryName="app",
        imageManifest=document,
        imageTag="v2",
        imageDigest=digest_of(document),
    )

    assert wrong[0] == "ImageDigestDoesNotMatchException"
    assert right["image"]["imageId"]["imageDigest"] == digest_of(document)


async def test_an_immutable_tag_stays_and_an_excluded_one_moves(ecr: AwsClient) -> None:
    await ecr.call(
        "put_image_tag_mutability",
        repositoryName="app",
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "dev*"}],
    )
    await push(ecr, b"one", tag="v1")
    await push(ecr, b"two", tag="dev-1")
    other = await push(ecr, b"three")

    kept = await refused(ecr, "put_image", repositoryName="app", imageManifest=other, imageTag="v1")
    moved = await ecr.call("put_image", repositoryName="app", imageManifest=other, imageTag="dev-1")

    assert kept == (
        "ImageTagAlreadyExistsException",
        (
            "The image tag 'v1' already exists in the 'app' repository "
            "and cannot be overwritten because the tag is immutable."
        ),
    )
    assert moved["image"]["imageId"]["imageDigest"] == digest_of(other)


@pytest.mark.parametrize("tag", ["", "a b", "a/b", "ü", "a" * 301, "a\n"])
async def test_a_malformed_tag_is_refused(ecr: AwsClient, tag: str) -> None:
    code, message = await refused(
        ecr, "put_image", repositoryName="app", imageManifest=manifest(), imageTag=tag
    )

    assert code == "InvalidParameterException"
    assert message.startswith("Invalid parameter at 'imageTag' failed to satisfy constraint: 'must ")


async def test_a_batch_answers_each_id_on_its_own(ecr: AwsClient) -> None:
    one, two = await push(ecr, b"one", tag="v1"), await push(ecr, b"two", tag="v2")
    asked: list[dict[str, str]] = [
        {"imageTag": "v1"},
        {"imageTag": "gone"},
        {"imageDigest": UNKNOWN},
        {"imageDigest": digest_of(two), "imageTag": "v1"},
        {"imageDigest": "nonsense"},
        {"imageTag": "not a tag"},
        {},
    ]

    got = await ecr.call("batch_get_image", repositoryName="app", imageIds=asked)

    assert [each["imageId"] for each in got["images"]] == [{"imageDigest": digest_of(one), "imageTag": "v1"}]
    assert [(each["imageId"], each["failureCode"]) for each in got["failures"]] == [
        (asked[1], "ImageNotFound"),
        (asked[2], "ImageNotFound"),
        (asked[3], "ImageTagDoesNotMatchDigest"),
        (asked[4], "InvalidImageDigest"),
        (asked[5], "InvalidImageTag"),
        (asked[6], "MissingDigestAndTag"),
    ]
    assert got["failures"][0]["failureReason"] == "Requested image not found"


async def test_an_image_is_got_once_for_each_of_its_tags(ecr: AwsClient) -> None:
    document = await push(ecr, b"one", tag="v1")
    await ecr.call("put_image", repositoryName="app", imageManifest=document, imageTag="v2")

    got = await ecr.call(
        "batch_get_image", repositoryName="app", imageIds=[{"imageDigest": digest_of(document)}]
    )

    assert [each["imageId"]["imageTag"] for each in got["images"]] == ["v1", "v2"]


async def test_deleting_the_last_tag_deletes_the_image(ecr: AwsClient) -> None:
    document = await push(ecr, b"one", tag="v1")

    deleted = await ecr.call("batch_delete_image", repositoryName="app", imageIds=[{"imageTag": "v1"}])
    listed = await ecr.call("list_images", repositoryName="app")

    assert deleted["imageIds"] == [{"imageDigest": digest_of(document), "imageTag": "v1"}]
    assert deleted["failures"] == []
    assert listed["imageIds"] == []


async def test_a_child_of_an_index_is_kept(ecr: AwsClient) -> None:
    child = await push(ecr, b"one")
    parent = index(child)
    await ecr.call("put_image", repositoryName="app", imageManifest=parent)

    deleted = await ecr.call(
        "batch_delete_image", repositoryName="app", imageIds=[{"imageDigest": digest_of(child)}]
    )

    assert deleted["imageIds"] == []
    assert deleted["failures"] == [
        {
            "imageId": {"imageDigest": digest_of(child)},
            "failureCode": "ImageReferencedByManifestList",
            "failureReason": f"Requested image referenced by manifest list: [{digest_of(parent)}]",
        }
    ]


async def test_an_image_is_described_whole(ecr: AwsClient, house: House) -> None:
    document = await push(ecr, b"one", tag="v1")

    described = await ecr.call("describe_images", repositoryName="app", imageIds=[{"imageTag": "v1"}])
    (detail,) = described["imageDetails"]

    assert detail.pop("imagePushedAt").timestamp() == pytest.approx(house.clock.now() / 1e6)
    assert detail == {
        "registryId": ACCOUNT,
        "repositoryName": "app",
        "imageDigest": digest_of(document),
        "imageTags": ["v1"],
        "imageSizeInBytes": len(b"{}") + len(b"one"),
        "imageManifestMediaType": IMAGE,
        "artifactMediaType": CONFIG,
        "imageStatus": "ACTIVE",
    }


async def test_a_missing_image_fails_the_whole_description(ecr: AwsClient) -> None:
    document = await push(ecr, b"one", tag="v1")

    missing = await refused(
        ecr, "describe_images", repositoryName="app", imageIds=[{"imageTag": "v1"}, {"imageTag": "v2"}]
    )
    mismatched = await refused(
        ecr, "describe_images", repositoryName="app", imageIds=[{"imageTag": "v1", "imageDigest": UNKNOWN}]
    )
    malformed = await refused(
        ecr, "describe_images", repositoryName="app", imageIds=[{"imageDigest": "nonsense"}]
    )

    assert document
    assert missing == (
        "ImageNotFoundException",
        (
            "The image with imageId {imageDigest:'null', imageTag:'v2'} does not exist "
            "within the repository with name 'app' in the registry with id '000000000000'"
        ),
    )
    assert mismatched[0] == "ImageNotFoundException"
    assert malformed[0] == "InvalidParameterException"


async def test_filters_select_and_pages_concatenate_to_the_list(ecr: AwsClient) -> None:
    tagged = [await push(ecr, bytes([number]), tag=f"v{number}") for number in range(3)]
    bare = [await push(ecr, bytes([number])) for number in range(3, 5)]
    await ecr.call("put_image", repositoryName="app", imageManifest=tagged[0], imageTag="latest")
    ids: list[tuple[str, str | None]] = [
        (digest_of(each), f"v{number}") for number, each in enumerate(tagged)
    ]
    ids.append((digest_of(tagged[0]), "latest"))
    ids += [(digest_of(each), None) for each in bare]

    listed = await pages(ecr, "list_images", "imageIds", maxResults=2)
    untagged = await pages(ecr, "list_images", "imageIds", maxResults=1, filter={"tagStatus": "UNTAGGED"})
    details = await pages(
        ecr, "describe_images", "imageDetails", maxResults=1, filter={"tagStatus": "TAGGED"}
    )

    found = [(each["imageDigest"], each.get("imageTag")) for each in listed]
    assert sorted(found, key=str) == sorted(ids, key=str)
    assert {each["imageDigest"] for each in untagged} == {digest_of(each) for each in bare}
    assert sorted(each["imageDigest"] for each in details) == sorted(map(digest_of, tagged))


@pytest.mark.parametrize("operation", ["list_images", "describe_images"])
@pytest.mark.parametrize(("status", "count"), [("ACTIVE", 1), ("ANY", 1), ("ARCHIVED", 0), ("ACTIVATING", 0)])
async def test_no_image_is_archived(ecr: AwsClient, operation: str, status: str, count: int) -> None:
    await push(ecr, b"one", tag="v1")

    answer = await ecr.call(operation, repositoryName="app", filter={"imageStatus": status})

    assert len(answer["imageIds" if operation == "list_images" else "imageDetails"]) == count


async def test_image_ids_and_paging_exclude_each_other(ecr: AwsClient) -> None:
    code, message = await refused(
        ecr, "describe_images", repositoryName="app", imageIds=[{"imageTag": "v1"}], maxResults=1
    )

    assert code == "InvalidParameterException"
    assert message.startswith("Invalid parameter at 'maxResults'")


async def test_referrers_are_listed_by_type_and_page(ecr: AwsClient) -> None:
    subject = await push(ecr, b"one", tag="v1")
    reference = {"mediaType": IMAGE, "digest": digest_of(subject), "size": len(subject)}
    referrers = [
        await push(
            ecr,
            b"one",
            subject=reference,
            artifactType=f"text/{kind}",
            annotations={"number": str(number)},
        )
        for number, kind in enumerate(("sbom", "sbom", "signature"))
    ]
    subject_id = {"imageDigest": digest_of(subject)}

    sboms = await pages(
        ecr,
        "list_image_referrers",
        "referrers",
        subjectId=subject_id,
        maxResults=1,
        filter={"artifactTypes": ["text/sbom"]},
    )
    everything = await pages(ecr, "list_image_referrers", "referrers", subjectId=subject_id)
    nothing = await pages(ecr, "list_image_referrers", "referrers", subjectId={"imageDigest": UNKNOWN})
    unserved = await pages(ecr, "list_image_referrers", "referrers", subjectId={"imageDigest": "md5:ab"})

    assert {each["digest"] for each in sboms} == {digest_of(each) for each in referrers[:2]}
    assert {each["digest"] for each in everything} == {digest_of(each) for each in referrers}
    signature = next(each for each in everything if each["digest"] == digest_of(referrers[2]))
    assert signature == {
        "digest": digest_of(referrers[2]),
        "mediaType": IMAGE,
        "artifactType": "text/signature",
        "size": len(referrers[2]),
        "annotations": {"number": "2"},
        "artifactStatus": "ACTIVE",
    }
    assert nothing == unserved == []


REPOSITORY_CALLS: dict[str, dict[str, Any]] = {
    "put_image": {"imageManifest": manifest()},
    "batch_get_image": {"imageIds": [{"imageTag": "v1"}]},
    "batch_delete_image": {"imageIds": [{"imageTag": "v1"}]},
    "describe_images": {},
    "list_images": {"filter": {"imageStatus": "ARCHIVED"}},
    "list_image_referrers": {"subjectId": {"imageDigest": "md5:ab"}},
    "batch_check_layer_availability": {"layerDigests": ["nonsense"]},
    "initiate_layer_upload": {},
    "upload_layer_part": {
        "uploadId": NO_UPLOAD,
        "partFirstByte": 0,
        "partLastByte": 0,
        "layerPartBlob": b"x",
    },
    "complete_layer_upload": {"uploadId": NO_UPLOAD, "layerDigests": [UNKNOWN]},
    "get_download_url_for_layer": {"layerDigest": "md5:ab"},
    "put_image_tag_mutability": {"imageTagMutability": "MUTABLE"},
    "put_image_scanning_configuration": {"imageScanningConfiguration": {}},
    "delete_repository": {},
}


@pytest.mark.parametrize("operation", sorted(REPOSITORY_CALLS))
async def test_a_repository_that_is_not_there_is_told_by_every_operation(
    house: House, operation: str
) -> None:
    answer = await refused(house.client(), operation, repositoryName="missing", **REPOSITORY_CALLS[operation])

    assert answer == (
        "RepositoryNotFoundException",
        "The repository with name 'missing' does not exist in the registry with id '000000000000'",
    )


async def test_a_long_answer_is_whole(ecr: AwsClient) -> None:
    documents = [await push(ecr, b"layer", annotations={"text": str(each) * 40_000}) for each in range(3)]

    got = await ecr.call(
        "batch_get_image",
        repositoryName="app",
        imageIds=[{"imageDigest": digest_of(document)} for document in documents],
    )

    assert [each["imageManifest"] for each in got["images"]] == documents
