"""Layers through the AWS API."""

from typing import Any

import pytest

from openecr.testing.aws import AwsClient
from tests.unit.web.aws.conftest import ACCOUNT, refused
from tests.unit.web.aws.contents import LAYER, NO_UPLOAD, UNKNOWN, digest_of, push, upload


async def test_a_layer_is_uploaded_in_parts_whose_ranges_are_inclusive(ecr: AwsClient) -> None:
    started = await ecr.call("initiate_layer_upload", repositoryName="app")
    part: dict[str, Any] = {
        "repositoryName": "app",
        "uploadId": started["uploadId"],
        "partFirstByte": 0,
        "partLastByte": 99,
        "layerPartBlob": b"a" * 100,
    }
    first = await ecr.call("upload_layer_part", **part)
    last = await ecr.call(
        "upload_layer_part",
        **(part | {"partFirstByte": 100, "partLastByte": 100, "layerPartBlob": b"b"}),
    )
    content = b"a" * 100 + b"b"
    completed = await ecr.call(
        "complete_layer_upload",
        repositoryName="app",
        uploadId=started["uploadId"],
        layerDigests=[UNKNOWN, digest_of(content)],
    )

    assert started["partSize"] == 10_485_760
    assert (first["lastByteReceived"], last["lastByteReceived"]) == (99, 100)
    assert last["uploadId"] == started["uploadId"]
    assert (completed["registryId"], completed["repositoryName"]) == (ACCOUNT, "app")
    assert completed["layerDigest"] == digest_of(content)


async def test_a_part_at_the_wrong_place_says_where_to_go_on(ecr: AwsClient) -> None:
    started = await ecr.call("initiate_layer_upload", repositoryName="app")
    part: dict[str, Any] = {"repositoryName": "app", "uploadId": started["uploadId"]}
    await ecr.call("upload_layer_part", **part, partFirstByte=0, partLastByte=9, layerPartBlob=b"0123456789")

    with pytest.raises(ecr.client.exceptions.InvalidLayerPartException) as raised:
        await ecr.call("upload_layer_part", **part, partFirstByte=20, partLastByte=21, layerPartBlob=b"ab")

    answer = raised.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert answer["registryId"] == ACCOUNT
    assert answer["repositoryName"] == "app"
    assert answer["uploadId"] == started["uploadId"]
    assert answer["lastValidByteReceived"] == 9


@pytest.mark.parametrize(
    ("first", "last", "content", "code"),
    [
        (0, 9, b"short", "InvalidLayerPartException"),
        (0, 1, b"too long", "InvalidLayerPartException"),
        (5, 4, b"", "InvalidParameterException"),
        (-1, 4, b"12345", "InvalidParameterException"),
        (1 << 64, 1 << 64, b"1", "SerializationException"),
        (0, (1 << 63) - 1, b"1", "InvalidLayerPartException"),
        (0, 20_971_520, b"x" * 20_971_521, "InvalidParameterException"),
    ],
)
async def test_a_part_that_does_not_fit_its_range_is_refused_and_nothing_of_it_is_kept(
    ecr: AwsClient, first: int, last: int, content: bytes, code: str
) -> None:
    started = await ecr.call("initiate_layer_upload", repositoryName="app")
    part: dict[str, Any] = {"repositoryName": "app", "uploadId": started["uploadId"]}

    refusal = await refused(
        ecr, "upload_layer_part", **part, partFirstByte=first, partLastByte=last, layerPartBlob=content
    )
    again = await ecr.call("upload_layer_part", **part, partFirstByte=0, partLastByte=0, layerPartBlob=b"x")

    assert refusal[0] == code
    assert again["lastByteReceived"] == 0


async def test_the_largest_part_of_the_model_is_taken(ecr: AwsClient) -> None:
    content = b"x" * 20_971_520

    assert await upload(ecr, content, part_bytes=len(content)) == digest_of(content)


async def test_an_upload_that_nobody_opened_is_not_found(ecr: AwsClient) -> None:
    code, _ = await refused(
        ecr,
        "upload_layer_part",
        repositoryName="app",
        uploadId=NO_UPLOAD,
        partFirstByte=0,
        partLastByte=0,
        layerPartBlob=b"x",
    )
    completing = await refused(
        ecr, "complete_layer_upload", repositoryName="app", uploadId=NO_UPLOAD, layerDigests=[UNKNOWN]
    )
    malformed = await refused(
        ecr, "complete_layer_upload", repositoryName="app", uploadId="x", layerDigests=[UNKNOWN]
    )

    assert code == completing[0] == "UploadNotFoundException"
    assert malformed[0] == "InvalidParameterException"


async def test_completing_asks_for_parts_of_a_size_and_a_digest_that_fits(ecr: AwsClient) -> None:
    started = await ecr.call("initiate_layer_upload", repositoryName="app")
    session: dict[str, Any] = {"repositoryName": "app", "uploadId": started["uploadId"]}
    empty = await refused(ecr, "complete_layer_upload", **session, layerDigests=[UNKNOWN])
    await ecr.call("upload_layer_part", **session, partFirstByte=0, partLastByte=1, layerPartBlob=b"ab")
    wrong = await refused(ecr, "complete_layer_upload", **session, layerDigests=[UNKNOWN])
    unserved = await refused(ecr, "complete_layer_upload", **session, layerDigests=["md5:abcdef"])
    await ecr.call("upload_layer_part", **session, partFirstByte=2, partLastByte=2, layerPartBlob=b"c")
    small = await refused(ecr, "complete_layer_upload", **session, layerDigests=[digest_of(b"abc")])

    assert empty[0] == "EmptyUploadException"
    assert wrong == (
        "InvalidLayerException",
        "None of the provided layer digests match the calculated layer digest",
    )
    assert unserved == wrong
    assert small == (
        "LayerPartTooSmallException",
        "All layer parts except the last part should be at least 5MB",
    )


async def test_a_layer_that_is_there_already_is_told_so(ecr: AwsClient) -> None:
    await upload(ecr, b"layer")
    started = await ecr.call("initiate_layer_upload", repositoryName="app")
    session: dict[str, Any] = {"repositoryName": "app", "uploadId": started["uploadId"]}
    await ecr.call("upload_layer_part", **session, partFirstByte=0, partLastByte=4, layerPartBlob=b"layer")

    code, _ = await refused(ecr, "complete_layer_upload", **session, layerDigests=[digest_of(b"layer")])

    assert code == "LayerAlreadyExistsException"


async def test_availability_is_the_repositorys_and_malformed_digests_fail_alone(ecr: AwsClient) -> None:
    await push(ecr, b"layer")
    await ecr.call("create_repository", repositoryName="other")
    digests = [digest_of(b"layer"), UNKNOWN, "nonsense", ""]

    here = await ecr.call("batch_check_layer_availability", repositoryName="app", layerDigests=digests)
    there = await ecr.call("batch_check_layer_availability", repositoryName="other", layerDigests=digests[:1])

    assert here["layers"] == [
        {
            "layerDigest": digests[0],
            "layerAvailability": "AVAILABLE",
            "layerSize": 5,
            "mediaType": LAYER,
        },
        {"layerDigest": UNKNOWN, "layerAvailability": "UNAVAILABLE"},
    ]
    assert [(each["layerDigest"], each["failureCode"]) for each in here["failures"]] == [
        ("nonsense", "InvalidLayerDigest"),
        ("", "MissingLayerDigest"),
    ]
    assert there["layers"][0]["layerAvailability"] == "UNAVAILABLE"
    assert there["failures"] == []


async def test_a_download_url_needs_a_layer_that_an_image_refers_to(ecr: AwsClient) -> None:
    await upload(ecr, b"alone")
    alone = await refused(
        ecr, "get_download_url_for_layer", repositoryName="app", layerDigest=digest_of(b"alone")
    )
    unknown = await refused(ecr, "get_download_url_for_layer", repositoryName="app", layerDigest=UNKNOWN)
    unserved = await refused(ecr, "get_download_url_for_layer", repositoryName="app", layerDigest="md5:ab")
    await push(ecr, b"alone")
    given = await ecr.call(
        "get_download_url_for_layer", repositoryName="app", layerDigest=digest_of(b"alone")
    )

    assert alone[0] == "LayerInaccessibleException"
    assert unknown == (
        "LayersNotFoundException",
        (
            f"The layer with digest '{UNKNOWN}' does not exist within the repository "
            "with name 'app' in the registry with id '000000000000'"
        ),
    )
    assert unserved[0] == "LayersNotFoundException"
    assert given["downloadUrl"].startswith("http://localhost:5050/layers/")
    assert given["layerDigest"] == digest_of(b"alone")
