"""The audit trail: records are noted in memory, written in batches, so that no pull waits for a write.

Records of calls that changed something were stored with their effect; `move` takes them to the others. One process of
all that share a database does so at a time, so that each of these events is streamed by one of them.
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

MOVER_SECONDS = 10
"""A process that has not been heard of for so long is no longer the one that moves events."""

_REMOVED_ROWS = 1_000
SECOND = 1_000_000
DAY = 24 * 60 * 60 * SECOND

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
        process: str | None = None,
    ) -> None:
        """`process` names this one among all that share the database; None: there is no other."""
        self._metadata = metadata
        self._activity = activity
        self._clock = clock
        self._retention_days = retention_days
        self._stream = stream
        self._process = process
        self._moves_until = 0
        self._waiting: list[AuditRecord] = []
        self._flushing = asyncio.Lock()
        self._moving = asyncio.Lock()
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
        """Take what was stored with its effect to the trail, unless another process does."""
        async with self._moving:
            while await self._move_some():
                pass

    async def _move_some(self) -> bool:
        """Take a batch; False where nothing is left for this process."""
        found = await self._metadata.scan(partial(audit_pending.list_oldest, limit=BATCH_RECORDS))
        if not found:
            return False
        if not self._moves_for(MOVER_SECONDS / 2):
            return await self._become_mover()  # who moved until now may have taken what was found
        events = [decode_event(event) for _, event in found]
        await self._activity.write(partial(audit.put, rows=_rows(events)))
        if not self._moves_for(0):
            return False  # another process may have it already
        if self._stream is not None:
            self._stream(_lines(events))
        keys = [key for key, _ in found]
        await self._metadata.write(partial(audit_pending.remove, ids=keys))
        return len(found) == BATCH_RECORDS

    async def hand_over(self) -> None:
        """Let another process move events at once: this one stops."""
        if self._process is not None and self._moves_until:
            self._moves_until = 0
            await self._metadata.write(partial(audit_pending.release, process=self._process))

    async def _become_mover(self) -> bool:
        """Be the one process that moves events from now on; False where another one is."""
        now = self._clock.now()
        until = now + MOVER_SECONDS * SECOND
        assert self._process is not None
        take = partial(audit_pending.take, process=self._process, now=now, until=until)
        is_mover = await self._metadata.write(take)
        self._moves_until = until if is_mover else 0
        return is_mover

    def _moves_for(self, seconds: float) -> bool:
        """Tell whether no other process moves events for so long."""
        return self._process is None or self._clock.now() + seconds * SECOND < self._moves_until

    def counts(self) -> dict[str, str]:
        """Return what `openecr status` tells: since the start, records lost and requests of nobody knows whom."""
        return {"audit_lost": str(self.lost), "unauthenticated_requests": str(self.unauthenticated)}

    async def expire(self) -> int:
        """Forget some of what is older than the retention; return how much: where it is any, there may be more."""
        before = self._clock.now() - self._retention_days * DAY
        removed = await self._activity.write(
            partial(audit.remove_oldest, before=instant_key(before), limit=_REMOVED_ROWS)
        )
        return removed + await self._activity.write(
            partial(audit.remove_oldest_explanations, before=before, limit=_REMOVED_ROWS)
        )


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
