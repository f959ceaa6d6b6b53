"""LookupEvents: the account's events of the region, the newest first."""

from dataclasses import replace
from typing import Any

import msgspec

from openecr.application.audit_lookup import Lookup
from openecr.domain.audit import (
    Attribute,
    AuditEvent,
    cloudtrail_form,
    event_id,
    is_callers,
    read_only_text,
    resource_type,
)
from openecr.domain.errors import InvalidLookupAttributes, InvalidTimeRange
from openecr.web.aws.call import Call, Output, Parameters, Services
from openecr.web.aws.pages import next_token, page_request

_MOST_EVENTS = 50
_SECOND = 1_000_000


async def lookup_events(services: Services, call: Call) -> Output:
    """Answer a page. A page may be short, or empty, and still have a token to go on with."""
    wanted = _wanted(call.parameters)
    limit = call.parameters.get("MaxResults") or _MOST_EVENTS
    page = page_request(_with_small_letters(call), default_items=limit)
    if call.parameters.get("EventCategory") is not None:
        return {"Events": []}  # there are no Insights
    found = await services.audit.look_up(call.grant, wanted, page)
    account_id = call.caller.account_id
    return {
        "Events": [_told(event, account_id) for event in found.items],
        "NextToken": next_token(_with_small_letters(call), found),
    }


def _with_small_letters(call: Call) -> Call:
    """Return the call with the names that other services have for their parameters."""
    return replace(
        call, parameters={name[:1].lower() + name[1:]: value for name, value in call.parameters.items()}
    )


def _wanted(parameters: Parameters) -> Lookup:
    attributes: list[dict[str, Any]] = parameters.get("LookupAttributes") or []
    if len(attributes) > 1:
        raise InvalidLookupAttributes(message="You can only specify one lookup attribute.")
    since, until = parameters.get("StartTime"), parameters.get("EndTime")
    if since is not None and until is not None and since > until:
        raise InvalidTimeRange(message="StartTime must be before EndTime.")
    # Instants are told in whole seconds, so an end means the whole of its second.
    return Lookup(
        since=since,
        until=None if until is None else until - until % _SECOND + _SECOND - 1,
        attribute=_attribute(attributes[0]) if attributes else None,
    )


def _attribute(given: dict[str, Any]) -> tuple[Attribute, str]:
    return Attribute(given["AttributeKey"]), given["AttributeValue"]


def _told(event: AuditEvent, account_id: str) -> Output:
    is_own = is_callers(event, account_id)
    return {
        "EventId": event_id(event, account_id),
        "EventName": event.name,
        "ReadOnly": read_only_text(event),
        "AccessKeyId": event.access_key_id if is_own else None,
        "EventTime": event.requested_at,
        "EventSource": event.source,
        "Username": event.user_name if is_own else None,
        "Resources": [{"ResourceType": resource_type(arn), "ResourceName": arn} for arn in event.resources],
        "CloudTrailEvent": msgspec.json.encode(cloudtrail_form(event, account_id)).decode(),
    }
