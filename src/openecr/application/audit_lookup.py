"""The audit trail's reading side: looked up by an account, searched by the operator.

What committed with its effect and was not yet taken to the trail is read with it. A reading looks at a bounded number
of events; where that is not all, it says where to go on, even if it has found nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import msgspec

from openecr.domain.audit import Attribute, AuditEvent, has_attribute, instant_key, instant_of
from openecr.domain.decisions import Grant
from openecr.domain.pages import Page, PageRequest
from openecr.store import audit, audit_pending
from openecr.store.audit import Stored
from openecr.store.database import Database

EXAMINED_MAX = 2_000
"""So many events are looked at for one page."""

_PENDING_MAX = 1_000
decode_event = msgspec.json.Decoder(AuditEvent).decode
_LATEST = 2**59
"""Later than any instant that a key can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What an account looks for: instants (both inclusive, None open), and an attribute's value."""

    since: int | None = None
    until: int | None = None
    attribute: tuple[Attribute, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What the operator looks for; None: everything. Of an event in two accounts the caller's copy is found first.

    `principal` is an ARN, its last part, or an access key; `repository` a name or an ARN.
    """

    since: int
    until: int | None = None
    account_id: str | None = None
    principal: str | None = None
    repository: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """An event as an account has received it."""

    event: AuditEvent
    account_id: str


class AuditLookup:
    """Reads the trail."""

    def __init__(self, *, metadata: Database, activity: Database) -> None:
        self._metadata = metadata
        self._activity = activity

    async def look_up(self, grant: Grant, wanted: Lookup, page: PageRequest) -> Page[AuditEvent]:
        """Return a page of the caller's account's events in the region of the request, the newest first."""
        account_id, region = grant.caller.account_id, grant.context.region
        since, before = _bounds(wanted)
        before = page.after or before
        pending = await self._pending()
        stored = await self._activity.scan(
            lambda connection: audit.list_before(
                connection, account_id, region, since=since, before=before, limit=EXAMINED_MAX
            )
        )
        is_rest = len(stored) < EXAMINED_MAX
        reached = since if is_rest else stored[-1].id
        found = {row.id: row.event for row in stored}
        found |= {
            row.id: row.event
            for row in pending
            if row.account_id == account_id and reached <= row.id < before and row.region == region
        }
        events: list[AuditEvent] = []
        for key in sorted(found, reverse=True):
            event = decode_event(found[key])
            if wanted.attribute is not None and not has_attribute(event, account_id, *wanted.attribute):
                continue
            events.append(event)
            if len(events) == page.limit:
                return Page(items=tuple(events), after=key)
        return Page(items=tuple(events), after=None if is_rest else reached)

    async def search(self, wanted: Search, page: PageRequest) -> Page[Received]:
        """Return a page of all accounts' events, the oldest first."""
        after_id, _, after_account_id = (page.after or instant_key(max(wanted.since, 0))).partition(" ")
        after = (after_id, after_account_id)
        until = instant_key(_LATEST if wanted.until is None else max(wanted.until, 0) + 1)
        pending = await self._pending()
        stored = await self._activity.scan(
            partial(audit.list_after, after=after, until=until, limit=EXAMINED_MAX)
        )
        is_rest = len(stored) < EXAMINED_MAX
        reached = (until, "") if is_rest else (stored[-1].id, stored[-1].account_id)
        found = {(row.id, row.account_id): row.event for row in stored}
        found |= {
            (row.id, row.account_id): row.event
            for row in pending
            if after < (row.id, row.account_id) <= reached and row.id < until
        }
        events: list[Received] = []
        for key, account_id in sorted(found):
            event = decode_event(found[key, account_id])
            if not _is_wanted(event, account_id, wanted):
                continue
            events.append(Received(event, account_id))
            if len(events) == page.limit:
                return Page(items=tuple(events), after=f"{key} {account_id}")
        return Page(items=tuple(events), after=None if is_rest else " ".join(reached))

    async def find_explanation(self, request_id: str) -> Mapping[str, object] | None:
        """Return why a request was denied, for the operator alone; None where that is not known (any more)."""
        found = await self._activity.read(partial(audit.find_explanation, request_id=request_id))
        return None if found is None else cast("Mapping[str, object]", msgspec.json.decode(found))

    async def _pending(self) -> Sequence["_Pending"]:
        """Read before the trail: what moves meanwhile is found twice, and never missed."""
        rows = await self._metadata.scan(partial(audit_pending.list_oldest, limit=_PENDING_MAX))
        found: list[_Pending] = []
        for key, text in rows:
            event = decode_event(text)
            found += [_Pending(key, account_id, text, event.region) for account_id in event.accounts]
        return found


@dataclass(frozen=True, slots=True)
class _Pending(Stored):
    region: str


def _bounds(wanted: Lookup) -> tuple[str, str]:
    """Return the keys from which, and before which, events are looked for."""
    since = 0 if wanted.since is None else max(wanted.since, 0)
    until = _LATEST - 1 if wanted.until is None else wanted.until
    if wanted.attribute is not None and wanted.attribute[0] is Attribute.EVENT_ID:
        happened_at = instant_of(wanted.attribute[1])  # an event's id tells when it was
        if happened_at is not None:
            since, until = max(since, happened_at), min(until, happened_at)
    return instant_key(since), instant_key(max(until + 1, 0))


def _is_wanted(event: AuditEvent, account_id: str, wanted: Search) -> bool:
    if wanted.account_id is None:
        if account_id != event.accounts[0]:
            return False
    elif account_id != wanted.account_id:
        return False
    if wanted.principal is not None and wanted.principal not in _names_of_caller(event):
        return False
    return wanted.repository is None or any(
        wanted.repository in {arn, arn.partition(":repository/")[2]} for arn in event.resources
    )


def _names_of_caller(event: AuditEvent) -> tuple[str, ...]:
    return (str(event.identity.get("arn", "")), event.user_name, event.access_key_id or "")
