"""Images: put, got, deleted, listed and described."""

from typing import Any

from openecr.application.images import PutRules
from openecr.domain.digests import Digest
from openecr.domain.images import Image, ImageFailure, ImageId, Referrer, TaggedManifest, TagStatus
from openecr.web.aws.call import Call, Output, Parameters, Services
from openecr.web.aws.pages import next_token, page_request, refuse_paging

DEFAULT_REFERRERS = 20
"""ECR API, ListImageReferrers: the length of a page where maxResults is not given."""

_ACTIVE = "ACTIVE"
_ANY = "ANY"


async def put_image(services: Services, call: Call) -> Output:
    """Store a manifest, byte for byte, under a tag or under none."""
    parameters = call.parameters
    tag = parameters.get("imageTag")
    put = await services.images.put(
        call.grant,
        parameters["imageManifest"].encode(),
        media_type=parameters.get("imageManifestMediaType"),
        tags=() if tag is None else (tag,),
        digest=parameters.get("imageDigest"),
        rules=PutRules.AWS,
    )
    return {
        "image": {
            **_repository_members(call),
            "imageId": {"imageDigest": str(put.image.digest), "imageTag": tag},
            "imageManifest": parameters["imageManifest"],
            "imageManifestMediaType": put.manifest.media_type,
        }
    }


async def batch_get_image(services: Services, call: Call) -> Output:
    """Return manifests, and a failure for each id that names none."""
    found, failures = await services.images.batch_get(
        call.grant, _image_ids(call.parameters), call.parameters.get("acceptedMediaTypes") or ()
    )
    return {
        "images": [_manifest(call, each) for each in found],
        "failures": [_failure(each) for each in failures],
    }


async def batch_delete_image(services: Services, call: Call) -> Output:
    """Delete tags and images, and return a failure for each id that stays."""
    deleted, failures = await services.images.batch_delete(call.grant, _image_ids(call.parameters))
    return {
        "imageIds": [_image_id(each) for each in deleted],
        "failures": [_failure(each) for each in failures],
    }


async def describe_images(services: Services, call: Call) -> Output:
    """Return what is known of the images that are named, or of a page of all of them."""
    if "imageIds" in call.parameters:
        refuse_paging(call, "imageIds")
        named = await services.images.describe(call.grant, _image_ids(call.parameters))
        return {"imageDetails": [_detail(call, image) for image in named]}
    request = page_request(call)
    if not _asks_for_active(call, "imageStatus"):
        call.grant.require_repository()
        return {"imageDetails": []}
    page = await services.images.list_images(call.grant, _tag_status(call), request)
    return {
        "imageDetails": [_detail(call, image) for image in page.items],
        "nextToken": next_token(call, page),
    }


async def list_images(services: Services, call: Call) -> Output:
    """Return a page of image ids: one for each tag, and one for each image without any."""
    request = page_request(call)
    if not _asks_for_active(call, "imageStatus"):
        call.grant.require_repository()
        return {"imageIds": []}
    page = await services.images.list_ids(call.grant, _tag_status(call), request)
    return {"imageIds": [_image_id(each) for each in page.items], "nextToken": next_token(call, page)}


async def list_image_referrers(services: Services, call: Call) -> Output:
    """Return a page of the manifests whose subject is this one; an unknown subject has none."""
    request = page_request(call, default_items=DEFAULT_REFERRERS)
    call.grant.require_repository()
    subject = Digest.find(call.parameters["subjectId"]["imageDigest"])
    if subject is None or not _asks_for_active(call, "artifactStatus"):
        return {"referrers": []}
    artifact_types = _filter(call).get("artifactTypes") or ()
    page = await services.images.list_referrers(
        call.grant, subject, artifact_types=artifact_types, page=request
    )
    return {"referrers": [_referrer(each) for each in page.items], "nextToken": next_token(call, page)}


def _filter(call: Call) -> Parameters:
    return call.parameters.get("filter") or {}


def _tag_status(call: Call) -> TagStatus:
    return TagStatus(_filter(call).get("tagStatus", TagStatus.ANY.value))


def _asks_for_active(call: Call, member: str) -> bool:
    """Tell whether images that are neither archived nor being restored are wanted: there are no others."""
    return _filter(call).get(member, _ACTIVE) in {_ACTIVE, _ANY}


def _image_ids(parameters: Parameters) -> list[ImageId]:
    return [
        ImageId(digest=each.get("imageDigest"), tag=each.get("imageTag")) for each in parameters["imageIds"]
    ]


def _image_id(image_id: ImageId) -> dict[str, Any]:
    return {"imageDigest": image_id.digest, "imageTag": image_id.tag}


def _repository_members(call: Call) -> dict[str, Any]:
    repository = call.grant.require_repository()
    return {"registryId": repository.registry.account_id, "repositoryName": repository.name}


def _manifest(call: Call, found: TaggedManifest) -> dict[str, Any]:
    return {
        **_repository_members(call),
        "imageId": _image_id(found.image_id),
        "imageManifest": found.manifest.content.decode(),
        "imageManifestMediaType": found.manifest.media_type,
    }


def _failure(failure: ImageFailure) -> dict[str, Any]:
    return {
        "imageId": _image_id(failure.image_id),
        "failureCode": failure.code.value,
        "failureReason": failure.reason,
    }


def _detail(call: Call, image: Image) -> dict[str, Any]:
    return {
        **_repository_members(call),
        "imageDigest": str(image.digest),
        "imageTags": list(image.tags) or None,
        "imageSizeInBytes": image.size_bytes,
        "imagePushedAt": image.pushed_at,
        "imageManifestMediaType": image.media_type,
        "artifactMediaType": image.artifact_type,
        "lastRecordedPullTime": image.last_pulled_at,
        "subjectManifestDigest": None if image.subject is None else str(image.subject),
        "imageStatus": _ACTIVE,
    }


def _referrer(referrer: Referrer) -> dict[str, Any]:
    return {
        "digest": str(referrer.digest),
        "mediaType": referrer.media_type,
        "artifactType": referrer.artifact_type,
        "size": referrer.size_bytes,
        "annotations": referrer.annotations or None,
        "artifactStatus": _ACTIVE,
    }
