"""Images: pushed, found, deleted and listed, the same for both faces."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from openecr.application.image_batches import Deleted, Found, delete_batch, entries_of, get_batch
from openecr.application.limits import Limits
from openecr.application.pull_times import PullTimes
from openecr.domain import manifests
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    ImageAlreadyExists,
    ImageDigestDoesNotMatch,
    ImageNotFound,
    ImageReferencedByManifestList,
    ImageTagAlreadyExists,
    LayersNotFound,
    LimitExceeded,
    ManifestNotFound,
    ReferencedImagesNotFound,
)
from openecr.domain.images import Image, ImageId, Referrer, StoredManifest, TagStatus
from openecr.domain.manifests import Manifest
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.repositories import Repository
from openecr.ports.clock import Clock
from openecr.store import blobs as blob_rows
from openecr.store import images, repositories
from openecr.store.connections import Connection
from openecr.store.database import Database

_LISTS = {
    TagStatus.ANY: images.LIST_ANY,
    TagStatus.TAGGED: images.LIST_TAGGED,
    TagStatus.UNTAGGED: images.LIST_UNTAGGED,
}
_REFERRERS_AT_ONCE = 50


class PutRules(Enum):
    """Whose rules a push follows where ECR's two faces differ."""

    AWS = "AWS"
    REGISTRY = "REGISTRY"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutImage:
    """What a push stored, or found stored."""

    image: Image
    manifest: StoredManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Push:
    """A push whose bytes have been checked."""

    repository: Repository
    content: bytes
    manifest: Manifest
    digest: Digest
    tags: tuple[str, ...]
    rules: PutRules
    now: int


class Images:
    """The use cases of images."""

    def __init__(self, *, database: Database, pull_times: PullTimes, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._pull_times = pull_times
        self._clock = clock
        self._limits = limits

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
        """Store a manifest, and let the tags name it.

        Raises InvalidManifest, ManifestTooLarge, ImageDigestDoesNotMatch, LayersNotFound, ReferencedImagesNotFound,
        ImageTagAlreadyExists, LimitExceeded, and by AWS's rules ImageAlreadyExists.
        """
        repository = grant.require_repository()
        manifest = manifests.parse(content, media_type)
        push = _Push(
            repository=repository,
            content=content,
            manifest=manifest,
            digest=_verified(content, digest),
            tags=tuple(dict.fromkeys(tags)),
            rules=rules,
            now=self._clock.now(),
        )
        await self._check_quota(push)
        image = await self._database.write(lambda connection: self._put_unit(connection, push))
        stored = StoredManifest(
            image_id=image.id, digest=image.digest, media_type=image.media_type, content=content
        )
        return PutImage(image=image, manifest=stored)

    async def _check_quota(self, push: _Push) -> None:
        """Counted before the unit: counting inside would make all pushes to a repository wait for each other."""
        limit = self._limits.images_per_repository
        repository = push.repository

        def read(connection: Connection) -> bool:
            return images.find(connection, repository.id, str(push.digest)) is None and images.has_at_least(
                connection, repository.id, limit
            )

        if await self._database.read(read):
            raise LimitExceeded(
                message=f"The repository with name '{repository.name}' in registry with id "
                f"'{repository.registry.account_id}' already has the maximum allowed number of images "
                f"which is '{limit}'"
            )

    def _put_unit(self, connection: Connection, push: _Push) -> Image:
        repositories.require_live(connection, push.repository)
        blobs = self._require_blobs(connection, push)
        children = self._require_children(connection, push)
        existing = images.find(connection, push.repository.id, str(push.digest))
        self._check_identity(push, existing)
        self._check_tags(connection, push, existing)
        image = existing or images.add(
            connection,
            _new_image(push, children),
            push.content,
            blobs=blobs,
            children=[child.id for child in children],
        )
        for tag in push.tags:
            images.put_tag(connection, image, tag, tagged_at=push.now)
        return image

    def _require_blobs(self, connection: Connection, push: _Push) -> dict[str, str]:
        needed = {str(blob.digest): blob.media_type for blob in push.manifest.blobs if not blob.is_foreign}
        missing = blob_rows.list_missing(connection, push.repository.id, list(needed))
        if missing:
            raise LayersNotFound(digests=missing, **_names(push.repository))
        return needed

    def _require_children(self, connection: Connection, push: _Push) -> list[Image]:
        found = {
            str(child.digest): images.find(connection, push.repository.id, str(child.digest))
            for child in push.manifest.children
        }
        missing = [digest for digest, child in found.items() if child is None]
        if missing:
            raise ReferencedImagesNotFound(digests=missing, **_names(push.repository))
        return [child for child in found.values() if child is not None]

    def _check_identity(self, push: _Push, existing: Image | None) -> None:
        """By AWS's rules the same image under the same tag is a conflict; the registry face takes it as done."""
        if push.rules is not PutRules.AWS or existing is None:
            return
        if all(tag in existing.tags for tag in push.tags):
            tag = push.tags[0] if push.tags else None
            raise ImageAlreadyExists(digest=str(push.digest), tag=tag, **_names(push.repository))

    def _check_tags(self, connection: Connection, push: _Push, existing: Image | None) -> None:
        for tag in push.tags:
            taken = images.find_by_tag(connection, push.repository.id, tag)
            if taken is not None and push.repository.settings.tag_mutability.is_immutable(tag):
                raise ImageTagAlreadyExists(tag=tag, repository_name=push.repository.name)
        own = set(() if existing is None else existing.tags)
        limit = self._limits.tags_per_image
        if len(own | set(push.tags)) > limit:
            raise LimitExceeded(
                message=f"Adding tag '{push.tags[-1]}' to an image in the repository with name "
                f"'{push.repository.name}' in registry with id '{push.repository.registry.account_id}' exceeds "
                f"the maximum allowed number of tags per image which is '{limit}'"
            )

    # --- pull ---

    async def find_manifest(self, grant: Grant, reference: Digest | str) -> StoredManifest | None:
        """Return what a tag or digest names, or None. Not a pull."""
        repository = grant.require_repository()
        return await self._database.read(
            lambda connection: images.find_manifest(connection, repository.id, reference)
        )

    async def get_manifest(self, grant: Grant, reference: Digest | str) -> StoredManifest:
        """Return what a tag or digest names, as a pull. Raises ManifestNotFound."""
        manifest = await self.find_manifest(grant, reference)
        if manifest is None:
            raise ManifestNotFound
        self._pull_times.record(manifest.image_id)
        return manifest

    async def batch_get(
        self, grant: Grant, image_ids: Sequence[ImageId], accepted_media_types: Sequence[str]
    ) -> Found:
        """Return manifests and failures (BatchGetImage). A pull."""
        repository = grant.require_repository()
        found, failures = await self._database.scan(
            lambda connection: get_batch(connection, repository.id, image_ids, accepted_media_types)
        )
        for entry in found:
            self._pull_times.record(entry.manifest.image_id)
        return found, failures

    # --- deletion ---

    async def batch_delete(self, grant: Grant, image_ids: Sequence[ImageId]) -> Deleted:
        """Delete images and tags, each identifier on its own (BatchDeleteImage)."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> Deleted:
            repositories.require_live(connection, repository)
            return delete_batch(connection, repository.id, image_ids)

        return await self._database.write(unit)

    async def delete_tag(self, grant: Grant, tag: str) -> None:
        """Remove a tag; the image stays. Raises ManifestNotFound."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            if not images.remove_tag(connection, repository.id, tag):
                raise ManifestNotFound

        await self._database.write(unit)

    async def delete_manifest(self, grant: Grant, digest: Digest) -> None:
        """Remove an image with all its tags. Raises ManifestNotFound, ImageReferencedByManifestList."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            image = images.find(connection, repository.id, str(digest))
            if image is None:
                raise ManifestNotFound
            parents = images.list_parents(connection, image.id)
            if parents:
                raise ImageReferencedByManifestList(parents=parents)
            images.remove(connection, image.id)

        await self._database.write(unit)

    # --- lists ---

    async def describe(self, grant: Grant, image_ids: Sequence[ImageId]) -> list[Image]:
        """Return the images, each once, with all their tags. Raises ImageNotFound for the first missing."""
        repository = grant.require_repository()

        def scan(connection: Connection) -> list[Image]:
            found: dict[int, Image] = {}
            for image_id in image_ids:
                image = find_image(connection, repository.id, image_id)
                if image is None:
                    raise ImageNotFound(digest=image_id.digest, tag=image_id.tag, **_names(repository))
                found[image.id] = image
            return list(found.values())

        return await self._with_pull_times(await self._database.scan(scan))

    async def list_images(self, grant: Grant, tag_status: TagStatus, page: PageRequest) -> Page[Image]:
        """Return a page of images by digest."""
        found = await self._list(grant, tag_status, page.after or "", page.limit + 1)
        cut = cut_page(found, page.limit, lambda image: str(image.digest))
        return Page(items=tuple(await self._with_pull_times(cut.items)), after=cut.after)

    async def list_ids(self, grant: Grant, tag_status: TagStatus, page: PageRequest) -> Page[ImageId]:
        """Return a page of (digest, tag), one for each tag, or one without a tag; by digest, then tag."""
        digest, _, tag = (page.after or "").partition(" ")
        entries: list[ImageId] = []
        if digest:
            entries = [entry for entry in await self._entries_of(grant, digest) if (entry.tag or "") > tag]
        found = await self._list(grant, tag_status, digest, page.limit + 1)
        entries += [entry for image in found for entry in entries_of(image)]
        return cut_page(entries, page.limit, lambda entry: f"{entry.digest} {entry.tag or ''}")

    async def list_tags(self, grant: Grant, page: PageRequest) -> Page[str]:
        """Return a page of tags in byte order."""
        repository = grant.require_repository()
        found = await self._database.scan(
            lambda connection: images.list_tags(
                connection, repository.id, after=page.after or "", limit=page.limit + 1
            )
        )
        return cut_page(found, page.limit, str)

    async def list_referrers(
        self, grant: Grant, subject: Digest, *, artifact_types: Sequence[str] = (), page: PageRequest
    ) -> Page[Referrer]:
        """Return a page of manifests whose subject is this one; short pages are bounded in bytes too."""
        repository = grant.require_repository()
        wanted = frozenset(artifact_types)

        def scan(connection: Connection) -> Page[Referrer]:
            return self._scan_referrers(connection, repository.id, subject, wanted, page)

        return await self._database.scan(scan)

    def _scan_referrers(
        self,
        connection: Connection,
        repository_id: int,
        subject: Digest,
        wanted: frozenset[str],
        page: PageRequest,
    ) -> Page[Referrer]:
        found: list[Referrer] = []
        size_bytes, after = 0, page.after or ""
        while True:
            rows = images.list_referrers(
                connection, repository_id, subject, after=after, limit=_REFERRERS_AT_ONCE
            )
            for digest, media_type, artifact_type, manifest_size, content in rows:
                if not wanted or artifact_type in wanted:
                    if len(found) == page.limit or (found and size_bytes > self._limits.referrers_page_bytes):
                        return Page(items=tuple(found), after=after)
                    size_bytes += manifest_size
                    found.append(
                        Referrer(
                            digest=digest,
                            media_type=media_type,
                            artifact_type=artifact_type,
                            size_bytes=manifest_size,
                            annotations=manifests.annotations_of(content),
                        )
                    )
                after = str(digest)
            if len(rows) < _REFERRERS_AT_ONCE:
                return Page(items=tuple(found))

    async def _list(self, grant: Grant, tag_status: TagStatus, after: str, limit: int) -> list[Image]:
        repository = grant.require_repository()
        statement = _LISTS[tag_status]
        return await self._database.scan(
            lambda connection: images.list_after(
                connection, statement, repository.id, after=after, limit=limit
            )
        )

    async def _entries_of(self, grant: Grant, digest: str) -> list[ImageId]:
        repository = grant.require_repository()
        image = await self._database.scan(lambda connection: images.find(connection, repository.id, digest))
        return [] if image is None else entries_of(image)

    async def _with_pull_times(self, found: Sequence[Image]) -> list[Image]:
        pulled = await self._pull_times.find(image.id for image in found)
        return [replace(image, last_pulled_at=pulled.get(image.id)) for image in found]


def find_image(connection: Connection, repository_id: int, image_id: ImageId) -> Image | None:
    """Return the image that an identifier names; where it has both halves they must agree."""
    if image_id.tag is None:
        return None if image_id.digest is None else images.find(connection, repository_id, image_id.digest)
    image = images.find_by_tag(connection, repository_id, image_id.tag)
    if image is not None and image_id.digest is not None and str(image.digest) != image_id.digest:
        return None
    return image


def _names(repository: Repository) -> dict[str, str]:
    return {"repository_name": repository.name, "registry_id": repository.registry.account_id}


def _verified(content: bytes, given: str | None) -> Digest:
    """Return the digest under which the bytes are stored: the given one if it is theirs."""
    wanted = None if given is None else Digest.find(given)
    computed = Digest.of(content, "sha256" if wanted is None else wanted.algorithm)
    if given is not None and wanted != computed:
        raise ImageDigestDoesNotMatch(given=given[:200], computed=str(computed))
    return computed


def _new_image(push: _Push, children: Sequence[Image]) -> Image:
    manifest = push.manifest
    largest = max((child.size_bytes for child in children), default=0)
    return Image(
        id=0,
        repository_id=push.repository.id,
        digest=push.digest,
        media_type=manifest.media_type,
        artifact_type=manifest.artifact_type,
        subject=manifest.subject,
        size_bytes=largest if manifest.is_index else manifest.size_bytes,
        manifest_size_bytes=len(push.content),
        pushed_at=push.now,
    )
