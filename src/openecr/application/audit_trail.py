"""The audit trail: records are noted in memory, written in batches, so that no pull waits for a write.

Records of calls that changed something were stored with their effect; `move` takes them to the others.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from openecr.application.audit_lookup import AuditLookup, decode_event
from openecr.domain.audit import AuditEvent, cloudtrail_form, event_of, instant_key
from openecr.domain.decisions import AuditRecord, Outcome
from openecr.domain.errors import Unavailable
from openecr.ports.clock import Clock
from openecr.store import audit, audit_pending
from openecr.store.connections import Connection
from openecr.store.database import Database, DatabaseFailed

_LOG = structlog.get_logger(__name__)

WAITING_MAX = 50_000
"""So many records may wait to be written; more are lost, and counted."""

BATCH_RECORDS = 250
"""Encoded at once, in a thread: longer, and requests would notice."""

_REMOVED_ROWS = 1_000
_REMOVALS = 100
DAY = 24 * 60 * 60 * 1_000_000

Stream = Callable[[bytes], None]
"""Takes lines of JSON, each an event; never blocks and never raises."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    rows: str
    explanations: Sequence[tuple[str, int, str]]
    lines: bytes


class AuditTrail:
    """Notes, writes, streams and forgets."""

    def __init__(
        self,
        *,
        metadata: Database,
        activity: Database,
        clock: Clock,
        retention_days: int,
        stream: Stream | None = None,
    ) -> None:
        self._metadata = metadata
        self._activity = activity
        self._clock = clock
        self._retention_days = retention_days
        self._stream = stream
        self._waiting: list[AuditRecord] = []
        self._flushing = asyncio.Lock()
        self._lost_told = 0
        self.lookup = AuditLookup(metadata=metadata, activity=activity)
        self.lost = 0
        self.unauthenticated = 0

    def record(self, outcome: Outcome) -> None:
        """Take the outcome of a request. Those of nobody knows whom are counted; the others that are told are noted."""
        record = outcome.record
        if record is None:
            self.unauthenticated += outcome.caller is None
            return
        if record.is_stored and record.error_code is None:
            return
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append(record)
        else:
            self.lost += 1

    async def flush(self) -> None:
        """Write what was noted, and take what was stored with its effect to it: what a job does every moment."""
        await self.write()
        await self.move()

    async def write(self) -> None:
        """Write what was noted."""
        async with self._flushing:
            while self._waiting:
                batch = self._waiting[:BATCH_RECORDS]
                del self._waiting[:BATCH_RECORDS]
                await self._write(batch)
        if self.lost > self._lost_told:
            _LOG.error("audit records were lost", audit_lost=self.lost - self._lost_told)
            self._lost_told = self.lost

    async def _write(self, records: list[AuditRecord]) -> None:
        try:
            batch = await asyncio.to_thread(_batch, records, with_lines=self._stream is not None)
            await self._activity.write(partial(_store, batch=batch))
        except (Unavailable, asyncio.CancelledError):
            self._waiting[:0] = records  # the next run tries again; until then newer ones may be lost
            raise
        except DatabaseFailed:
            raise
        except Exception:
            self.lost += len(records)
            raise
        if self._stream is not None:
            self._stream(batch.lines)

    async def move(self) -> None:
        """Take what was stored with its effect to the trail."""
        while True:
            found = await self._metadata.scan(partial(audit_pending.list_oldest, limit=BATCH_RECORDS))
            if not found:
                return
            events = [decode_event(event) for _, event in found]
            await self._activity.write(partial(audit.put, rows=_rows(events)))
            if self._stream is not None:
                self._stream(_lines(events))
            keys = [key for key, _ in found]
            await self._metadata.write(partial(audit_pending.remove, ids=keys))
            if len(found) < BATCH_RECORDS:
                return

    def counts(self) -> dict[str, str]:
        """Return what `openecr status` tells: since the start, records lost and requests of nobody knows whom."""
        return {"audit_lost": str(self.lost), "unauthenticated_requests": str(self.unauthenticated)}

    async def expire(self) -> None:
        """Forget what is older than the retention, in steps of bounded size."""
        before = self._clock.now() - self._retention_days * DAY
        for _ in range(_REMOVALS):
            removed = await self._activity.write(
                partial(audit.remove_oldest, before=instant_key(before), limit=_REMOVED_ROWS)
            )
            removed += await self._activity.write(
                partial(audit.remove_oldest_explanations, before=before, limit=_REMOVED_ROWS)
            )
            if removed == 0:
                return


def _batch(records: Sequence[AuditRecord], *, with_lines: bool) -> _Batch:
    events = [event_of(record) for record in records]
    return _Batch(
        rows=_rows(events),
        explanations=[
            (record.context.request_id, record.context.requested_at, _encode(record.explanation).decode())
            for record in records
            if record.explanation is not None
        ],
        lines=_lines(events) if with_lines else b"",
    )


def _store(connection: Connection, batch: _Batch) -> None:
    audit.add(connection, batch.rows)
    for request_id, requested_at, explanation in batch.explanations:
        audit.add_explanation(connection, request_id, requested_at=requested_at, explanation=explanation)


def _rows(events: Sequence[AuditEvent]) -> str:
    return _encode(
        [(event.id, account_id, event.region, event) for event in events for account_id in event.accounts]
    ).decode()


def _lines(events: Sequence[AuditEvent]) -> bytes:
    """Return each event once, as its caller's account has it."""
    return b"".join(_encode(cloudtrail_form(event, event.accounts[0])) + b"\n" for event in events)
