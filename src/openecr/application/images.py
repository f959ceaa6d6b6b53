"""Images: pushed, found, deleted and listed, the same for both faces."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import anyio.to_thread
import structlog

from openecr.application.audit import audited
from openecr.application.image_batches import (
    Deleted,
    Deletion,
    Found,
    begin_deletion,
    delete_some,
    get_batch,
)
from openecr.application.image_keys import check_removal
from openecr.application.image_pushes import Push, PutRules, digest_of, store_push
from openecr.application.kms.repository_keys import Use, uses_key
from openecr.application.kms.vaults import Vault, Vaults
from openecr.application.limits import Limits
from openecr.application.pull_times import PullTimes
from openecr.application.rooms import Rooms
from openecr.application.sealed_manifests import open_content, open_manifest, seal_content
from openecr.domain import manifests
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    ImageNotFound,
    ImageReferencedByManifestList,
    InvalidParameter,
    LimitExceeded,
    ManifestNotFound,
    Unavailable,
)
from openecr.domain.images import (
    FailureCode,
    Image,
    ImageFailure,
    ImageId,
    Referrer,
    StoredManifest,
    TaggedManifest,
    TagStatus,
)
from openecr.domain.kms_errors import KmsFailed
from openecr.domain.manifests import Manifest
from openecr.domain.names import is_tag
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.repositories import Repository
from openecr.ports.clock import Clock
from openecr.store import image_lists, images, repositories
from openecr.store.connections import Connection
from openecr.store.database import Database

__all__ = ["Images", "PutImage", "PutRules"]

_LOG = structlog.get_logger(__name__)

_INLINE_BYTES = 64 * 1024
"""Longer manifests are hashed and parsed beside the event loop."""

_DELETED_ROWS = 1_000
"""A unit of work ends after so many: images may have a thousand layers, and a thousand tags, each."""

_INLINE_TAGS = 100
"""A longer page is read in a thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PutImage:
    """What a push stored, or found stored."""

    image: Image
    manifest: StoredManifest


class Images:
    """The use cases of images."""

    def __init__(
        self,
        *,
        database: Database,
        pull_times: PullTimes,
        check_space: Callable[[], Awaitable[None]],
        vaults: Vaults,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._database = database
        self._check_space = check_space
        self._vaults = vaults
        self._pull_times = pull_times
        self._clock = clock
        self._limits = limits
        self._rooms = Rooms()

    # --- push ---

    async def put(
        self,
        grant: Grant,
        content: bytes,
        *,
        media_type: str | None,
        tags: Sequence[str] = (),
        digest: str | None = None,
        rules: PutRules,
    ) -> PutImage:
        """Store a manifest, and let the tags name it, or do neither.

        Raises InvalidParameter for a malformed tag, InvalidManifest, ManifestTooLarge, ImageDigestDoesNotMatch,
        LayersNotFound, ReferencedImagesNotFound, ImageTagAlreadyExists, LimitExceeded, StorageFull, KmsFailed, and by
        AWS's rules ImageAlreadyExists.
        """
        repository = grant.require_repository()
        await self._check_space()
        for tag in tags:
            if not is_tag(tag):
                raise InvalidParameter(
                    parameter="imageTag",
                    constraint="must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'",
                )
        read = partial(self._read, content, media_type, digest, rules)
        manifest, verified = read() if len(content) <= _INLINE_BYTES else await anyio.to_thread.run_sync(read)
        vault = await self._vaults.open(repository, grant.context, Use.PUSH)
        push = Push(
            grant=grant,
            content=content,
            stored=seal_content(vault, content, verified),
            manifest=manifest,
            digest=verified,
            tags=tuple(dict.fromkeys(tags)),
            rules=rules,
            pushed_at=self._clock.now(),
        )
        await self._check_quota(repository, verified)
        image = await self._database.write(
            audited(grant, partial(store_push, push=push, limits=self._limits))
        )
        stored = StoredManifest(
            image_id=image.id, digest=image.digest, media_type=image.media_type, content=content
        )
        return PutImage(image=image, manifest=stored)

    def _read(
        self, content: bytes, media_type: str | None, digest: str | None, rules: PutRules
    ) -> tuple[Manifest, Digest]:
        manifest = manifests.parse(
            content,
            media_type,
            max_bytes=self._limits.manifest_max_bytes,
            max_references=self._limits.manifest_references,
        )
        return manifest, digest_of(content, digest, rules)

    async def _check_quota(self, repository: Repository, digest: Digest) -> None:
        """Counted before the unit: counting inside would make all pushes to a repository wait for each other."""
        if self._rooms.take(repository.id, self._clock.now()):
            return
        limit = self._limits.images_per_repository

        def counted(connection: Connection) -> tuple[int, bool]:
            count = images.count(connection, repository.id)
            return count, count >= limit and images.find(connection, repository.id, str(digest)) is None

        count, is_refused = await self._database.scan(counted)
        self._rooms.count(repository.id, limit - count, self._clock.now())
        if is_refused:
            raise LimitExceeded(
                message=f"The repository with name '{repository.name}' in registry with id "
                f"'{repository.registry.account_id}' already has the maximum allowed number of images "
                f"which is '{limit}'"
            )

    # --- pull ---

    async def find_manifest(self, grant: Grant, reference: Digest | str) -> StoredManifest | None:
        """Return what a tag or digest names, or None. Not a pull. Raises KmsFailed, Unavailable."""
        repository = grant.require_repository()
        found = await self._database.read(
            lambda connection: images.find_manifest(connection, repository.id, reference)
        )
        if found is None or not uses_key(repository):
            return found
        return open_manifest(await self._vaults.open(repository, grant.context), found)

    async def get_manifest(self, grant: Grant, reference: Digest | str) -> StoredManifest:
        """Return what a tag or digest names, as a pull. Raises ManifestNotFound, KmsFailed, Unavailable."""
        manifest = await self.find_manifest(grant, reference)
        if manifest is None:
            raise ManifestNotFound
        self._pull_times.record(manifest.image_id)
        return manifest

    async def batch_get(
        self, grant: Grant, image_ids: Sequence[ImageId], accepted_media_types: Sequence[str] = ()
    ) -> Found:
        """Return manifests and failures (BatchGetImage). A pull.

        Raises LimitExceeded for too long an answer, Unavailable.
        """
        repository = grant.require_repository()
        found, failures = await self._database.scan(
            lambda connection: get_batch(connection, repository.id, image_ids, accepted_media_types)
        )
        try:
            vault = await self._vaults.open(repository, grant.context)
        except KmsFailed as failure:
            return [], [*failures, *(_closed(entry.image_id, failure.message) for entry in found)]
        opened: list[TaggedManifest] = []
        for entry in found:
            try:
                opened.append(replace(entry, manifest=open_manifest(vault, entry.manifest)))
            except Unavailable as failure:  # proved bad, and no reason to keep the others back
                _LOG.error("a manifest does not open", context=failure.context)
                failures.append(_closed(entry.image_id, "The image's manifest could not be decrypted"))
                continue
            self._pull_times.record(entry.manifest.image_id)
        return opened, failures

    # --- deletion ---

    async def batch_delete(self, grant: Grant, image_ids: Sequence[ImageId]) -> Deleted:
        """Delete images and tags, each identifier on its own (BatchDeleteImage): in one unit, or in several of many.

        Raises AccessDenied, before anything is deleted.
        """
        repository = grant.require_repository()

        def unit(connection: Connection, deletion: Deletion | None) -> Deletion:
            repositories.require_live(connection, repository)
            begun = deletion or begin_deletion(connection, grant, image_ids)
            return delete_some(connection, grant, begun, limit=_DELETED_ROWS)

        deletion = await self._database.write(audited(grant, partial(unit, deletion=None)))
        while deletion.pending:
            deletion = await self._database.write(partial(unit, deletion=deletion))
        return deletion.outcome

    async def delete_tag(self, grant: Grant, tag: str) -> None:
        """Remove a tag; the image stays. Raises ManifestNotFound, AccessDenied."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            image = images.find_by_tag(connection, repository.id, tag)
            if image is None:
                raise ManifestNotFound
            check_removal(grant, image, tag)
            images.remove_tag(connection, repository.id, tag)

        await self._database.write(audited(grant, unit))

    async def delete_manifest(self, grant: Grant, digest: Digest) -> None:
        """Remove an image with all its tags.

        Raises ManifestNotFound, AccessDenied, ImageReferencedByManifestList.
        """
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            image = images.find(connection, repository.id, str(digest))
            if image is None:
                raise ManifestNotFound
            check_removal(grant, image, None)
            parents = images.list_parents(connection, image.id)
            if parents:
                raise ImageReferencedByManifestList(parents=parents)
            images.remove(connection, image.id)

        await self._database.write(audited(grant, unit))

    # --- lists ---

    async def describe(self, grant: Grant, image_ids: Sequence[ImageId]) -> list[Image]:
        """Return the images, each once, with all their tags. Raises ImageNotFound for the first missing."""
        repository = grant.require_repository()

        def scan(connection: Connection) -> list[Image]:
            found: dict[int, Image] = {}
            for image_id in image_ids:
                image = _find(connection, repository.id, image_id)
                if image is None:
                    raise ImageNotFound(
                        digest=image_id.digest,
                        tag=image_id.tag,
                        repository_name=repository.name,
                        registry_id=repository.registry.account_id,
                    )
                found[image.id] = image
            return list(found.values())

        return await self._with_pull_times(await self._database.scan(scan))

    async def list_images(self, grant: Grant, tag_status: TagStatus, page: PageRequest) -> Page[Image]:
        """Return a page of images by digest."""
        repository = grant.require_repository()
        found = await self._database.scan(
            lambda connection: image_lists.list_images(
                connection, repository.id, tag_status, after=page.after or "", limit=page.limit + 1
            )
        )
        cut = cut_page(found, page.limit, lambda image: str(image.digest))
        return Page(items=tuple(await self._with_pull_times(cut.items)), after=cut.after)

    async def list_ids(self, grant: Grant, tag_status: TagStatus, page: PageRequest) -> Page[ImageId]:
        """Return a page of (digest, tag), one for each tag, or one without a tag; by digest, then tag."""
        repository = grant.require_repository()
        digest, _, tag = (page.after or "").partition(" ")
        after = ImageId(digest=digest, tag=tag)
        found = await self._database.scan(
            lambda connection: image_lists.list_ids(
                connection, repository.id, tag_status, after=after, limit=page.limit + 1
            )
        )
        return cut_page(found, page.limit, lambda entry: f"{entry.digest} {entry.tag or ''}")

    async def list_tags(self, grant: Grant, page: PageRequest) -> Page[str]:
        """Return a page of tags in byte order."""
        repository = grant.require_repository()
        # A short page comes out of the index alone, in less time than a thread takes to wake.
        ask = self._database.read if page.limit <= _INLINE_TAGS else self._database.scan
        found = await ask(
            lambda connection: image_lists.list_tags(
                connection, repository.id, after=page.after or "", limit=page.limit + 1
            )
        )
        return cut_page(found, page.limit, str)

    async def list_referrers(
        self, grant: Grant, subject: Digest, *, artifact_types: Sequence[str] = (), page: PageRequest
    ) -> Page[Referrer]:
        """Return a page of manifests whose subject is this one, by digest; pages are bounded in bytes too.

        Raises KmsFailed, Unavailable.
        """
        repository = grant.require_repository()
        most_bytes = self._limits.referrers_page_bytes
        vault = await self._vaults.open(repository, grant.context)

        def scan(connection: Connection) -> Page[Referrer]:
            found = image_lists.list_referrers(
                connection,
                repository.id,
                subject,
                artifact_types,
                after=page.after or "",
                limit=page.limit + 1,
            )
            cut = cut_page(found, _fitting(found, page.limit, most_bytes), lambda pair: str(pair[1].digest))
            return Page(
                items=tuple(_with_annotations(connection, vault, *pair) for pair in cut.items),
                after=cut.after,
            )

        return await self._database.scan(scan)

    async def _with_pull_times(self, found: Sequence[Image]) -> list[Image]:
        pulled = await self._pull_times.find(image.id for image in found)
        return [replace(image, last_pulled_at=pulled.get(image.id)) for image in found]


def _closed(image_id: ImageId, reason: str) -> ImageFailure:
    return ImageFailure(image_id=image_id, code=FailureCode.KMS_ERROR, reason=reason)


def _find(connection: Connection, repository_id: int, image_id: ImageId) -> Image | None:
    """Return the image that an identifier names; where it has both halves they must agree."""
    if image_id.tag is None:
        return None if image_id.digest is None else images.find(connection, repository_id, image_id.digest)
    image = images.find_by_tag(connection, repository_id, image_id.tag)
    if image is not None and image_id.digest is not None and str(image.digest) != image_id.digest:
        return None
    return image


def _fitting(found: Sequence[tuple[int, Referrer]], limit: int, most_bytes: int) -> int:
    """Return how many of them make a page: a descriptor is hardly longer than its manifest. One always fits."""
    total_bytes = 0
    for count, (_, referrer) in enumerate(found[:limit]):
        total_bytes += referrer.size_bytes
        if count and total_bytes > most_bytes:
            return count
    return limit


def _with_annotations(
    connection: Connection, vault: Vault | None, image_id: int, referrer: Referrer
) -> Referrer:
    content = open_content(vault, image_lists.content_of(connection, image_id), referrer.digest)
    return replace(referrer, annotations=manifests.annotations_of(content))
