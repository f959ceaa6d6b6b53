"""BatchGetImage and BatchDeleteImage: each identifier is answered on its own (ECR API reference)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from openecr.application.image_keys import check_removal
from openecr.domain.decisions import Grant
from openecr.domain.errors import LimitExceeded
from openecr.domain.images import FailureCode, Image, ImageFailure, ImageId, TaggedManifest
from openecr.store import images
from openecr.store.connections import Connection

_DIGEST_TEXT = "[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+"
_TAG_TEXT = "[a-zA-Z0-9-_.]+"
_DIGEST = re.compile(r"[a-zA-Z0-9\-_+.]+:[a-fA-F0-9]+", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9\-_.]+", re.ASCII)

_REASONS = {
    FailureCode.MISSING_DIGEST_AND_TAG: "Invalid request parameters: both tag and digest cannot be null",
    FailureCode.INVALID_IMAGE_DIGEST: "Invalid request parameters: image digest should satisfy the regex "
    f"'{_DIGEST_TEXT}'",
    FailureCode.INVALID_IMAGE_TAG: f"Invalid request parameters: image tag should satisfy the regex '{_TAG_TEXT}'",
    FailureCode.IMAGE_NOT_FOUND: "Requested image not found",
    FailureCode.IMAGE_TAG_DOES_NOT_MATCH_DIGEST: "Invalid request parameters: "
    "given tag does not map to the given digest",
}

ANSWER_MAX_BYTES = 64 * 1024 * 1024
"""A short question can have a long answer: an image named by digest is told once for each of its tags."""

Found = tuple[list[TaggedManifest], list[ImageFailure]]
Deleted = tuple[list[ImageId], list[ImageFailure]]


def get_batch(
    connection: Connection,
    repository_id: int,
    image_ids: Sequence[ImageId],
    accepted_media_types: Sequence[str],
) -> Found:
    """Return manifests, an entry for each tag of an image that is named by digest, and failures.

    Raises LimitExceeded where the manifests together are too long.
    """
    accepted = frozenset(accepted_media_types)
    found: list[TaggedManifest] = []
    failures: list[ImageFailure] = []
    for image_id in dict.fromkeys(image_ids):
        image = _resolve(connection, repository_id, image_id)
        if isinstance(image, ImageFailure):
            failures.append(image)
        elif _is_acceptable(image, image_id, accepted):
            found += _manifests(connection, image, image_id)
        else:
            failures.append(_failed(image_id, FailureCode.IMAGE_NOT_FOUND))
        if sum(len(entry.manifest.content) for entry in found) > ANSWER_MAX_BYTES:
            raise LimitExceeded(message="The manifests are too long for one answer: ask for fewer images")
    return found, failures


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """How far a BatchDeleteImage has come: what its identifiers named, which of them wait, and what was deleted."""

    resolved: Mapping[ImageId, Image | ImageFailure]
    pending: Mapping[ImageId, Image]
    deleted: tuple[ImageId, ...] = ()

    @property
    def outcome(self) -> Deleted:
        """Return what is told in the end: what was deleted, and failures in the order in which they were named."""
        return list(self.deleted), [each for each in self.resolved.values() if isinstance(each, ImageFailure)]


def begin_deletion(connection: Connection, grant: Grant, image_ids: Sequence[ImageId]) -> Deletion:
    """Find what is to be deleted: by digest (the image and every tag) or by tag (with its last tag the image goes).

    Raises AccessDenied.
    """
    repository_id = grant.require_repository().id
    resolved = {each: _resolve(connection, repository_id, each) for each in dict.fromkeys(image_ids)}
    pending = {each: image for each, image in resolved.items() if isinstance(image, Image)}
    for image_id, image in pending.items():
        check_removal(grant, image, image_id.tag)
    return Deletion(resolved=resolved, pending=pending)


def delete_some(connection: Connection, grant: Grant, deletion: Deletion, *, limit: int) -> Deletion:
    """Delete until about `limit` rows have gone; nothing is pending at the end.

    An image that an index names goes after the index, so that both may be in one call, in any order. What one
    identifier has deleted is no failure for another that names the same.
    """
    unit = _Deletion(connection, grant, deletion.deleted)
    pending = dict(deletion.pending)
    failures = unit.failures
    while pending and unit.rows < limit:
        blocked = {
            each: image
            for each, image in pending.items()
            if unit.rows >= limit or not unit.delete(each, image)
        }
        if len(blocked) == len(pending):
            failures.update({each: unit.explain(each, image) for each, image in blocked.items()})
            blocked = {}
        pending = blocked
    return Deletion(
        resolved={**deletion.resolved, **failures},
        pending=pending,
        deleted=tuple(unit.deleted),
    )


def entries_of(image: Image) -> list[ImageId]:
    """Return one identifier for each tag of an image, or one without a tag."""
    digest = str(image.digest)
    return [ImageId(digest=digest, tag=tag) for tag in image.tags] or [ImageId(digest=digest)]


class _Deletion:
    """One unit of a BatchDeleteImage. `rows`: about how many were changed."""

    def __init__(self, connection: Connection, grant: Grant, deleted: Iterable[ImageId]) -> None:
        """`deleted` is what the units before this one did."""
        self._connection = connection
        self._grant = grant
        self._repository_id = grant.require_repository().id
        self.deleted = list(deleted)
        self.failures: dict[ImageId, ImageFailure] = {}
        self.rows = 0

    def delete(self, image_id: ImageId, found: Image) -> bool:
        """Do what one identifier asks for; False where an index keeps the image."""
        image = images.find(self._connection, self._repository_id, str(found.digest))
        if image is None or (image_id.tag is not None and image_id.tag not in image.tags):
            if not self._has_deleted(image_id, str(found.digest)):  # between two units, somebody else has
                self.failures[image_id] = _failed(image_id, FailureCode.IMAGE_NOT_FOUND)
            return True
        check_removal(self._grant, image, image_id.tag)  # it may have got other tags since it was found
        if image_id.tag is not None and len(image.tags) > 1:
            images.remove_tag(self._connection, self._repository_id, image_id.tag)
            self.rows += 1
            self.deleted.append(ImageId(digest=str(image.digest), tag=image_id.tag))
            return True
        if images.list_parents(self._connection, image.id, limit=1):
            return False
        self.rows += images.count_rows(self._connection, image.id) + len(image.tags)
        images.remove(self._connection, image.id)
        self.deleted += entries_of(image)
        return True

    def _has_deleted(self, image_id: ImageId, digest: str) -> bool:
        """Tell whether another identifier of this call has named the same."""
        return any(each.digest == digest and image_id.tag in {None, each.tag} for each in self.deleted)

    def explain(self, image_id: ImageId, image: Image) -> ImageFailure:
        """Say which indexes keep an image."""
        parents = ", ".join(images.list_parents(self._connection, image.id))
        return ImageFailure(
            image_id=image_id,
            code=FailureCode.IMAGE_REFERENCED_BY_MANIFEST_LIST,
            reason=f"Requested image referenced by manifest list: [{parents}]",
        )


def _failed(image_id: ImageId, code: FailureCode) -> ImageFailure:
    return ImageFailure(image_id=image_id, code=code, reason=_REASONS[code])


def _resolve(connection: Connection, repository_id: int, image_id: ImageId) -> Image | ImageFailure:
    if image_id.digest is None and image_id.tag is None:
        return _failed(image_id, FailureCode.MISSING_DIGEST_AND_TAG)
    if image_id.digest is not None and _DIGEST.fullmatch(image_id.digest) is None:
        return _failed(image_id, FailureCode.INVALID_IMAGE_DIGEST)
    if image_id.tag is not None and _TAG.fullmatch(image_id.tag) is None:
        return _failed(image_id, FailureCode.INVALID_IMAGE_TAG)
    if image_id.tag is None:
        assert image_id.digest is not None
        image = images.find(connection, repository_id, image_id.digest)
    else:
        image = images.find_by_tag(connection, repository_id, image_id.tag)
        if image is not None and image_id.digest not in {None, str(image.digest)}:
            return _failed(image_id, FailureCode.IMAGE_TAG_DOES_NOT_MATCH_DIGEST)
    return _failed(image_id, FailureCode.IMAGE_NOT_FOUND) if image is None else image


def _is_acceptable(image: Image, image_id: ImageId, accepted: frozenset[str]) -> bool:
    """By tag, a manifest of a type that the caller does not take is a failure; nothing is converted."""
    return not accepted or image.media_type in accepted or image_id.tag is None


def _manifests(connection: Connection, image: Image, image_id: ImageId) -> list[TaggedManifest]:
    manifest = images.find_manifest(connection, image.repository_id, image.digest)
    assert manifest is not None
    named = ImageId(digest=str(image.digest), tag=image_id.tag)
    entries = entries_of(image) if image_id.tag is None else [named]
    return [TaggedManifest(image_id=entry, manifest=manifest) for entry in entries]
