"""boto3 and a server: the AWS face alone, and images that go in by one face and out by the other."""

import hashlib
import http
import http.client
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients import images, texts
from tests.clients.commands import Shell
from tests.clients.images import MEBIBYTE
from tests.clients.plain_registry import PlainRegistry, holds_exactly
from tests.requirements import require_tool
from tests.running import ACCOUNT, RunningServer

PART_BYTES = 10 * MEBIBYTE


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool("skopeo")


@pytest.fixture(scope="module", params=["http", "https"])
def endpoint(request: pytest.FixtureRequest) -> RunningServer:
    server: RunningServer = request.getfixturevalue("server" if request.param == "http" else "tls_server")
    return server


def upload_layer(ecr: Any, repository_name: str, content: bytes) -> str:
    """Upload a layer part by part, as a script of AWS's guide does; gives its digest."""
    upload_id = ecr.initiate_layer_upload(repositoryName=repository_name)["uploadId"]
    for start in range(0, len(content), PART_BYTES):
        part = content[start : start + PART_BYTES]
        answer = ecr.upload_layer_part(
            repositoryName=repository_name,
            uploadId=upload_id,
            partFirstByte=start,
            partLastByte=start + len(part) - 1,
            layerPartBlob=part,
        )
        assert answer["lastByteReceived"] == start + len(part) - 1
    digest = images.digest_of(content)
    done = ecr.complete_layer_upload(
        repositoryName=repository_name, uploadId=upload_id, layerDigests=[digest]
    )
    assert done["layerDigest"] == digest
    return digest


def put(ecr: Any, repository_name: str, tag: str, image: images.Image) -> None:
    """Upload all of an image through the AWS face."""
    for content in image.blobs().values():
        upload_layer(ecr, repository_name, content)
    answer = ecr.put_image(
        repositoryName=repository_name,
        imageManifest=image.manifest.decode(),
        imageManifestMediaType=image.media_type,
        imageTag=tag,
    )
    assert answer["image"]["imageId"] == {"imageDigest": image.digest, "imageTag": tag}


def plain_get(url: str, server: RunningServer, **headers: str) -> tuple[int, bytes]:
    """Fetch a URL with no credentials but its own."""
    parts = urllib.parse.urlsplit(url)
    assert parts.port == server.port
    connection = server.connection()
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_layers_uploaded_in_parts_are_pulled_by_skopeo(
    server: RunningServer, shell: Shell, tmp_path: Path
) -> None:
    uri = server.create_repository("boto3/parts")
    image = images.heavy_image(24 * MEBIBYTE, seed=3)
    put(server.client(), "boto3/parts", "v1", image)
    login = ("skopeo", "login", "--tls-verify=false", "--username", "AWS", "--password-stdin", server.host)
    shell.run(*login, stdin=server.password())
    copy = ("skopeo", "copy", "--src-tls-verify=false", "--preserve-digests", f"docker://{uri}:v1")
    shell.run(*copy, f"oci:{tmp_path / 'pulled'}:v1")
    assert images.read_layout(tmp_path / "pulled") == image.contents()


def test_pushed_layers_are_downloaded_by_their_urls(endpoint: RunningServer) -> None:
    endpoint.create_repository("boto3/urls")
    image = images.mixed_image()
    with PlainRegistry(endpoint) as registry:
        registry.push("boto3/urls", "v1", image)
    ecr = endpoint.client()
    for digest, content in image.blobs().items():
        answer = ecr.get_download_url_for_layer(repositoryName="boto3/urls", layerDigest=digest)
        assert answer["layerDigest"] == digest
        assert plain_get(answer["downloadUrl"], endpoint) == (http.HTTPStatus.OK, content)
        status, some = plain_get(answer["downloadUrl"], endpoint, Range="bytes=10-19")
        assert (status, some) == (http.HTTPStatus.PARTIAL_CONTENT, content[10:20])


def test_a_download_url_is_good_for_its_own_layer_only(server: RunningServer) -> None:
    server.create_repository("boto3/sealed")
    image = images.debian_image()
    with PlainRegistry(server) as registry:
        registry.push("boto3/sealed", "v1", image)
    first, second = (layer.digest for layer in image.layers[:2])
    answer = server.client().get_download_url_for_layer(repositoryName="boto3/sealed", layerDigest=first)
    url = str(answer["downloadUrl"])
    tampered = url[:-2] + ("AA" if url[-2:] != "AA" else "BB")
    assert plain_get(tampered, server)[0] in {http.HTTPStatus.FORBIDDEN, http.HTTPStatus.BAD_REQUEST}
    if first in url:
        assert plain_get(url.replace(first, second), server)[0] == http.HTTPStatus.FORBIDDEN


def test_a_download_url_ends_with_its_repository(server: RunningServer) -> None:
    server.create_repository("boto3/short")
    image = images.debian_image()
    with PlainRegistry(server) as registry:
        registry.push("boto3/short", "v1", image)
    ecr = server.client()
    answer = ecr.get_download_url_for_layer(repositoryName="boto3/short", layerDigest=image.layers[0].digest)
    ecr.delete_repository(repositoryName="boto3/short", force=True)
    status, body = plain_get(answer["downloadUrl"], server)
    assert status in {http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND}
    assert len(body) < MEBIBYTE


def test_an_index_put_by_boto3_is_served_to_registry_clients(endpoint: RunningServer) -> None:
    endpoint.create_repository("boto3/index")
    index = images.multi_platform_index()
    ecr = endpoint.client()
    for image in index.images:
        with PlainRegistry(endpoint) as registry:
            registry.push("boto3/index", image.digest, image)
    ecr.put_image(
        repositoryName="boto3/index",
        imageManifest=index.manifest.decode(),
        imageManifestMediaType=index.media_type,
        imageTag="v1",
    )
    assert holds_exactly(endpoint, "boto3/index", "v1", index)


def test_repositories_and_images_are_paged_through(endpoint: RunningServer) -> None:
    ecr = endpoint.client()
    names = [f"boto3/paged/{number}" for number in range(7)]
    for name in names:
        endpoint.create_repository(name)
    pages = list(ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 3}))
    found = [repository["repositoryName"] for page in pages for repository in page["repositories"]]
    assert len(pages) > 2
    assert set(names) <= set(found)
    assert len(set(found)) == len(found)
    image = images.debian_image()
    with PlainRegistry(endpoint) as registry:
        registry.push(names[0], "v0", image)
        for number in range(1, 7):
            registry.push_manifest(names[0], f"v{number}", image.manifest, image.media_type)
    listed = ecr.get_paginator("list_images").paginate(
        repositoryName=names[0], PaginationConfig={"PageSize": 2}
    )
    tags = sorted(entry["imageTag"] for page in listed for entry in page["imageIds"])
    assert tags == [f"v{number}" for number in range(7)]
    described = ecr.get_paginator("describe_images").paginate(repositoryName=names[0])
    (detail,) = [detail for page in described for detail in page["imageDetails"]]
    assert sorted(detail["imageTags"]) == tags


def test_batch_calls_answer_for_each_item(server: RunningServer) -> None:
    server.create_repository("boto3/batch")
    image = images.debian_image()
    with PlainRegistry(server) as registry:
        registry.push("boto3/batch", "v1", image)
    ecr = server.client()
    absent = images.digest_of(b"absent")
    layers = ecr.batch_check_layer_availability(
        repositoryName="boto3/batch", layerDigests=[image.layers[0].digest, absent, "nonsense"]
    )
    availability = {layer["layerDigest"]: layer["layerAvailability"] for layer in layers["layers"]}
    assert availability == {image.layers[0].digest: "AVAILABLE", absent: "UNAVAILABLE"}
    assert [failure["failureCode"] for failure in layers["failures"]] == ["InvalidLayerDigest"]
    found = ecr.batch_get_image(
        repositoryName="boto3/batch",
        imageIds=[{"imageTag": "v1"}, {"imageTag": "v2"}, {"imageDigest": absent}],
    )
    assert [entry["imageManifest"].encode() for entry in found["images"]] == [image.manifest]
    assert {failure["failureCode"] for failure in found["failures"]} == {"ImageNotFound"}
    deleted = ecr.batch_delete_image(
        repositoryName="boto3/batch", imageIds=[{"imageDigest": image.digest}, {"imageTag": "v2"}]
    )
    assert deleted["imageIds"] == [{"imageDigest": image.digest, "imageTag": "v1"}]
    assert [failure["failureCode"] for failure in deleted["failures"]] == ["ImageNotFound"]


def test_a_manifest_without_its_layers_is_refused(server: RunningServer) -> None:
    server.create_repository("boto3/missing")
    image = images.debian_image()
    with pytest.raises(ClientError) as refused:
        server.client().put_image(
            repositoryName="boto3/missing", imageManifest=image.manifest.decode(), imageTag="v1"
        )
    assert refused.value.response["Error"]["Code"] == "LayersNotFoundException"


def test_a_part_out_of_order_names_the_byte_to_go_on_from(server: RunningServer) -> None:
    server.create_repository("boto3/order")
    ecr = server.client()
    upload_id = ecr.initiate_layer_upload(repositoryName="boto3/order")["uploadId"]
    content = b"x" * 100
    ecr.upload_layer_part(
        repositoryName="boto3/order",
        uploadId=upload_id,
        partFirstByte=0,
        partLastByte=99,
        layerPartBlob=content,
    )
    with pytest.raises(ClientError) as refused:
        ecr.upload_layer_part(
            repositoryName="boto3/order",
            uploadId=upload_id,
            partFirstByte=500,
            partLastByte=599,
            layerPartBlob=content,
        )
    assert refused.value.response["Error"]["Code"] == "InvalidLayerPartException"
    assert dict(refused.value.response)["lastValidByteReceived"] == 99


def test_an_immutable_tag_is_refused_in_ecrs_words(server: RunningServer) -> None:
    server.create_repository("boto3/immutable", imageTagMutability="IMMUTABLE")
    ecr = server.client()
    put(ecr, "boto3/immutable", "v1", images.debian_image())
    other = images.debian_image(another="image")
    upload_layer(ecr, "boto3/immutable", other.config)
    with pytest.raises(ClientError) as refused:
        ecr.put_image(repositoryName="boto3/immutable", imageManifest=other.manifest.decode(), imageTag="v1")
    error = refused.value.response["Error"]
    assert (error["Code"], error["Message"]) == (
        "ImageTagAlreadyExistsException",
        texts.immutable_tag("boto3/immutable", "v1"),
    )


def test_the_authorization_token_names_the_registrys_endpoint(endpoint: RunningServer) -> None:
    (authorization,) = endpoint.client().get_authorization_token()["authorizationData"]
    assert authorization["proxyEndpoint"] == endpoint.url


def test_a_presigned_identity_call_is_answered(server: RunningServer) -> None:
    sts = server.client("sts")
    assert sts.get_caller_identity()["Account"] == ACCOUNT
    url = sts.generate_presigned_url("get_caller_identity", Params={}, ExpiresIn=60, HttpMethod="GET")
    status, body = plain_get(url, server)
    assert status == http.HTTPStatus.OK
    assert f"<Account>{ACCOUNT}</Account>".encode() in body


def test_the_account_setting_lets_layers_be_mounted(server: RunningServer) -> None:
    ecr = server.client()
    ecr.put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    assert ecr.get_account_setting(name="BLOB_MOUNTING")["value"] == "ENABLED"
    server.create_repository("boto3/from")
    server.create_repository("boto3/to")
    image = images.debian_image()
    with PlainRegistry(server) as registry:
        registry.push("boto3/from", "v1", image)
        digest = image.layers[0].digest
        path = f"/v2/boto3/to/blobs/uploads/?mount={digest}&from=boto3/from"
        answer = registry.request("POST", path, b"")
        assert answer.status == http.HTTPStatus.CREATED
        assert hashlib.sha256(registry.blob("boto3/to", digest)).hexdigest() == digest.removeprefix("sha256:")
        ecr.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
        path = f"/v2/boto3/to/blobs/uploads/?mount={image.layers[1].digest}&from=boto3/from"
        assert registry.request("POST", path, b"").status == http.HTTPStatus.ACCEPTED
