"""Blobs: found, read, shared and linked to. Only a repository that holds a blob gives access to it."""

import base64
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import msgspec

from openecr.application.account_settings import value_of
from openecr.application.audit import audited, begin, note
from openecr.application.authentication import Bearer
from openecr.application.contents import BlobFile, Contents
from openecr.application.keyed_blobs import KeyedBlobs, sharing_key_id
from openecr.application.kms.repository_keys import uses_key
from openecr.application.limits import Limits
from openecr.application.losses import Losses
from openecr.application.sessions import Carried
from openecr.domain.account_settings import AccountSetting
from openecr.domain.blobs import Availability, LayerFailure, LayerFailureCode, LayerStatus, StoredBlob
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    ContentDamaged,
    LayerInaccessible,
    LayerInUse,
    LayerNotFound,
    LinkExpired,
    StorageFull,
)
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import Repository
from openecr.ports.clock import Clock
from openecr.ports.keys import KeyRing
from openecr.store import blobs as blob_rows
from openecr.store import repositories
from openecr.store.connections import Connection
from openecr.store.database import Database

SECOND = 1_000_000
_LINK_PURPOSE = "download-link"
_LINK_VERSION = 2
_AGAIN_BYTES = 2 * 1024 * 1024
"""After a read that failed so much is read again: more than a store gives at once."""

_LINK_MAX_CHARACTERS = 2_048
_DIGEST_MAX_CHARACTERS = 1_000


class DownloadLink(msgspec.Struct, frozen=True, array_like=True):
    """What a download URL says under its seal."""

    version: int
    account_id: str
    region: str
    repository_name: str
    repository_id: int
    digest: str
    caller_account_id: str
    caller_principal_id: str
    caller_access_key_id: str
    caller_session: Carried
    expires_at: int

    @property
    def bearer(self) -> Bearer:
        """Return for whom the URL was made."""
        return Bearer(
            self.caller_account_id,
            self.caller_principal_id,
            self.caller_access_key_id,
            self.caller_session,
        )

    @property
    def registry(self) -> RegistryId:
        """Return the registry that the layer belongs to."""
        return RegistryId(account_id=self.account_id, region=self.region)


@dataclass(frozen=True, slots=True)
class _Held:
    blob: StoredBlob
    grace_until: int


@dataclass(frozen=True, slots=True)
class _Mount:
    """A source; where content is sealed under a key of KMS, the blob as it was, and its key for the new holder."""

    source: Repository
    sealed: StoredBlob | None = None
    link_key: bytes | None = None


class _Begun:
    """Chunks of which the first is there; closing them closes what they are read from, also when nobody began."""

    def __init__(self, first: bytes, chunks: AsyncGenerator[bytes]) -> None:
        self._first: bytes | None = first
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Read no more."""
        await self._chunks.aclose()


class Blobs:
    """The use cases of stored layers and configs, on both faces."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        keyed: KeyedBlobs,
        losses: Losses,
        keys: KeyRing,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._database = database
        self._contents = contents
        self._losses = losses
        self._keyed = keyed
        self._keys = keys
        self._clock = clock
        self._limits = limits

    async def find(self, grant: Grant, digest: Digest) -> StoredBlob | None:
        """Return a blob that the repository holds, or None. Whoever asks may rely on it: its grace is renewed.

        Not so while the disk is full. Raises Unavailable.
        """
        repository = grant.require_repository()
        held = await self._held(repository, digest)
        if held is None:
            return None
        is_still_held = await self._renew_grace(repository, digest, held.grace_until)
        return held.blob if is_still_held else None

    async def get(self, grant: Grant, digest: Digest) -> StoredBlob:
        """Return a blob to be read. Raises LayerNotFound, KmsFailed, Unavailable."""
        repository = grant.require_repository()
        held = await self._held(repository, digest)
        if held is None:
            raise _not_found(repository, str(digest))
        return (
            await self._keyed.unlock(held.blob, repository, grant.context) if held.blob.key_id else held.blob
        )

    def file(self, blob: StoredBlob) -> BlobFile | None:
        """Return the file that holds a blob, if there is one. Raises Unavailable."""
        return self._contents.file(blob)

    async def redirect(self, grant: Grant, blob: StoredBlob) -> str | None:
        """Return a URL at which a client may read a blob that `get` gave from its store, where there is one.

        Its bytes are looked for before: nobody tells of what a client does not find there. Raises LayerNotFound where
        the blob proves lost, Unavailable.
        """
        url = await self._contents.redirect(blob)
        if url is not None and not await self._losses.check_length(blob):
            raise _not_found(grant.require_repository(), str(blob.digest))
        return url

    async def open(self, blob: StoredBlob, start: int, stop: int) -> AsyncGenerator[bytes]:
        """Read bytes [start, stop) of a blob, whoever asks. Raises Unavailable."""
        unlocked = await self._keyed.unlock_for_server(blob)
        async with aclosing(self._contents.open(unlocked, start, stop)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def begin(self, grant: Grant, blob: StoredBlob, start: int, stop: int) -> AsyncIterator[bytes]:
        """Return what reads bytes [start, stop) of a blob that `get` gave; the first of them are there already.

        Raises LayerNotFound where the blob proves lost, Unavailable.
        """
        chunks = self._watched(grant, blob, start, stop)
        return _Begun(await anext(chunks, b""), chunks)

    async def failure(
        self, grant: Grant, blob: StoredBlob, start: int, stop: int
    ) -> LayerNotFound | ContentDamaged:
        """Look into a blob whose bytes [start, stop) were not as they should be; return what to tell."""
        if await self._losses.look_into(blob, start, stop):
            return _not_found(grant.require_repository(), str(blob.digest))
        return ContentDamaged(
            message="A layer could not be read", context=f"{blob.digest} in [{start}, {stop})"
        )

    async def _watched(self, grant: Grant, blob: StoredBlob, start: int, stop: int) -> AsyncGenerator[bytes]:
        position = start
        try:
            async with aclosing(self._contents.open(blob, start, stop)) as chunks:
                async for chunk in chunks:
                    yield chunk
                    position += len(chunk)
        except ContentDamaged:
            raise await self.failure(grant, blob, position, min(position + _AGAIN_BYTES, stop)) from None

    async def check(
        self, grant: Grant, digests: Sequence[str]
    ) -> tuple[list[LayerStatus], list[LayerFailure]]:
        """Tell which layers the repository holds; malformed digests are failures (BatchCheckLayerAvailability)."""
        grant.require_repository()
        statuses: list[LayerStatus] = []
        failures: list[LayerFailure] = []
        for text in dict.fromkeys(digests):
            digest = Digest.find(text)
            if digest is None:
                failures.append(_malformed(text))
                continue
            blob = await self.find(grant, digest)
            if blob is None:
                statuses.append(LayerStatus(digest=text, availability=Availability.UNAVAILABLE))
            else:
                statuses.append(
                    LayerStatus(
                        digest=text,
                        availability=Availability.AVAILABLE,
                        size_bytes=blob.size_bytes,
                        media_type=blob.media_type,
                    )
                )
        return statuses, failures

    async def unlink(self, grant: Grant, digest: Digest) -> None:
        """Take a layer out of the repository. Raises LayerNotFound, LayerInUse."""
        repository = grant.require_repository()
        not_before = self._clock.now() + self._limits.doomed_seconds * SECOND

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            held = blob_rows.find_held(connection, repository.id, digest)
            if held is None:
                raise _not_found(repository, str(digest))
            if not blob_rows.remove_link(connection, repository.id, digest):
                raise LayerInUse(digest=str(digest), repository_name=repository.name)
            blob_rows.claim(connection, [held[0].blob_id], not_before=not_before)

        await self._database.write(audited(grant, unit))

    # --- mounts ---

    async def mount_candidates(self, grant: Grant, digest: Digest) -> list[str]:
        """Return names of repositories of the registry that hold a blob; each is still to be decided on."""
        registry, limit = grant.registry, self._limits.mount_candidates
        key_id = sharing_key_id(grant.require_repository())

        def scan(connection: Connection) -> list[str]:
            if not _may_mount(connection, registry):
                return []
            return blob_rows.list_holders(connection, registry, digest, key_id=key_id, limit=limit)

        return await self._database.scan(scan)

    async def mount(self, grant: Grant, sources: Sequence[Grant], digest: Digest) -> StoredBlob | None:
        """Let the repository hold a blob of the first source that has it, or return None.

        As in ECR only where the account setting allows it; unlike there, the source need not name it in an image.
        """
        target = grant.require_repository()
        eligible = [source.repository for source in sources if source.repository is not None]
        mounts = [
            _Mount(source)
            for source in eligible
            if source.registry == target.registry and source.settings.encryption == target.settings.encryption
        ]
        if uses_key(target):
            mounts = [
                mount for each in mounts if (mount := await self._sealed_mount(grant, each.source, digest))
            ]

        def unit(connection: Connection) -> StoredBlob | None:
            begin(grant)
            repositories.require_live(connection, target)
            if not _may_mount(connection, target.registry):
                return None
            found = (self._mount_from(connection, mount, target, digest) for mount in mounts)
            mounted = next(filter(None, found), None)
            if mounted is not None:
                note(connection, grant)
            return mounted

        return await self._database.write(unit) if mounts else None

    async def _sealed_mount(self, grant: Grant, source: Repository, digest: Digest) -> _Mount | None:
        """Seal the blob's key for the repository, where the source has the blob and its key may be used."""
        held = await self._held(source, digest)
        if held is None:
            return None
        target = grant.require_repository()
        link_key = await self._keyed.link_key(held.blob, source, target, grant.context)
        return None if link_key is None else _Mount(source, held.blob, link_key)

    def _mount_from(
        self, connection: Connection, mount: _Mount, target: Repository, digest: Digest
    ) -> StoredBlob | None:
        held = blob_rows.find_held(connection, mount.source.id, digest)
        if held is None or not repositories.is_live(connection, mount.source):
            return None
        found, sealed = held[0], mount.sealed
        if sealed is not None and (sealed.blob_id, sealed.link_key) != (found.blob_id, found.link_key):
            return None  # it was removed and pushed again: whoever asked uploads
        grace_until = self._clock.now() + self._limits.link_grace_seconds * SECOND
        is_new = blob_rows.link(
            connection,
            target.id,
            digest,
            found.blob_id,
            grace_until=grace_until,
            sealed_key=mount.link_key,
        )
        if is_new:
            return replace(found, link_key=mount.link_key)
        # The repository has held other bytes under the digest until now, or lost ones: those an upload heals.
        own = blob_rows.find_held(connection, target.id, digest)
        return None if own is None else own[0]

    # --- download URLs ---

    async def download_link(self, grant: Grant, digest: Digest, session: Carried = None) -> str:
        """Return a sealed, short-lived name of a layer. Raises LayerNotFound, LayerInaccessible.

        `session` is the caller's as `Sessions.carry` gives it.
        """
        caller = grant.caller
        assert (session is None) is (caller.session is None), "temporary credentials are told as such"
        repository = grant.require_repository()
        blob = await self.get(grant, digest)
        if not await self._database.read(
            lambda connection: blob_rows.is_referenced(connection, repository.id, blob.digest)
        ):
            raise LayerInaccessible(
                digest=str(digest),
                repository_name=repository.name,
                registry_id=repository.registry.account_id,
            )
        link = DownloadLink(
            version=_LINK_VERSION,
            account_id=repository.registry.account_id,
            region=repository.registry.region,
            repository_name=repository.name,
            repository_id=repository.id,
            digest=str(digest),
            caller_account_id=caller.account_id,
            caller_principal_id=caller.unique_id,
            caller_access_key_id=caller.access_key_id,
            caller_session=session,
            expires_at=self._clock.now() + self._limits.download_link_seconds * SECOND,
        )
        sealed = self._keys.seal(_LINK_PURPOSE, msgspec.msgpack.encode(link))
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open_link(self, token: str) -> DownloadLink:
        """Read a sealed name. Raises LinkExpired for anything else, or when its time has passed."""
        if len(token) > _LINK_MAX_CHARACTERS or not token.isascii():
            raise LinkExpired(message="The URL is malformed")
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            link = msgspec.msgpack.decode(self._keys.unseal(_LINK_PURPOSE, sealed), type=DownloadLink)
        except (ValueError, msgspec.MsgspecError):
            raise LinkExpired(message="The URL is malformed") from None
        if link.version != _LINK_VERSION:
            raise LinkExpired(message="The URL is malformed")
        if link.expires_at <= self._clock.now():
            raise LinkExpired
        return link

    # --- shared ---

    async def _held(self, repository: Repository, digest: Digest) -> _Held | None:
        found = await self._database.read(
            lambda connection: blob_rows.find_held(connection, repository.id, digest)
        )
        return None if found is None else _Held(*found)

    async def _renew_grace(self, repository: Repository, digest: Digest, grace_until: int) -> bool:
        """Tell whether the link is there still. Writes only when less than half of the grace is left.

        A full disk refuses uploads, and no question: the grace is not renewed then, and a push that relies on it may be
        told later that the blob is gone.
        """
        grace = self._limits.link_grace_seconds * SECOND
        now = self._clock.now()
        if grace == 0 or grace_until - now >= grace // 2:
            return True
        try:
            return await self._database.write(
                lambda connection: blob_rows.renew_link(
                    connection, repository.id, digest, grace_until=now + grace
                )
            )
        except StorageFull:
            return True


def _may_mount(connection: Connection, registry: RegistryId) -> bool:
    return value_of(connection, registry, AccountSetting.BLOB_MOUNTING) == "ENABLED"


def _malformed(text: str) -> LayerFailure:
    if not text:
        return LayerFailure(
            digest=text,
            code=LayerFailureCode.MISSING_LAYER_DIGEST,
            reason="Invalid request parameters: layer digest cannot be null or empty",
        )
    return LayerFailure(
        digest=text[:_DIGEST_MAX_CHARACTERS],
        code=LayerFailureCode.INVALID_LAYER_DIGEST,
        reason="Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
    )


def _not_found(repository: Repository, digest: str) -> LayerNotFound:
    return LayerNotFound(
        digest=digest, repository_name=repository.name, registry_id=repository.registry.account_id
    )
