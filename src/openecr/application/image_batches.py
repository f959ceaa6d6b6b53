"""BatchGetImage and BatchDeleteImage: each identifier is answered on its own (ECR API reference)."""

import re
from collections.abc import Sequence

from openecr.domain.images import FailureCode, Image, ImageFailure, ImageId, TaggedManifest
from openecr.domain.manifests import INDEX_TYPES
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

Found = tuple[list[TaggedManifest], list[ImageFailure]]
Deleted = tuple[list[ImageId], list[ImageFailure]]


def get_batch(
    connection: Connection,
    repository_id: int,
    image_ids: Sequence[ImageId],
    accepted_media_types: Sequence[str],
) -> Found:
    """Return manifests, an entry for each tag of an image that is named by digest, and failures."""
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
    return found, failures


def delete_batch(connection: Connection, repository_id: int, image_ids: Sequence[ImageId]) -> Deleted:
    """Delete by digest (the image and every tag) or by tag (with its last tag the image goes).

    Indexes go before what they name, so that parent and child may be in one call. What one identifier has deleted is no
    failure for another that names the same image.
    """
    resolved = {each: _resolve(connection, repository_id, each) for each in dict.fromkeys(image_ids)}
    deletion = _Deletion(connection, repository_id)
    for image_id, image in sorted(resolved.items(), key=lambda pair: not _is_index(pair[1])):
        deletion.delete(image_id, image)
    return deletion.deleted, deletion.failures


def entries_of(image: Image) -> list[ImageId]:
    """Return one identifier for each tag of an image, or one without a tag."""
    digest = str(image.digest)
    return [ImageId(digest=digest, tag=tag) for tag in image.tags] or [ImageId(digest=digest)]


class _Deletion:
    """One BatchDeleteImage in its transaction."""

    def __init__(self, connection: Connection, repository_id: int) -> None:
        self._connection = connection
        self._repository_id = repository_id
        self._gone: set[str] = set()
        self.deleted: list[ImageId] = []
        self.failures: list[ImageFailure] = []

    def delete(self, image_id: ImageId, found: Image | ImageFailure) -> None:
        if isinstance(found, ImageFailure):
            self.failures.append(found)
            return
        image = images.find(self._connection, self._repository_id, str(found.digest))
        if image is None or (image_id.tag is not None and image_id.tag not in image.tags):
            return  # another identifier of this call has deleted it
        if image_id.tag is not None and len(image.tags) > 1:
            images.remove_tag(self._connection, self._repository_id, image_id.tag)
            self.deleted.append(ImageId(digest=str(image.digest), tag=image_id.tag))
            return
        parents = images.list_parents(self._connection, image.id)
        if parents:
            self.failures.append(
                ImageFailure(
                    image_id=image_id,
                    code=FailureCode.IMAGE_REFERENCED_BY_MANIFEST_LIST,
                    reason=f"Requested image referenced by manifest list: [{', '.join(parents)}]",
                )
            )
            return
        images.remove(self._connection, image.id)
        self.deleted += entries_of(image)


def _is_index(found: Image | ImageFailure) -> bool:
    return isinstance(found, Image) and found.media_type in INDEX_TYPES


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
