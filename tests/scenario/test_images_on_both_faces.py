"""Images pushed by one face are the same images in the other."""

import hashlib
import json
import urllib.parse
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, Driver, authorization, opened_driver
from tests.scenario.images import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    Registry,
    SmallImage,
    digest_of,
    error_of,
)
from tests.scenario.storages import EVERY_SETUP, Storages


@pytest.fixture(scope="module", params=EVERY_SETUP, ids=str)
def driver(
    request: pytest.FixtureRequest, storages: Storages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    with opened_driver(request.param, storages, tmp_path_factory.mktemp("faces")) as opened:
        yield opened


def _registry(driver: Driver, repository: str, **settings: object) -> Registry:
    ecr = driver.client()
    ecr.create_repository(repositoryName=repository, **settings)
    return Registry(driver, authorization(ecr), repository)


def test_an_image_pushed_by_docker_is_described_by_aws(driver: Driver) -> None:
    registry = _registry(driver, "faces/pushed")
    image = SmallImage.named("pushed by docker")

    digest = registry.push(image, "v1")

    (detail,) = driver.client().describe_images(repositoryName="faces/pushed")["imageDetails"]
    assert detail["imageDigest"] == digest
    assert detail["imageTags"] == ["v1"]
    assert detail["imageSizeInBytes"] == len(image.config) + len(image.layer)
    assert detail["imageManifestMediaType"] == MANIFEST_TYPE
    assert detail["artifactMediaType"] == CONFIG_TYPE
    assert "lastRecordedPullTime" not in detail


def test_a_pull_is_byte_for_byte_what_was_pushed_and_is_remembered(driver: Driver) -> None:
    registry = _registry(driver, "faces/pulled")
    image = SmallImage.named("pulled")
    digest = registry.push(image, "v1")

    by_tag = registry.call("GET", "/manifests/v1")
    by_digest = registry.call("GET", f"/manifests/{digest}")
    layer = registry.call("GET", f"/blobs/{digest_of(image.layer)}")

    assert by_tag.body == by_digest.body == image.manifest()
    assert by_tag.headers["docker-content-digest"] == digest
    assert layer.body == image.layer
    (detail,) = driver.client().describe_images(repositoryName="faces/pulled")["imageDetails"]
    assert detail["lastRecordedPullTime"] >= detail["imagePushedAt"]


def test_an_image_pushed_through_the_aws_api_is_pulled_by_docker(driver: Driver) -> None:
    registry = _registry(driver, "faces/aws")
    ecr = driver.client()
    image = SmallImage.named("through the API")
    for content in (image.config, image.layer):
        upload = ecr.initiate_layer_upload(repositoryName="faces/aws")
        ecr.upload_layer_part(
            repositoryName="faces/aws",
            uploadId=upload["uploadId"],
            partFirstByte=0,
            partLastByte=len(content) - 1,
            layerPartBlob=content,
        )
        ecr.complete_layer_upload(
            repositoryName="faces/aws", uploadId=upload["uploadId"], layerDigests=[digest_of(content)]
        )

    put = ecr.put_image(repositoryName="faces/aws", imageManifest=image.manifest().decode(), imageTag="v1")

    assert put["image"]["imageId"] == {"imageDigest": digest_of(image.manifest()), "imageTag": "v1"}
    assert registry.call("GET", "/manifests/v1").body == image.manifest()
    assert registry.call("GET", f"/blobs/{digest_of(image.layer)}").body == image.layer


def test_a_download_url_gives_the_layer_and_stops_when_the_image_is_gone(driver: Driver) -> None:
    registry = _registry(driver, "faces/download")
    image = SmallImage.named("downloaded")
    digest = registry.push(image, "v1")
    ecr = driver.client()

    url = ecr.get_download_url_for_layer(repositoryName="faces/download", layerDigest=digest_of(image.layer))
    path = urllib.parse.urlsplit(url["downloadUrl"]).path

    whole = driver.http("GET", path)
    assert (whole.body, whole.headers["cache-control"]) == (image.layer, "private, no-store")
    assert driver.http("GET", path, headers={"range": "bytes=1-3"}).body == image.layer[1:4]
    assert driver.http("GET", path[:-2]).status == 403
    ecr.batch_delete_image(repositoryName="faces/download", imageIds=[{"imageDigest": digest}])
    ecr.delete_repository(repositoryName="faces/download", force=True)
    ecr.create_repository(repositoryName="faces/download")
    assert driver.http("GET", path).status in {403, 404}


def test_an_immutable_tag_is_refused_on_both_faces_in_the_same_words(driver: Driver) -> None:
    registry = _registry(driver, "faces/immutable", imageTagMutability="IMMUTABLE")
    registry.push(SmallImage.named("first"), "v1")
    second = SmallImage.named("second")
    registry.push_blob(second.config)
    registry.push_blob(second.layer)
    text = (
        "The image tag 'v1' already exists in the 'faces/immutable' repository "
        "and cannot be overwritten because the tag is immutable."
    )

    refused = registry.call("PUT", "/manifests/v1", second.manifest(), content_type=MANIFEST_TYPE)
    with pytest.raises(ClientError) as raised:
        driver.client().put_image(
            repositoryName="faces/immutable", imageManifest=second.manifest().decode(), imageTag="v1"
        )

    assert error_of(refused) == (400, "TAG_INVALID", text)
    assert raised.value.response["Error"] == {"Code": "ImageTagAlreadyExistsException", "Message": text}


def test_an_index_needs_its_children_and_keeps_them(driver: Driver) -> None:
    registry = _registry(driver, "faces/index")
    child = registry.push(SmallImage.named("child"), "child")
    size_bytes = len(SmallImage.named("child").manifest())
    descriptor = {"mediaType": MANIFEST_TYPE, "digest": child, "size": size_bytes}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor]}).encode()
    missing = index.replace(child.encode(), digest_of(b"nothing").encode())

    refused = registry.call("PUT", "/manifests/all", missing, content_type=INDEX_TYPE)
    pushed = registry.call("PUT", "/manifests/all", index, content_type=INDEX_TYPE)
    deleted = driver.client().batch_delete_image(
        repositoryName="faces/index", imageIds=[{"imageDigest": child}]
    )

    assert refused.status in {400, 404}
    assert "required for pushing image into repository with name 'faces/index'" in error_of(refused)[2]
    assert pushed.status == 201
    assert deleted["failures"][0]["failureCode"] == "ImageReferencedByManifestList"
    assert (
        deleted["failures"][0]["failureReason"]
        == f"Requested image referenced by manifest list: [{digest_of(index)}]"
    )


def test_referrers_are_the_same_on_both_faces(driver: Driver) -> None:
    registry = _registry(driver, "faces/referrers")
    subject = registry.push(SmallImage.named("subject"), "v1")
    sbom = SmallImage.named("sbom")
    referrer = registry.push(
        sbom,
        "sbom",
        artifactType="application/spdx+json",
        annotations={"made-by": "a scenario"},
        subject={"mediaType": MANIFEST_TYPE, "digest": subject, "size": 1},
    )

    listed = registry.call("GET", f"/referrers/{subject}")
    (through_aws,) = driver.client().list_image_referrers(
        repositoryName="faces/referrers", subjectId={"imageDigest": subject}
    )["referrers"]

    assert listed.headers["content-type"] == INDEX_TYPE
    assert f'"{referrer}"' in listed.body.decode()
    assert through_aws["digest"] == referrer
    assert through_aws["artifactType"] == "application/spdx+json"
    assert through_aws["annotations"] == {"made-by": "a scenario"}


def test_deleting_the_last_tag_through_aws_deletes_the_image(driver: Driver) -> None:
    registry = _registry(driver, "faces/last-tag")
    digest = registry.push(SmallImage.named("last tag"), "v1")

    answer = driver.client().batch_delete_image(
        repositoryName="faces/last-tag", imageIds=[{"imageTag": "v1"}]
    )

    assert answer["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}]
    assert error_of(registry.call("GET", f"/manifests/{digest}")) == (
        404,
        "MANIFEST_UNKNOWN",
        "Requested image not found",
    )


def test_a_sha512_blob_is_kept_under_its_own_digest(driver: Driver) -> None:
    registry = _registry(driver, "faces/sha512")
    content = b"hashed at commit"
    digest = f"sha512:{hashlib.sha512(content).hexdigest()}"

    answer = registry.call("PUT", f"{registry.start_upload()}?digest={digest}", content)

    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == digest
    assert registry.call("GET", f"/blobs/{digest}").body == content
    assert registry.call("HEAD", f"/blobs/{digest_of(content)}").status == 404


def test_an_unknown_repository_is_told_in_the_same_words(driver: Driver) -> None:
    ecr = driver.client()
    registry = Registry(driver, authorization(ecr), "faces/unknown")
    text = f"The repository with name 'faces/unknown' does not exist in the registry with id '{ACCOUNT}'"

    with pytest.raises(ClientError) as raised:
        ecr.list_images(repositoryName="faces/unknown")

    assert raised.value.response["Error"] == {"Code": "RepositoryNotFoundException", "Message": text}
    for method, path in (("POST", "/blobs/uploads/"), ("GET", "/manifests/v1"), ("GET", "/tags/list")):
        assert error_of(registry.call(method, path)) == (404, "NAME_UNKNOWN", text)
