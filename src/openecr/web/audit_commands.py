"""What the operator asks of the audit trail: pages of its events, as CloudTrail writes them."""

from typing import Any

import msgspec

from openecr.application.audit_lookup import AuditLookup, Search
from openecr.domain.audit import cloudtrail_form
from openecr.domain.pages import PageRequest

EVENTS_PER_PAGE = 100
_PAGE_BYTES = 512 * 1024


async def page_of_events(audit: AuditLookup, wanted: Search, after: str | None) -> dict[str, Any]:
    """Return events, the oldest first, and where to go on (None: nowhere). Few are told if they are long."""
    page = await audit.search(wanted, PageRequest(limit=EVENTS_PER_PAGE, after=after))
    told: list[dict[str, object]] = []
    size_bytes = 0
    for received in page.items:
        form = cloudtrail_form(received.event, received.account_id)
        size_bytes += len(msgspec.json.encode(form))
        if told and size_bytes > _PAGE_BYTES:
            before = page.items[len(told) - 1]
            return {"events": told, "after": f"{before.event.id} {before.account_id}"}
        told.append(form)
    return {"events": told, "after": page.after}
