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

from openecr.application.losses import Losses
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
    lost_count: int = 0
    lost: list[str] = field(default_factory=list[str])
    """Also those that were lost before and still are."""

    found_again: int = 0
    is_done: bool = False


def resumed(payload: Mapping[str, object]) -> ScrubReport:
    """Return the report to go on with: an interrupted one, or a new one."""
    if not payload or payload.get("is_done"):
        return ScrubReport()
    return msgspec.convert(payload, ScrubReport)


@dataclass(slots=True, kw_only=True)
class AuditReport:
    """What the blob store holds and no row names, and blobs of which it has not what it must.

    `missing` has nothing stored, `damaged` another length than it must have, and `lost` is known to be so.
    """

    stored: int = 0
    orphans: int = 0
    orphans_told: list[str] = field(default_factory=list[str])
    blobs: int = 0
    missing_count: int = 0
    missing: list[str] = field(default_factory=list[str])
    damaged_count: int = 0
    damaged: list[str] = field(default_factory=list[str])
    lost_count: int = 0
    lost: list[str] = field(default_factory=list[str])


class Scrubbing:
    """Compares the blob store with the database, at the pace that is given."""

    def __init__(
        self,
        *,
        database: Database,
        store: BlobStore,
        read: Read,
        losses: Losses,
        clock: Clock,
        pace: Pace,
    ) -> None:
        """`read` gives a blob's content, opened where it is sealed."""
        self._database = database
        self._store = store
        self._read = read
        self._losses = losses
        self._clock = clock
        self._pace = pace

    async def step(self, report: ScrubReport) -> bool:
        """Look at some blobs after the last one; tell whether there may be more. Raises Unavailable."""
        await self._losses.check_store()
        found = await self._database.scan(partial(scrubbing.list_all, after=report.after, limit=STEP_BLOBS))
        for blob, was_lost in found:
            await self._check(blob, report, was_lost=was_lost)
            report.after = blob.blob_id
        return len(found) == STEP_BLOBS

    async def _check(self, blob: StoredBlob, report: ScrubReport, *, was_lost: bool) -> None:
        try:
            is_good = await self._is_good(blob)
            if not is_good and not was_lost:  # the way from the store may have damaged what is whole there
                is_good = await self._is_good(blob)
            if is_good == was_lost:
                changed = await (self._losses.restore(blob) if was_lost else self._losses.mark(blob))
                is_good = is_good or not changed  # it has other bytes by now
        except Unavailable as error:
            # Not proven bad: the store may be away, or the key of the repository disabled.
            report.unreadable += 1
            _LOG.warning("a blob could not be read", digest=str(blob.digest), context=error.context)
            return
        report.checked += 1
        report.checked_bytes += blob.size_bytes
        if is_good:
            report.found_again += was_lost
            return
        report.lost_count += 1
        _tell(report.lost, blob)

    async def _is_good(self, blob: StoredBlob) -> bool:
        """Read it all. Raises Unavailable where that says nothing about the bytes."""
        if not await self._losses.has_its_length(blob):
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
        await self._losses.check_store()
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
        while found := await self._database.scan(partial(scrubbing.list_all, after=after, limit=STEP_BLOBS)):
            for blob, is_lost in found:
                report.blobs += 1
                if is_lost:
                    report.lost_count += 1
                    _tell(report.lost, blob)
                else:
                    await self._audit_blob(blob, report)
            after = found[-1][0].blob_id

    async def _audit_blob(self, blob: StoredBlob, report: AuditReport) -> None:
        if await self._losses.has_its_length(blob):
            return
        if await self._store.size(blob.location) is None:
            report.missing_count += 1
            _tell(report.missing, blob)
        else:
            report.damaged_count += 1
            _tell(report.damaged, blob)


def _tell(told: list[str], blob: StoredBlob) -> None:
    if len(told) < LOST_TOLD:
        told.append(str(blob.digest))
