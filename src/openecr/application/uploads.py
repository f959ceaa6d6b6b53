"""Uploads: fenced, resumable, durable before they are acknowledged.

A request takes the session by raising its epoch and names a fresh location before it writes; what it wrote counts only
if the epoch is still its own when it ends. A stale connection's bytes are therefore never part of a blob.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import TypeVar

from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys, Seal, header_of
from openecr.application.keyed_blobs import KeyedBlobs, KeyedUpload
from openecr.application.limits import Limits
from openecr.application.losses import Losses
from openecr.application.running_digests import RunningDigest, RunningDigests
from openecr.application.upload_ends import SECOND, UploadEnds, check_offset, not_found
from openecr.application.upload_requests import Access, Received, TakenPart
from openecr.domain.blobs import StoredBlob, Upload
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import (
    EmptyUpload,
    InvalidLayer,
    InvalidLayerPart,
    LayerAlreadyExists,
    LayerPartLengthMismatch,
    LayerPartTooSmall,
    LayerTooLarge,
    LimitExceeded,
    Unavailable,
    UploadInterrupted,
    UploadNotFound,
)
from openecr.domain.repositories import Repository
from openecr.engines.sealing import EXTENTS_MAX
from openecr.ports.blobs import BlobStore, PartWriter
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import doomed, repositories, uploads
from openecr.store.blobs import ContentUnchecked
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.uploads import Part

LOCATION_BYTES = 24
T = TypeVar("T")

_RENEWALS = 4
"""A streaming request renews its lease so many times in one idle period."""

_ATTEMPTS = 10


class FinishRules(Enum):
    """Whose rules end an upload."""

    REGISTRY = "REGISTRY"
    AWS = "AWS"


class Uploads:
    """The use cases of layer uploads, on both faces."""

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        contents: Contents,
        data_keys: DataKeys,
        keyed: KeyedBlobs,
        losses: Losses,
        clock: Clock,
        ids: Ids,
        limits: Limits,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._contents = contents
        self._data_keys = data_keys
        self._keyed = keyed
        self._losses = losses
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._digests = RunningDigests()
        self._ends = UploadEnds(clock=clock, limits=limits)

    async def start(self, grant: Grant, *, algorithm: str | None = None) -> Upload:
        """Open a session; `algorithm` is a hint of the digest to come.

        Raises LimitExceeded, StorageFull, KmsFailed.
        """
        access = await self._access(grant)
        repository = access.repository
        await self._blobs.check_space()
        upload_id = self._ids.uuid()
        upload = Upload(
            id=upload_id,
            repository_id=repository.id,
            owner=access.owner,
            received_bytes=0,
            epoch=0,
            started_at=self._clock.now(),
            expires_at=self._expires_at(),
            sealed_key=self._data_keys.for_upload(upload_id, access.vault),
        )
        limit = self._limits.uploads_per_repository
        # Counted outside the unit: an exact count would make every upload wait for every other one.
        if await self._database.read(lambda connection: uploads.count(connection, repository.id)) >= limit:
            raise LimitExceeded(message=f"The repository has the maximum of {limit} open uploads")

        def unit(connection: Connection) -> None:
            repositories.require_live(connection, repository)
            uploads.add(connection, upload)

        await self._database.write(unit)
        self._digests.keep(upload.id, RunningDigest.of_nothing(() if algorithm is None else (algorithm,)))
        return upload

    async def get(self, grant: Grant, upload_id: str) -> Upload:
        """Return an open session. Raises UploadNotFound."""
        repository = grant.require_repository()
        found = await self._database.read(
            lambda connection: uploads.find(connection, repository.id, upload_id, _owner(grant))
        )
        if found is None:
            raise not_found(repository, upload_id)
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

        Raises UploadNotFound, InvalidLayerPart, LayerPartLengthMismatch, LayerTooLarge, LimitExceeded, StorageFull,
        Unavailable, KmsFailed, and UploadInterrupted after keeping what had arrived (nothing is kept of a part whose
        length was given).
        """
        access = await self._access(grant)
        await self._blobs.check_space()
        part = await self._take(access, upload_id, first_byte)
        received = await self._receive(part, chunks, length_bytes)
        return await self._keep(part, received)

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

        Raises what `append` does, and InvalidLayer, after which the session is as it was before, with the last part;
        under AWS's rules EmptyUpload, LayerPartTooSmall and LayerAlreadyExists too.
        """
        access = await self._access(grant)
        if chunks is None:
            upload = await self.get(grant, upload_id)
            check_offset(upload, first_byte)
        else:
            await self._blobs.check_space()
            part = await self._take(access, upload_id, first_byte)
            received = await self._receive(part, chunks, None)
            digest = received.match_of_whole(part, digests)
            if digest is not None and rules is FinishRules.REGISTRY:
                return await self._finish_at_once(part, received, digest)
            upload = await self._keep(part, received)
        return await self._finish_kept(access, upload, digests, rules)

    async def _finish_at_once(self, part: TakenPart, received: Received, digest: Digest) -> StoredBlob:
        """Record the only part and make a blob of it in one transaction: one wait for the disk less."""
        parts = [Part(location=part.location, first_byte=0, size_bytes=received.size_bytes)]

        def unit(
            connection: Connection, seal: Seal, checked: frozenset[str]
        ) -> StoredBlob | InvalidLayerPart | UploadNotFound:
            upload = self._advanced(part, received)
            lost = self._record(connection, part, upload, received.size_bytes)
            if lost is not None:
                return lost
            return self._ends.commit(
                connection,
                repository=part.repository,
                upload=upload,
                parts=parts,
                digest=digest,
                location=part.location,
                seal=seal,
                checked=checked,
            )[0]

        blob = await self._commit(part.access, part.upload, parts, digest, unit)
        if not isinstance(blob, StoredBlob):
            raise blob
        self._digests.forget(part.upload.id)
        return blob

    async def _finish_kept(
        self, access: Access, upload: Upload, digests: Sequence[Digest], rules: FinishRules
    ) -> StoredBlob:
        repository = access.repository
        parts = await self._parts(repository, upload)
        if rules is FinishRules.AWS:
            self._check_parts(upload, parts)
        digest = await self._matching(access, upload, parts, digests)
        if digest is None:
            raise InvalidLayer
        location = await self._store_whole(access, upload, parts)

        def unit(connection: Connection, seal: Seal, checked: frozenset[str]) -> tuple[StoredBlob, bool]:
            return self._ends.commit(
                connection,
                repository=repository,
                upload=upload,
                parts=parts,
                digest=digest,
                location=location,
                seal=seal,
                checked=checked,
            )

        blob, is_new = await self._commit(access, upload, parts, digest, unit)
        self._digests.forget(upload.id)
        if rules is FinishRules.AWS and not is_new:
            raise LayerAlreadyExists(
                digest=str(digest),
                repository_name=repository.name,
                registry_id=repository.registry.account_id,
            )
        return blob

    async def cancel(self, grant: Grant, upload_id: str) -> None:
        """End a session and what it stored. Raises UploadNotFound."""
        repository = grant.require_repository()

        def unit(connection: Connection) -> None:
            if uploads.find(connection, repository.id, upload_id, _owner(grant)) is None:
                raise not_found(repository, upload_id)
            self._ends.remove(connection, upload_id)

        await self._database.write(unit)
        self._digests.forget(upload_id)

    async def _access(self, grant: Grant) -> Access:
        """Find out what a request may reach. Raises RepositoryNotFound, KmsFailed."""
        repository = grant.require_repository()
        vault = await self._keyed.open(repository, grant.context)
        return Access(repository=repository, owner=_owner(grant), context=grant.context, vault=vault)

    # --- one part ---

    async def _take(
        self, access: Access, upload_id: str, first_byte: int | None, *, is_for_part: bool = True
    ) -> TakenPart:
        """Take the session: whoever held it until now can record nothing any more."""
        repository = access.repository
        location = self._ids.token(LOCATION_BYTES).hex()
        expires_at = self._expires_at()
        limit = min(self._limits.layer_parts, EXTENTS_MAX)

        def unit(connection: Connection) -> TakenPart:
            repositories.require_live(connection, repository)
            found = uploads.find(connection, repository.id, upload_id, access.owner)
            if found is None:
                raise not_found(repository, upload_id)
            check_offset(found, first_byte)
            # Each part has raised the epoch: counting them, where there may be too many, is seldom needed.
            if is_for_part and found.epoch >= limit and uploads.has_parts(connection, found.id, limit):
                raise LimitExceeded(message=f"The upload has the maximum of {limit} layer parts")
            taken = uploads.take(connection, found, location=location, expires_at=expires_at)
            return TakenPart(access=access, upload=taken, location=location)

        return await self._database.write(unit)

    async def _receive(
        self, part: TakenPart, chunks: AsyncIterator[bytes], length_bytes: int | None
    ) -> Received:
        """Write and make durable."""
        digest = self._digests.at(part.upload)
        writer = await self._blobs.create_part(
            part.location,
            () if digest is None else (digest.update,),
            self._data_keys.sealer(part.upload, part.location, part.access.vault),
        )
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
        return Received(size_bytes=size_bytes, digest=digest, interrupted=interrupted)

    async def _keep(self, part: TakenPart, received: Received) -> Upload:
        """Record what arrived. Raises UploadInterrupted after that, where it was not all."""
        upload = self._advanced(part, received)
        lost = await self._database.write(
            lambda connection: self._record(connection, part, upload, received.size_bytes)
        )
        if lost is not None:
            raise lost
        if received.digest is not None:
            self._digests.keep(upload.id, received.digest)
        if received.interrupted is not None:
            raise received.interrupted
        return upload

    def _advanced(self, part: TakenPart, received: Received) -> Upload:
        return replace(
            part.upload,
            received_bytes=part.upload.received_bytes + received.size_bytes,
            expires_at=self._expires_at(),
        )

    async def _write(
        self, part: TakenPart, writer: PartWriter, chunks: AsyncIterator[bytes], length_bytes: int | None
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

    async def _renew(self, part: TakenPart) -> None:
        expires_at = self._expires_at()

        def unit(connection: Connection) -> None:
            if not uploads.renew(connection, part.upload, expires_at=expires_at):
                raise self._lost(connection, part)

        await self._database.write(unit)

    def _record(
        self, connection: Connection, part: TakenPart, upload: Upload, size_bytes: int
    ) -> InvalidLayerPart | UploadNotFound | None:
        """Count the part, which is durable, or doom it: bytes that the database does not know would stay for ever."""
        if uploads.record(connection, upload, location=part.location, size_bytes=size_bytes):
            return None
        uploads.forget_part(connection, upload.id, part.location)
        doomed.add(connection, [part.location], not_before=self._clock.now())
        return self._lost(connection, part)

    def _lost(self, connection: Connection, part: TakenPart) -> InvalidLayerPart | UploadNotFound:
        """Return what to tell a request whose session was taken, or ended, by another one."""
        found = uploads.find(connection, part.repository.id, part.upload.id, part.upload.owner)
        if found is None:
            return not_found(part.repository, part.upload.id)
        return InvalidLayerPart(
            upload_id=found.id,
            first_byte=part.upload.received_bytes,
            received_bytes=found.received_bytes,
        )

    def _expires_at(self) -> int:
        """To the second, so that most requests leave what is indexed as it is, which PostgreSQL does without."""
        expires_at = self._clock.now() + self._limits.upload_idle_seconds * SECOND
        return expires_at - expires_at % SECOND

    # --- the commit ---

    async def _commit(
        self,
        access: Access,
        upload: Upload,
        parts: Sequence[Part],
        digest: Digest,
        unit: Callable[[Connection, Seal, frozenset[str]], T],
    ) -> T:
        """Run the unit that makes the blob, with what its rows are to hold. Raises Unavailable.

        Content that is there already is kept in the place of what was uploaded: where its bytes are gone, that is found
        out now, and what was uploaded heals it. The unit names such content, and is run again with what was `checked`.
        """
        checked = frozenset[str]()
        for _ in range(_ATTEMPTS):
            try:
                return await self._seal(access, upload, parts, digest, _given(unit, checked))
            except ContentUnchecked as found:
                await self._losses.check_length(found.blob)
                checked |= {found.blob.location}
        raise Unavailable(message="Others are pushing the same layer. Try again.", context=str(digest))

    async def _seal(
        self,
        access: Access,
        upload: Upload,
        parts: Sequence[Part],
        digest: Digest,
        unit: Callable[[Connection, Seal], T],
    ) -> T:
        if access.vault is None:
            seal = self._data_keys.seal_blob(upload, parts, digest)
            return await self._database.write(lambda connection: unit(connection, seal))
        data_key = self._data_keys.of_upload(upload, access.vault)
        assert data_key is not None, "uploads to such repositories are sealed"
        keyed = KeyedUpload(
            repository=access.repository,
            context=access.context,
            vault=access.vault,
            upload_id=upload.id,
            digest=digest,
            header=header_of(parts),
            data_key=data_key,
        )

        async def write(seal: Seal) -> T:
            return await self._database.write(lambda connection: unit(connection, seal))

        return await self._keyed.commit(keyed, write)

    async def _parts(self, repository: Repository, upload: Upload) -> list[Part]:
        parts = await self._database.scan(lambda connection: uploads.list_parts(connection, upload.id))
        whole = uploads.whole_parts(parts, upload.received_bytes)
        if whole is None:  # the session has gone on, or is gone
            raise not_found(repository, upload.id)
        return whole

    def _check_parts(self, upload: Upload, parts: Sequence[Part]) -> None:
        if not parts:
            raise EmptyUpload(upload_id=upload.id)
        if any((part.size_bytes or 0) < self._limits.layer_part_min_bytes for part in parts[:-1]):
            raise LayerPartTooSmall

    async def _matching(
        self, access: Access, upload: Upload, parts: Sequence[Part], digests: Sequence[Digest]
    ) -> Digest | None:
        wanted = {digest.algorithm for digest in digests}
        running = self._digests.at(upload)
        if running is None or not wanted <= running.running.keys():
            running = await self._read_again(access, upload, parts, wanted)
        computed = running.digests()
        return next((digest for digest in digests if digest in computed), None)

    async def _read_again(
        self, access: Access, upload: Upload, parts: Sequence[Part], algorithms: set[str]
    ) -> RunningDigest:
        """Digest stored parts, after a restart or for an algorithm that nobody announced."""
        running = RunningDigest.of_nothing(algorithms)
        for part in parts:
            async for chunk in self._contents.open_part(upload, part, access.vault):
                await asyncio.to_thread(running.update, chunk)
        return running

    async def _store_whole(self, access: Access, upload: Upload, parts: Sequence[Part]) -> str:
        """Return the location of the whole blob. A new one is named by the session first, like any part's."""
        if len(parts) == 1:
            return parts[0].location
        whole = await self._take(access, upload.id, upload.received_bytes, is_for_part=False)
        return await self._blobs.assemble([part.location for part in parts], whole.location)


def _given(
    unit: Callable[[Connection, Seal, frozenset[str]], T], checked: frozenset[str]
) -> Callable[[Connection, Seal], T]:
    return lambda connection, seal: unit(connection, seal, checked)


def _owner(grant: Grant) -> str:
    """Return whose uploads a request may see: sessions of one role share theirs."""
    return f"{grant.caller.account_id}/{grant.caller.unique_id}"
