"""Sealing what is stored in clear: it was written before encryption was the default, or while it was switched off.

A blob's bytes are copied to a fresh location, sealed, and one unit of work lets its row name them. The location is
written down as doomed before it has a byte, and held for as long as the copy takes: a process that is killed leaves
nothing that is not collected, and a copy whose hold was lost is never named by a blob.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys
from openecr.application.limits import Limits
from openecr.application.pacing import Pace
from openecr.application.uploads import LOCATION_BYTES
from openecr.domain.blobs import StoredBlob
from openecr.domain.errors import ContentDamaged
from openecr.ports.blobs import BlobStore
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import doomed, sealing
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.uploads import Part

_LOG = structlog.get_logger(__name__)

SECOND = 1_000_000
HOLD_SECONDS = 60 * 60
"""What a killed process has written goes after that."""

RENEWALS = 4
"""So often in that time a copy renews its hold."""

ROOM_BYTES = 1024**3
"""So much is left to uploads: for a while a blob that is sealed is stored twice."""


@dataclass(slots=True, kw_only=True)
class SealReport:
    """What was done until now; `after` is the last blob that was looked at."""

    after: int = 0
    sealed: int = 0
    sealed_bytes: int = 0
    unreadable: int = 0
    is_done: bool = False


def resumed(payload: Mapping[str, object]) -> SealReport:
    """Return the report to go on with: an interrupted one, or a new one."""
    if not payload or payload.get("is_done"):
        return SealReport()
    return msgspec.convert(payload, SealReport)


class _Unreadable(Exception):
    """The bytes of a blob could not be had, or are not those of its digest."""


class _HoldLost(Exception):
    """Collection has taken the copy away: the process must have stood still for long."""


@dataclass(slots=True, kw_only=True)
class _Copy:
    """A blob on its way to another location, which is held until an instant."""

    blob: StoredBlob
    location: str
    key: bytes
    held_until: int


class Sealing:
    """Seals blobs one after the other, never faster than its pace."""

    def __init__(
        self,
        *,
        database: Database,
        store: BlobStore,
        contents: Contents,
        data_keys: DataKeys,
        pace: Pace,
        clock: Clock,
        ids: Ids,
        limits: Limits,
    ) -> None:
        self._database = database
        self._store = store
        self._contents = contents
        self._data_keys = data_keys
        self._pace = pace
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def step(self, report: SealReport) -> bool:
        """Seal the first blob in clear after the last one; tell whether there may be more.

        Raises StorageFull, Unavailable: then it is to be tried again later.
        """
        blob = await self._database.scan(partial(sealing.find_clear, after=report.after))
        if blob is None:
            return False
        await self._store.check_space(ROOM_BYTES + blob.size_bytes)
        copy = await self._begin(blob)
        try:
            await self._write(copy)
        except (_Unreadable, _HoldLost) as problem:
            # Whoever has removed or replaced the blob meanwhile may have removed its bytes.
            if await self._database.write(partial(self._give_up, copy=copy)) and isinstance(
                problem, _Unreadable
            ):
                report.unreadable += 1
                _LOG.warning("a blob cannot be sealed", digest=str(blob.digest), context=str(problem))
        else:
            if await self._commit(copy):
                report.sealed += 1
                report.sealed_bytes += blob.size_bytes
        report.after = blob.blob_id
        return True

    # --- the copy ---

    async def _begin(self, blob: StoredBlob) -> _Copy:
        """Name the location before a byte is written there."""
        copy = _Copy(
            blob=blob,
            location=self._ids.token(LOCATION_BYTES).hex(),
            key=self._data_keys.draw(),
            held_until=self._hold_until(),
        )
        await self._database.write(
            lambda connection: doomed.hold(connection, copy.location, until=copy.held_until)
        )
        return copy

    async def _write(self, copy: _Copy) -> None:
        """Write and make durable. Raises _Unreadable, _HoldLost, StorageFull, Unavailable."""
        blob = copy.blob
        running = hashlib.new(blob.digest.algorithm)
        writer = await self._store.create_part(
            copy.location, (running.update,), self._data_keys.extent_sealer(copy.key, copy.location)
        )
        renew_at = self._renew_at()
        try:
            async with aclosing(self._pace.of(self._read(blob))) as chunks:
                async for chunk in chunks:
                    await writer.write(chunk)
                    if self._clock.now() >= renew_at:
                        await self._renew(copy)
                        renew_at = self._renew_at()
            size_bytes = await writer.finish()
        except BaseException:
            await writer.abort()
            raise
        if size_bytes != blob.size_bytes or running.hexdigest() != blob.digest.encoded:
            raise _Unreadable("its bytes are not those of its digest")

    async def _read(self, blob: StoredBlob) -> AsyncGenerator[bytes]:
        """Read what is to be sealed. Raises _Unreadable, Unavailable."""
        if await self._store.size(blob.location) is None:
            raise _Unreadable("its bytes are missing")
        try:
            async with aclosing(self._contents.open(blob, 0, blob.size_bytes)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except ContentDamaged as error:
            raise _Unreadable(error.context or error.message) from error

    async def _renew(self, copy: _Copy) -> None:
        held_until, until = copy.held_until, self._hold_until()
        if self._clock.now() >= held_until or not await self._database.write(
            lambda connection: doomed.renew(connection, copy.location, held_until=held_until, until=until)
        ):
            raise _HoldLost
        copy.held_until = until

    def _hold_until(self) -> int:
        return self._clock.now() + HOLD_SECONDS * SECOND

    def _renew_at(self) -> int:
        return self._clock.now() + HOLD_SECONDS * SECOND // RENEWALS

    # --- its end ---

    async def _commit(self, copy: _Copy) -> bool:
        """Let the blob's row name the copy, if everything is still as it was; else the copy goes."""
        blob = copy.blob
        parts = [Part(location=copy.location, first_byte=0, size_bytes=blob.size_bytes)]
        seal = self._data_keys.seal_key(copy.key, parts if blob.size_bytes else (), blob.digest)

        def unit(connection: Connection) -> bool:
            now = self._clock.now()
            # A server of an earlier release removes what is due without claiming it.
            is_held = now < copy.held_until and doomed.keep(
                connection, copy.location, held_until=copy.held_until
            )
            if not is_held or not sealing.seal(
                connection, blob, location=copy.location, header=seal.header, sealed_key=seal.sealed_key
            ):
                doomed.add(connection, [copy.location], not_before=now)
                return False
            # A backup of the database names it until the next one is made.
            seconds = max(self._limits.sealed_from_seconds, self._limits.doomed_seconds)
            late = now + seconds * SECOND
            doomed.add(connection, [blob.location], not_before=late)
            return True

        return await self._database.write(unit)

    def _give_up(self, connection: Connection, copy: _Copy) -> bool:
        """Let the copy go at once; tell whether the blob is stored as it was."""
        doomed.keep(connection, copy.location, held_until=copy.held_until)
        doomed.add(connection, [copy.location], not_before=self._clock.now())
        return sealing.is_clear(connection, copy.blob)
