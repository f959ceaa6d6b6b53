"""The doors of the matrix: every way in, by every way to name a thing."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from openecr.domain.digests import Digest
from openecr.domain.manifests import OCI_INDEX, OCI_MANIFEST
from openecr.testing.aws import content_of
from tests.contract.cities import Answered, Person, arn_of, policy
from tests.contract.galleries import CONFIG_TYPE, LAYER_TYPE
from tests.contract.people import UPLOAD

LAYER, CONFIG = b"a layer of the matrix", b"{}"
MORE = b"another layer"
FOR_EVERYBODY = policy({"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"})

Attempt = Callable[[Person, str], Awaitable[Answered]]


def digest_of(content: bytes) -> str:
    return str(Digest.of(content))


def manifest(about: str) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(CONFIG), "size": len(CONFIG)},
            "layers": [{"mediaType": LAYER_TYPE, "digest": digest_of(LAYER), "size": len(LAYER)}],
            "annotations": {"about": about},
        }
    ).encode()


def index_of(child: bytes) -> bytes:
    named = {"mediaType": OCI_MANIFEST, "digest": digest_of(child), "size": len(child)}
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named]}).encode()


FIRST = manifest("first")
INDEX = index_of(FIRST)


@dataclass(frozen=True, slots=True)
class Door:
    """One way in. All of `actions` are needed, or any of them.

    `changes`: it has an effect; `of_root`: on what is root's, and for others is not there; `makes`: what is not there.
    """

    name: str
    actions: tuple[str, ...]
    attempt: Attempt
    any_of: bool = False
    changes: bool = False
    of_root: bool = False
    makes: bool = False


def _on_arn(operation: str, **given: Any) -> Attempt:
    return lambda person, name: person.may(operation, resourceArn=arn_of(person.account_id, name), **given)


def _get(path: str, method: str = "GET", **headers: str) -> Attempt:
    return lambda person, name: person.ask(method, f"/v2/{name}/{path}", b"", **headers)


def _aws(operation: str, **given: Any) -> Attempt:
    return lambda person, name: person.may(
        operation, registryId=person.account_id, repositoryName=name, **given
    )


async def _through_the_index(person: Person, name: str) -> Answered:
    """As docker pulls an image of several platforms: the index by its tag, then the child by its digest."""
    found = await person.ask("GET", f"/v2/{name}/manifests/many")
    if found.status != 200:
        return found
    child = json.loads(found.body)["manifests"][0]["digest"]
    return await person.ask("GET", f"/v2/{name}/manifests/{child}")


async def _download(person: Person, name: str) -> Answered:
    given = await person.may(
        "get_download_url_for_layer",
        registryId=person.account_id,
        repositoryName=name,
        layerDigest=digest_of(LAYER),
    )
    if given.status != 200:
        return given
    url = urlsplit(str(json.loads(given.body)["downloadUrl"]))
    response = await person.city.send("GET", url.path, b"", {})
    assert await content_of(response) == LAYER
    return given


def _path_of_root(person: Person, name: str) -> str:
    return person.city.begun.get(name, f"/v2/{name}/blobs/uploads/00000000-0000-0000-0000-000000000000")


def _upload_of_root(method: str, query: str = "", body: bytes = b"") -> Attempt:
    """An upload that root began is nobody else's, whatever he may do."""
    return lambda person, name: person.ask(method, _path_of_root(person, name) + query, body)


def _aws_upload_of_root(operation: str, **given: Any) -> Attempt:
    def attempt(person: Person, name: str) -> Awaitable[Answered]:
        upload_id = _path_of_root(person, name).rpartition("/")[2]
        return _aws(operation, uploadId=upload_id, **given)(person, name)

    return attempt


async def _put(person: Person, name: str) -> Answered:
    return await person.ask("PUT", f"/v2/{name}/manifests/new", manifest("new"), content_type=OCI_MANIFEST)


async def _put_by_digest(person: Person, name: str) -> Answered:
    content = manifest("untagged")
    return await person.ask(
        "PUT", f"/v2/{name}/manifests/{digest_of(content)}", content, content_type=OCI_MANIFEST
    )


async def _push_blob(person: Person, name: str) -> Answered:
    return await person.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(MORE)}", MORE)


READS = (
    Door("GET manifest by tag", ("BatchGetImage",), _get("manifests/v1")),
    Door("GET manifest by digest", ("BatchGetImage",), _get(f"manifests/{digest_of(FIRST)}")),
    Door("HEAD manifest", ("BatchGetImage",), _get("manifests/v1", "HEAD")),
    Door("GET through an index", ("BatchGetImage",), _through_the_index),
    Door("BatchGetImage by tag", ("BatchGetImage",), _aws("batch_get_image", imageIds=[{"imageTag": "v1"}])),
    Door(
        "BatchGetImage by digest",
        ("BatchGetImage",),
        _aws("batch_get_image", imageIds=[{"imageDigest": digest_of(FIRST)}]),
    ),
    Door("GET referrers", ("BatchGetImage",), _get(f"referrers/{digest_of(FIRST)}")),
    Door("GET blob", ("GetDownloadUrlForLayer",), _get(f"blobs/{digest_of(LAYER)}")),
    Door(
        "GET range of a blob",
        ("GetDownloadUrlForLayer",),
        _get(f"blobs/{digest_of(LAYER)}", range="bytes=2-5"),
    ),
    Door("GetDownloadUrlForLayer and its URL", ("GetDownloadUrlForLayer",), _download),
    Door(
        "HEAD blob",
        ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer"),
        _get(f"blobs/{digest_of(LAYER)}", "HEAD"),
        any_of=True,
    ),
    Door(
        "BatchCheckLayerAvailability",
        ("BatchCheckLayerAvailability",),
        _aws("batch_check_layer_availability", layerDigests=[digest_of(LAYER)]),
    ),
    Door("GET tags", ("ListImages",), _get("tags/list")),
    Door("ListImages", ("ListImages",), _aws("list_images")),
    Door("DescribeImages", ("DescribeImages",), _aws("describe_images")),
    Door(
        "DescribeRepositories",
        ("DescribeRepositories",),
        lambda person, name: person.may(
            "describe_repositories", registryId=person.account_id, repositoryNames=[name]
        ),
    ),
    Door(
        "ListImageReferrers",
        ("BatchGetImage",),
        _aws("list_image_referrers", subjectId={"imageDigest": digest_of(FIRST)}),
    ),
    Door("ListTagsForResource", ("ListTagsForResource",), _on_arn("list_tags_for_resource")),
    Door("GetRepositoryPolicy", ("GetRepositoryPolicy",), _aws("get_repository_policy")),
)
WRITES = (
    Door("POST upload", ("InitiateLayerUpload",), _get("blobs/uploads/", "POST"), changes=True),
    Door("POST upload, at once", tuple(sorted(UPLOAD)), _push_blob, changes=True),
    Door("GET upload of root", ("UploadLayerPart",), _upload_of_root("GET"), of_root=True),
    Door(
        "PATCH upload of root",
        ("UploadLayerPart",),
        _upload_of_root("PATCH", body=b"x"),
        changes=True,
        of_root=True,
    ),
    Door(
        "UploadLayerPart of root",
        ("UploadLayerPart",),
        _aws_upload_of_root("upload_layer_part", partFirstByte=1, partLastByte=1, layerPartBlob=b"y"),
        changes=True,
        of_root=True,
    ),
    Door(
        "CompleteLayerUpload of root by a digest that it has not",
        ("CompleteLayerUpload",),
        _aws_upload_of_root("complete_layer_upload", layerDigests=[digest_of(b"z")]),
        of_root=True,
    ),
    Door(
        "PUT upload of root by a digest that it has not",
        ("CompleteLayerUpload",),
        _upload_of_root("PUT", f"?digest={digest_of(b'z')}"),
        of_root=True,
    ),
    Door(
        "PUT upload, with a body of root",
        ("CompleteLayerUpload", "UploadLayerPart"),
        _upload_of_root("PUT", f"?digest={digest_of(b'xyz')}", b"z"),
        changes=True,
        of_root=True,
    ),
    Door("PUT manifest by tag", ("PutImage",), _put, changes=True),
    Door("PUT manifest by digest", ("PutImage",), _put_by_digest, changes=True),
    Door(
        "PutImage",
        ("PutImage",),
        _aws("put_image", imageManifest=manifest("aws").decode(), imageTag="aws"),
        changes=True,
    ),
    Door("DELETE manifest by tag", ("BatchDeleteImage",), _get("manifests/doomed", "DELETE"), changes=True),
    Door(
        "BatchDeleteImage",
        ("BatchDeleteImage",),
        _aws("batch_delete_image", imageIds=[{"imageTag": "doomed-too"}]),
        changes=True,
    ),
    Door("DELETE blob", ("BatchDeleteImage",), _get(f"blobs/{digest_of(MORE)}", "DELETE"), changes=True),
    Door("InitiateLayerUpload", ("InitiateLayerUpload",), _aws("initiate_layer_upload"), changes=True),
    Door(
        "TagResource",
        ("TagResource",),
        _on_arn("tag_resource", tags=[{"Key": "seen", "Value": "yes"}]),
        changes=True,
    ),
    Door("UntagResource", ("UntagResource",), _on_arn("untag_resource", tagKeys=["seen"]), changes=True),
    Door(
        "SetRepositoryPolicy",
        ("SetRepositoryPolicy",),
        _aws("set_repository_policy", policyText=FOR_EVERYBODY),
        changes=True,
    ),
    Door(
        "DeleteRepositoryPolicy", ("DeleteRepositoryPolicy",), _aws("delete_repository_policy"), changes=True
    ),
    Door(
        "PutImageScanningConfiguration",
        ("PutImageScanningConfiguration",),
        _aws("put_image_scanning_configuration", imageScanningConfiguration={"scanOnPush": True}),
        changes=True,
    ),
    Door(
        "PutImageTagMutability",
        ("PutImageTagMutability",),
        _aws("put_image_tag_mutability", imageTagMutability="IMMUTABLE"),
        changes=True,
    ),
)
ENDS = (
    Door(
        "DELETE upload of root", ("UploadLayerPart",), _upload_of_root("DELETE"), changes=True, of_root=True
    ),
    Door("DeleteRepository", ("DeleteRepository",), _aws("delete_repository", force=True), changes=True),
    Door("CreateRepository", ("CreateRepository",), _aws("create_repository"), changes=True, makes=True),
)
"""Afterwards nothing is as it was: they come last, and in this order."""
