"""Uploads: fenced, resumable, durable before they are acknowledged.

A request takes the session by raising its epoch and names a fresh location before it writes; what it wrote counts only
if the epoch is still its own when it ends. A stale connection's bytes are therefore never part of a blob.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol, Self

from openecr.application.limits import Limits
from openecr.domain.blobs import StoredBlob, Upload
from openecr.domain.decisions import Grant
from openecr.domain.digests import ALGORITHMS, Digest
from openecr.domain.errors import (
    EmptyUpload,
    InvalidLayer,
    InvalidLayerPart,
    LayerAlreadyExists,
    LayerPartLengthMismatch,
    LayerPartTooSmall,
    LayerTooLarge,
    LimitExceeded,
    UploadInterrupted,
    UploadNotFound,
)
from openecr.domain.repositories import Repository
from openecr.ports.blobs import BlobStore, PartWriter
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import blobs as blob_rows
from openecr.store import doomed, repositories, uploads
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.uploads import Part

SECOND = 1_000_000
LOCATION_BYTES = 24
_HASHERS = 1_024
_RENEWALS = 4
"""A streaming request renews its lease so many times in one idle period."""


class Hash(Protocol):
    """A running digest, as hashlib makes them."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of the bytes so far."""
        ...

    def copy(self) -> Self:
        """Return one that goes on from here by itself."""
        ...


class FinishRules(Enum):
    """Whose rules end an upload."""

    REGISTRY = "REGISTRY"
    AWS = "AWS"


@dataclass(slots=True)
class _Hashers:
    """Running digests of the first `received_bytes` of an upload."""

    received_bytes: int = 0
    running: dict[str, Hash] = field(default_factory=lambda: {"sha256": hashlib.sha256()})

    def copy(self) -> "_Hashers":
        return _Hashers(self.received_bytes, {name: each.copy() for name, each in self.running.items()})

    def update(self, data: bytes) -> None:
        for each in self.running.values():
            each.update(data)
        self.received_bytes += len(data)


class Uploads:
    """The use cases of layer uploads, on both faces."""

    def __init__(
        self, *, database: Database, blobs: BlobStore, clock: Clock, ids: Ids, limits: Limits
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._ids = ids
        self._limits = limits
        # Digests of what has arrived, kept between requests; without them the parts are read again at the end.
        self._hashers: OrderedDict[str, _Hashers] = OrderedDict()

    async def start(self, grant: Grant, *, algorithm: str | None = None) -> Upload:
        """Open a session; `algorithm` is a hint of the digest to come. Raises LimitExceeded."""
        repository = grant.require_repository()
        await self._blobs.check_space()
        now = self._clock.now()
        upload = Upload(
            id=self._ids.uuid(),
            repository_id=repository.id,
            received_bytes=0,
            epoch=0,
            started_at=now,
            expires_at=self._expires_at(),
        )
        limit = self._limits.uploads_per_repository

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            if uploads.count(connection, repository.id) >= limit:
                raise LimitExceeded(message=f"The repository has the maximum of {limit} open uploads")
            uploads.add(connection, upload)

        await self._database.write(unit)
        hashers = _Hashers()
        if algorithm is not None and algorithm in ALGORITHMS:
            hashers.running[algorithm] = hashlib.new(algorithm)
        self._keep_hashers(upload.id, hashers)
        return upload

    async def get(self, grant: Grant, upload_id: str) -> Upload:
        """Return an open session. Raises UploadNotFound."""
        repository = grant.require_repository()
        found = await self._database.read(
            lambda connection: uploads.find(connection, repository.id, upload_id)
        )
        if found is None:
            raise _not_found(repository, upload_id)
        return found

    async def append(
        self,
        grant: Grant,
        upload_id: str,
        chunks: AsyncIterator[bytes],
        *,
        first_byte: int | None = None,
        length_bytes: int | None = None,
    ) -> Upload:
        """Add one part. `first_byte` None appends; `length_bytes` is what the part must have, if that is known.

        Raises UploadNotFound, InvalidLayerPart, LayerPartLengthMismatch, LayerTooLarge, StorageFull, Unavailable, and
        UploadInterrupted after keeping what had arrived (nothing is kept of a part whose length was given).
        """
        repository = grant.require_repository()
        upload = await self.get(grant, upload_id)
        if first_byte is not None and first_byte != upload.received_bytes:
            raise InvalidLayerPart(
                upload_id=upload_id, first_byte=first_byte, received_bytes=upload.received_bytes
            )
        return await self._receive(await self._take(repository, upload), chunks, length_bytes)

    async def finish(
        self,
        grant: Grant,
        upload_id: str,
        digests: Sequence[Digest],
        *,
        chunks: AsyncIterator[bytes] | None = None,
        first_byte: int | None = None,
        rules: FinishRules = FinishRules.REGISTRY,
    ) -> StoredBlob:
        """Make a blob of what has arrived, and of a last part, under the first of `digests` that it has.

        Raises what `append` does, and InvalidLayer; under AWS's rules EmptyUpload, LayerPartTooSmall and
        LayerAlreadyExists too.
        """
        repository = grant.require_repository()
        if chunks is not None:
            upload = await self.append(grant, upload_id, chunks, first_byte=first_byte)
        else:
            upload = await self.get(grant, upload_id)
            if first_byte is not None and first_byte != upload.received_bytes:
                raise InvalidLayerPart(
                    upload_id=upload_id, first_byte=first_byte, received_bytes=upload.received_bytes
                )
        return await self._commit(repository, upload, digests, rules)

    async def cancel(self, grant: Grant, upload_id: str) -> None:
        """End a session and what it stored. Raises UploadNotFound."""
        repository = grant.require_repository()
        now = self._clock.now()

        def unit(connection: Connection) -> None:
            if uploads.find(connection, repository.id, upload_id) is None:
                raise _not_found(repository, upload_id)
            doomed.add(connection, uploads.remove(connection, upload_id), not_before=now)

        await self._database.write(unit)
        self._hashers.pop(upload_id, None)

    # --- one part ---

    async def _take(self, repository: Repository, upload: Upload) -> "_Part":
        location = self.new_location()
        expires_at = self._expires_at()
        limit = self._limits.layer_parts

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            if uploads.count_parts(connection, upload.id) >= limit:
                raise LimitExceeded(message=f"The upload has the maximum of {limit} layer parts")
            if not uploads.take(connection, upload, location=location, expires_at=expires_at):
                raise _taken(upload)

        await self._database.write(unit)
        return _Part(repository=repository, upload=upload, epoch=upload.epoch + 1, location=location)

    async def _receive(self, part: "_Part", chunks: AsyncIterator[bytes], length_bytes: int | None) -> Upload:
        """Write, make durable, record."""
        hashers = self._hashers_at(part.upload)
        writer = await self._blobs.create_part(part.location, () if hashers is None else (hashers.update,))
        interrupted: UploadInterrupted | None = None
        try:
            try:
                await self._write(part, writer, chunks, length_bytes)
            except UploadInterrupted as error:
                if length_bytes is not None:
                    raise
                interrupted = error
            size_bytes = await writer.finish()
        except BaseException:
            await writer.abort()
            raise
        recorded = await self._record(part, size_bytes)
        if hashers is not None:
            self._keep_hashers(part.upload.id, hashers)
        if interrupted is not None:
            raise interrupted
        return recorded

    async def _write(
        self, part: "_Part", writer: PartWriter, chunks: AsyncIterator[bytes], length_bytes: int | None
    ) -> None:
        lease = self._limits.upload_idle_seconds * SECOND // _RENEWALS
        renew_at = self._clock.now() + lease
        room = self._limits.layer_max_bytes - part.upload.received_bytes
        received = 0
        async for chunk in chunks:
            received += len(chunk)
            if received > room:
                raise LayerTooLarge(limit_bytes=self._limits.layer_max_bytes)
            await writer.write(chunk)
            if self._clock.now() >= renew_at:
                await self._renew(part)
                renew_at = self._clock.now() + lease
        if length_bytes is not None and received != length_bytes:
            raise LayerPartLengthMismatch(
                upload_id=part.upload.id,
                expected_bytes=length_bytes,
                actual_bytes=received,
                received_bytes=part.upload.received_bytes,
            )

    async def _renew(self, part: "_Part") -> None:
        expires_at = self._expires_at()

        def unit(connection: Connection) -> bool:
            return uploads.renew(connection, part.upload.id, epoch=part.epoch, expires_at=expires_at)

        if not await self._database.write(unit):
            raise _taken(part.upload)

    async def _record(self, part: "_Part", size_bytes: int) -> Upload:
        upload = part.upload
        received_bytes = upload.received_bytes + size_bytes
        expires_at = self._expires_at()

        def unit(connection: Connection) -> bool:
            return uploads.record(
                connection,
                upload.id,
                epoch=part.epoch,
                location=part.location,
                size_bytes=size_bytes,
                received_bytes=received_bytes,
                expires_at=expires_at,
            )

        if not await self._database.write(unit):
            raise _taken(upload)
        return replace(upload, received_bytes=received_bytes, epoch=part.epoch, expires_at=expires_at)

    def new_location(self) -> str:
        """Return a location that was never used and that nobody can guess."""
        return self._ids.token(LOCATION_BYTES).hex()

    def _expires_at(self) -> int:
        return self._clock.now() + self._limits.upload_idle_seconds * SECOND

    def _hashers_at(self, upload: Upload) -> _Hashers | None:
        kept = self._hashers.get(upload.id)
        if kept is not None and kept.received_bytes == upload.received_bytes:
            return kept.copy()
        return _Hashers() if upload.received_bytes == 0 else None

    def _keep_hashers(self, upload_id: str, hashers: _Hashers) -> None:
        self._hashers[upload_id] = hashers
        self._hashers.move_to_end(upload_id)
        while len(self._hashers) > _HASHERS:
            self._hashers.popitem(last=False)

    # --- the commit ---

    async def _commit(
        self, repository: Repository, upload: Upload, digests: Sequence[Digest], rules: FinishRules
    ) -> StoredBlob:
        parts = await self._parts(repository, upload)
        if rules is FinishRules.AWS:
            self._check_parts(upload, parts)
        digest = await self._matching(upload, parts, digests)
        if digest is None:
            raise InvalidLayer
        locations = [part.location for part in parts]
        location = await self._store_whole(repository, upload, locations)
        blob, is_new = await self._database.write(
            lambda connection: self._commit_unit(
                connection, repository, upload, digest, (location, *locations)
            )
        )
        self._hashers.pop(upload.id, None)
        if rules is FinishRules.AWS and not is_new:
            raise LayerAlreadyExists(
                digest=str(digest),
                repository_name=repository.name,
                registry_id=repository.registry.account_id,
            )
        return blob

    async def _parts(self, repository: Repository, upload: Upload) -> list[Part]:
        parts = await self._database.scan(lambda connection: uploads.list_parts(connection, upload.id))
        whole = uploads.whole_parts(parts, upload.received_bytes)
        if whole is None:
            raise _not_found(repository, upload.id)
        return whole

    def _check_parts(self, upload: Upload, parts: Sequence[Part]) -> None:
        if not parts:
            raise EmptyUpload(upload_id=upload.id)
        if any((part.size_bytes or 0) < self._limits.layer_part_min_bytes for part in parts[:-1]):
            raise LayerPartTooSmall

    async def _matching(
        self, upload: Upload, parts: Sequence[Part], digests: Sequence[Digest]
    ) -> Digest | None:
        wanted = {digest.algorithm for digest in digests}
        hashers = self._hashers_at(upload)
        if hashers is None or not wanted <= hashers.running.keys():
            hashers = await self._read_again(parts, wanted)
        computed = {
            Digest(algorithm=name, encoded=each.hexdigest()) for name, each in hashers.running.items()
        }
        return next((digest for digest in digests if digest in computed), None)

    async def _read_again(self, parts: Sequence[Part], algorithms: set[str]) -> _Hashers:
        """Digest stored parts, after a restart or for an algorithm that nobody announced."""
        hashers = _Hashers(0, {name: hashlib.new(name) for name in {"sha256", *algorithms}})
        for part in parts:
            async for chunk in self._blobs.open(part.location, 0, part.size_bytes or 0):
                await asyncio.to_thread(hashers.update, chunk)
        return hashers

    async def _store_whole(self, repository: Repository, upload: Upload, parts: Sequence[str]) -> str:
        """Return the location of the whole blob. A new one is named by the session first, like any part's."""
        if len(parts) == 1:
            return parts[0]
        whole = await self._take(repository, upload)
        if parts:
            return await self._blobs.assemble(parts, whole.location)
        writer = await self._blobs.create_part(whole.location)
        await writer.finish()
        return whole.location

    def _commit_unit(
        self,
        connection: Connection,
        repository: Repository,
        upload: Upload,
        digest: Digest,
        written: Sequence[str],
    ) -> tuple[StoredBlob, bool]:
        """The only commit point: blob, link and the end of the session, in one transaction.

        `written` are the locations that hold bytes of this upload, first the one that holds the whole blob.
        """
        location = written[0]
        now = self._clock.now()
        repositories.require_live(connection, repository)
        current = uploads.find(connection, repository.id, upload.id)
        if current is None or current.received_bytes != upload.received_bytes:
            raise _not_found(repository, upload.id)
        named = uploads.remove(connection, upload.id)
        region, size_bytes = repository.registry.region, upload.received_bytes
        blob_id, kept = blob_rows.keep(
            connection, region, digest, size_bytes=size_bytes, location=location, now=now
        )
        doomed.add(connection, {*named, *written} - {kept}, not_before=now)
        grace_until = now + self._limits.link_grace_seconds * SECOND
        is_new = blob_rows.link(connection, repository.id, digest, blob_id, grace_until=grace_until)
        return StoredBlob(blob_id=blob_id, digest=digest, size_bytes=size_bytes, location=kept), is_new


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part that one request may write: the session as it was taken, and where the bytes go."""

    repository: Repository
    upload: Upload
    epoch: int
    location: str


def _taken(upload: Upload) -> InvalidLayerPart:
    """Another request has taken the session; where that still exists it names our location, which goes with it."""
    return InvalidLayerPart(
        upload_id=upload.id, first_byte=upload.received_bytes, received_bytes=upload.received_bytes
    )


def _not_found(repository: Repository, upload_id: str) -> UploadNotFound:
    return UploadNotFound(
        upload_id=upload_id, repository_name=repository.name, registry_id=repository.registry.account_id
    )
