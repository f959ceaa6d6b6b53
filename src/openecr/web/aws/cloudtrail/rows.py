"""Every operation of CloudTrail, one row each."""

from openecr.domain.callers import Caller, RequestContext
from openecr.domain.decisions import Requirement
from openecr.domain.registries import RegistryId
from openecr.web.aws.call import Parameters
from openecr.web.aws.cloudtrail import events
from openecr.web.aws.rows import Row


def _on_the_callers_trail(
    caller: Caller, context: RequestContext, parameters: Parameters
) -> list[Requirement]:
    """The action knows no resource: it is always the caller's own account, in the region of the request."""
    del parameters
    registry = RegistryId(account_id=caller.account_id, region=context.region)
    return [Requirement(actions=("cloudtrail:LookupEvents",), registry=registry)]


ROWS: tuple[Row, ...] = (
    Row(
        service="cloudtrail",
        name="LookupEvents",
        requires=_on_the_callers_trail,
        handler=events.lookup_events,
    ),
)
