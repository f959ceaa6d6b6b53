"""Images: what a repository records of a manifest, and how callers name one."""

import enum
from dataclasses import dataclass

from openecr.domain.digests import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageId:
    """AWS's image identifier: a digest and/or a tag, as the caller wrote them (not validated)."""

    digest: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image as a repository records it.

    `size_bytes` counts config and layers (for an index: the largest child); instants are microseconds UTC.
    """

    id: int
    repository_id: int
    digest: Digest
    media_type: str
    artifact_type: str | None
    subject: Digest | None
    size_bytes: int
    manifest_size_bytes: int
    pushed_at: int
    tags: tuple[str, ...] = ()
    last_pulled_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """The exact bytes of a manifest with what a response needs to name them."""

    image_id: int
    digest: Digest
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedManifest:
    """One entry of BatchGetImage: a manifest under one of its tags, or under none."""

    image_id: ImageId
    manifest: StoredManifest


class FailureCode(enum.Enum):
    """Why one image of a batch failed (ECR API: ImageFailureCode)."""

    INVALID_IMAGE_DIGEST = "InvalidImageDigest"
    INVALID_IMAGE_TAG = "InvalidImageTag"
    IMAGE_TAG_DOES_NOT_MATCH_DIGEST = "ImageTagDoesNotMatchDigest"
    IMAGE_NOT_FOUND = "ImageNotFound"
    MISSING_DIGEST_AND_TAG = "MissingDigestAndTag"
    IMAGE_REFERENCED_BY_MANIFEST_LIST = "ImageReferencedByManifestList"
    KMS_ERROR = "KmsError"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFailure:
    """One image of a batch that failed, its id echoed as given."""

    image_id: ImageId
    code: FailureCode
    reason: str


class TagStatus(enum.Enum):
    """Filter of ListImages and DescribeImages."""

    TAGGED = "TAGGED"
    UNTAGGED = "UNTAGGED"
    ANY = "ANY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrer:
    """A manifest whose `subject` is another one (OCI distribution-spec 1.1, listing referrers)."""

    digest: Digest
    media_type: str
    artifact_type: str | None
    size_bytes: int
    annotations: dict[str, str]
