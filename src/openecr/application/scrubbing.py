"""Scrubbing: stored bytes are read again and compared with their digests; what proves bad is never served.

A blob that is lost answers 404 everywhere until the next upload of its digest, which heals it for every link.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec
import structlog

from openecr.application.pacing import Pace
from openecr.domain.blobs import StoredBlob
from openecr.domain.errors import ContentDamaged, Unavailable
from openecr.ports.blobs import BlobStore
from openecr.ports.clock import Clock
from openecr.store import doomed, scrubbing
from openecr.store.database import Database

_LOG = structlog.get_logger(__name__)

STEP_BLOBS = 100
AUDIT_STEP = 500
LOST_TOLD = 100
"""So many lost digests are told by name; the log has all of them."""

Read = Callable[[StoredBlob, int, int], AsyncGenerator[bytes]]


@dataclass(slots=True, kw_only=True)
class ScrubReport:
    """What was found until now; `after` is the last blob that was looked at."""

    after: int = 0
    checked: int = 0
    checked_bytes: int = 0
    unreadable: int = 0
    lost: list[str] = field(default_factory=list[str])
    is_done: bool = False


def resumed(payload: Mapping[str, object]) -> ScrubReport:
    """Return the report to go on with: an interrupted one, or a new one."""
    if not payload or payload.get("is_done"):
        return ScrubReport()
    return msgspec.convert(payload, ScrubReport)


@dataclass(slots=True, kw_only=True)
class AuditReport:
    """What the blob store holds and no row names, and the digests of which it holds nothing."""

    stored: int = 0
    orphans: int = 0
    orphans_told: list[str] = field(default_factory=list[str])
    blobs: int = 0
    missing: list[str] = field(default_factory=list[str])


class Scrubbing:
    """Compares the blob store with the database, at the pace that is given."""

    def __init__(
        self,
        *,
        database: Database,
        store: BlobStore,
        read: Read,
        clock: Clock,
        pace: Pace,
    ) -> None:
        """`read` gives a blob's content, opened where it is sealed."""
        self._database = database
        self._store = store
        self._read = read
        self._clock = clock
        self._pace = pace

    async def step(self, report: ScrubReport) -> bool:
        """Look at some blobs after the last one; tell whether there may be more. Raises Unavailable."""
        found = await self._database.scan(
            partial(scrubbing.list_stored, after=report.after, limit=STEP_BLOBS)
        )
        for blob in found:
            await self._check(blob, report)
            report.after = blob.blob_id
        return len(found) == STEP_BLOBS

    async def _check(self, blob: StoredBlob, report: ScrubReport) -> None:
        try:
            is_good = await self._is_good(blob)
        except Unavailable as error:
            # Not proven bad: the store may be away, or the key of the repository disabled.
            report.unreadable += 1
            _LOG.warning("a blob could not be read", digest=str(blob.digest), context=error.context)
            return
        report.checked += 1
        report.checked_bytes += blob.size_bytes
        if is_good or not await self._database.write(
            lambda connection: scrubbing.mark_lost(connection, blob)
        ):
            return
        _LOG.error("a blob is lost until it is uploaded again", digest=str(blob.digest))
        if len(report.lost) < LOST_TOLD:
            report.lost.append(str(blob.digest))

    async def _is_good(self, blob: StoredBlob) -> bool:
        """Read it all. Raises Unavailable where that says nothing about the bytes."""
        if await self._store.size(blob.location) is None:
            return False
        running = hashlib.new(blob.digest.algorithm)
        size_bytes = 0
        try:
            async for chunk in self._pace.of(self._read(blob, 0, blob.size_bytes)):
                await asyncio.to_thread(running.update, chunk)
                size_bytes += len(chunk)
        except ContentDamaged:
            return False
        return size_bytes == blob.size_bytes and running.hexdigest() == blob.digest.encoded

    # --- the audit ---

    async def audit(self, *, remove_orphans: bool) -> AuditReport:
        """Compare what is stored with what is named, without reading bytes. Raises Unavailable.

        A location is named in the database before a byte is written there: one that nobody names is nobody's.
        """
        report = AuditReport()
        batch: list[str] = []
        async for location in self._store.iterate():
            batch.append(location)
            if len(batch) == AUDIT_STEP:
                await self._audit_locations(batch, report, remove_orphans=remove_orphans)
                batch = []
        await self._audit_locations(batch, report, remove_orphans=remove_orphans)
        await self._audit_blobs(report)
        return report

    async def _audit_locations(
        self, locations: Sequence[str], report: AuditReport, *, remove_orphans: bool
    ) -> None:
        report.stored += len(locations)
        known = await self._database.scan(partial(scrubbing.known_locations, locations=[*locations]))
        unknown = [location for location in locations if location not in known]
        # What was removed since it was listed is no orphan.
        orphans = [location for location in unknown if await self._store.size(location) is not None]
        report.orphans += len(orphans)
        report.orphans_told += orphans[: LOST_TOLD - len(report.orphans_told)]
        if orphans and remove_orphans:
            now = self._clock.now()
            await self._database.write(lambda connection: doomed.add(connection, orphans, not_before=now))

    async def _audit_blobs(self, report: AuditReport) -> None:
        after = 0
        while found := await self._database.scan(
            partial(scrubbing.list_stored, after=after, limit=STEP_BLOBS)
        ):
            for blob in found:
                report.blobs += 1
                if await self._store.size(blob.location) is None and len(report.missing) < LOST_TOLD:
                    report.missing.append(str(blob.digest))
            after = found[-1].blob_id
