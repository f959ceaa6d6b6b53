"""The unit of work of a push: everything is checked in the order in which ECR checks it, then everything is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from openecr.application.image_keys import check_writes
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    ImageAlreadyExists,
    ImageDigestDoesNotMatch,
    ImageTagAlreadyExists,
    LayersNotFound,
    LimitExceeded,
    ReferencedImagesNotFound,
)
from openecr.domain.images import Image
from openecr.domain.manifests import Manifest
from openecr.domain.repositories import Repository, TagMutabilitySetting
from openecr.store import blobs as blob_rows
from openecr.store import images, repositories
from openecr.store.connections import Connection


class PutRules(Enum):
    """Whose rules a push follows where ECR's two faces differ."""

    AWS = "AWS"
    """The same image under the same tag is a conflict, before immutability is; digests are sha256."""
    REGISTRY = "REGISTRY"
    """The same image under the same tag is done already, unless the tag is immutable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A manifest whose bytes have been read and checked, and the tags that are to name it.

    `stored` is what its row is to hold: `content`, sealed where the repository has a key of KMS.
    """

    grant: Grant
    content: bytes
    stored: bytes
    manifest: Manifest
    digest: Digest
    tags: tuple[str, ...]
    rules: PutRules
    pushed_at: int

    @property
    def repository(self) -> Repository:
        """Return the repository that the grant is for."""
        return self.grant.require_repository()


def digest_of(content: bytes, given: str | None, rules: PutRules) -> Digest:
    """Return the digest under which the bytes are stored: the given one, if it is theirs.

    It keeps its algorithm on the registry face, where identity is the string that was pushed. Raises
    ImageDigestDoesNotMatch.
    """
    wanted = None if given is None or rules is PutRules.AWS else Digest.find(given)
    computed = Digest.of(content) if wanted is None else Digest.of(content, wanted.algorithm)
    if given is not None and given != str(computed):
        raise ImageDigestDoesNotMatch(given=given[:200], computed=str(computed))
    return computed


def store_push(connection: Connection, push: Push, limits: Limits) -> Image:
    """Store an image that is not there yet, and let the tags name it, in the open transaction.

    Raises RepositoryNotFound, AccessDenied, LayersNotFound, ReferencedImagesNotFound, ImageAlreadyExists,
    ImageTagAlreadyExists, LimitExceeded.
    """
    mutability = repositories.require_mutability(connection, push.repository)
    manifest = push.manifest
    check_writes(
        push.grant,
        push.tags,
        digest=push.digest,
        media_type=manifest.media_type,
        artifact_type=manifest.artifact_type,
    )
    blobs = _find_blobs(connection, push)
    children = _find_children(connection, push)
    existing = images.find(connection, push.repository.id, str(push.digest))
    if existing is not None and push.rules is PutRules.AWS:
        _refuse_same(push, existing)
    _check_tags(connection, push, mutability)
    tags = {*(() if existing is None else existing.tags), *push.tags}
    if len(tags) > limits.tags_per_image:
        raise _too_many_tags(push, limits)
    image = existing or images.add(
        connection,
        _new_image(push, [size_bytes for _, size_bytes in children.values()]),
        push.stored,
        blobs=blobs,
        children=[child_id for child_id, _ in children.values()],
    )
    for tag in push.tags:
        images.put_tag(connection, image, tag, tagged_at=push.pushed_at)
    return replace(image, tags=tuple(sorted(tags)))


def _find_blobs(connection: Connection, push: Push) -> dict[str, str]:
    """Return the media types of config and layers by digest.

    A layer that is fetched from elsewhere may be missing; where it was pushed all the same it is kept like any other.
    """
    named = {str(blob.digest): blob for blob in push.manifest.blobs}
    held = blob_rows.list_held(connection, push.repository.id, named)
    missing = [digest for digest, blob in named.items() if digest not in held and not blob.is_foreign]
    if missing:
        raise LayersNotFound(digests=missing, **_names(push.repository))
    return {digest: blob.media_type for digest, blob in named.items() if digest in held}


def _find_children(connection: Connection, push: Push) -> Mapping[str, tuple[int, int]]:
    """Return id and size of each child of an index by digest."""
    if not push.manifest.children:
        return {}
    named = dict.fromkeys(str(child.digest) for child in push.manifest.children)
    found = images.find_children(connection, push.repository.id, named)
    missing = [digest for digest in named if digest not in found]
    if missing:
        raise ReferencedImagesNotFound(digests=missing, **_names(push.repository))
    return found


def _refuse_same(push: Push, existing: Image) -> None:
    if all(tag in existing.tags for tag in push.tags):
        raise ImageAlreadyExists(
            digest=str(push.digest), tag=push.tags[0] if push.tags else None, **_names(push.repository)
        )


def _check_tags(connection: Connection, push: Push, mutability: TagMutabilitySetting) -> None:
    for tag in push.tags:
        if mutability.is_immutable(tag) and images.has_tag(connection, push.repository.id, tag):
            raise ImageTagAlreadyExists(tag=tag, repository_name=push.repository.name)


def _too_many_tags(push: Push, limits: Limits) -> LimitExceeded:
    return LimitExceeded(
        message=f"Adding tag '{push.tags[-1]}' to an image in the repository with name "
        f"'{push.repository.name}' in registry with id '{push.repository.registry.account_id}' exceeds "
        f"the maximum allowed number of tags per image which is '{limits.tags_per_image}'"
    )


def _new_image(push: Push, sizes_of_children: list[int]) -> Image:
    manifest = push.manifest
    return Image(
        id=0,
        repository_id=push.repository.id,
        digest=push.digest,
        media_type=manifest.media_type,
        artifact_type=manifest.artifact_type,
        subject=manifest.subject,
        size_bytes=max(sizes_of_children, default=0) if manifest.is_index else manifest.size_bytes,
        manifest_size_bytes=len(push.content),
        pushed_at=push.pushed_at,
    )


def _names(repository: Repository) -> dict[str, str]:
    return {"repository_name": repository.name, "registry_id": repository.registry.account_id}
