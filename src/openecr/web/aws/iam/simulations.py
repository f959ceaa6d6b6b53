"""IAM: the policy simulator."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from openecr.application.iam.simulated_policies import Exclusion
from openecr.application.iam.simulations import EVERYTHING, Matched, Outcome, Result, Wanted
from openecr.domain.decisions import Decision
from openecr.domain.iam_errors import IamValidationError, InvalidInput
from openecr.domain.pages import Page
from openecr.engines.iam.positions import Position
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam.pages import page_request, paged

_DECISIONS = {
    Decision.ALLOW: "allowed",
    Decision.EXPLICIT_DENY: "explicitDeny",
    Decision.IMPLICIT_DENY: "implicitDeny",
}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,4}", re.ASCII)
_LIST_SUFFIX = "List"


async def simulate_principal_policy(services: Services, call: Call) -> Output:
    """Tell what a user, group or role might do."""
    results = await services.iam.simulations.of_principal(
        call.grant, call.parameters["PolicySourceArn"], _wanted(call)
    )
    return _told(call, results)


async def simulate_custom_policy(services: Services, call: Call) -> Output:
    """Tell what some policies would let somebody do."""
    return _told(call, await services.iam.simulations.of_documents(call.grant, _wanted(call)))


def _wanted(call: Call) -> Wanted:
    given = call.parameters
    return Wanted(
        actions=given["ActionNames"],
        resources=given.get("ResourceArns") or (),
        policies=given.get("PolicyInputList") or (),
        boundaries=given.get("PermissionsBoundaryPolicyInputList") or (),
        levels=[
            level.get("ServiceControlPolicyInputList") or ()
            for level in given.get("OrderedOrganizationPolicyInputList") or ()
        ],
        resource_policy=given.get("ResourcePolicy"),
        resource_owner=given.get("ResourceOwner"),
        caller_arn=given.get("CallerArn"),
        keys=_keys(given.get("ContextEntries") or ()),
        excluded=[_exclusion(each) for each in given.get("PolicyExclusionList") or ()],
    )


def _keys(entries: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return values by key. Raises InvalidInput."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        name, kind = entry.get("ContextKeyName"), entry.get("ContextKeyType")
        values = tuple(entry.get("ContextKeyValues") or ())
        if name is None or kind is None:
            raise InvalidInput(message="A context entry needs ContextKeyName and ContextKeyType.")
        if not kind.endswith(_LIST_SUFFIX) and len(values) != 1:
            raise InvalidInput(message=f"The context key {name} of type {kind} needs one value.")
        is_value = _CHECKS.get(kind.removesuffix(_LIST_SUFFIX), _is_anything)
        if not all(map(is_value, values)):
            raise InvalidInput(message=f"The context key {name} has a value that is no {kind}.")
        found[name] = values
    return found


def _is_anything(value: str) -> bool:
    del value
    return True


def _is_number(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _is_date(value: str) -> bool:
    return _is_number(value) or _parses(datetime.fromisoformat)(value)


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "numeric": _is_number,
    "boolean": lambda value: value in {"true", "false"},
    "ip": _parses(lambda value: ipaddress.ip_network(value, strict=False)),
    "binary": _parses(lambda value: base64.b64decode(value, validate=True)),
    "date": _is_date,
}


def _exclusion(given: Mapping[str, Any]) -> Exclusion:
    inline = given.get("InlinePolicyIdentifier")
    return Exclusion(
        type=given.get("PolicyType"),
        arn=given.get("PolicyArn"),
        inline=None
        if inline is None
        else (inline["PolicyName"], inline["AttachmentType"], inline["AttachmentName"]),
    )


def _told(call: Call, results: Sequence[Result]) -> Output:
    """A marker is how many results were told before. Raises IamValidationError."""
    page = page_request(call)
    after = page.after or "0"
    if _COUNT.fullmatch(after) is None:
        raise IamValidationError(message="Invalid Marker.")
    start = int(after)
    end = start + page.limit
    told = Page(items=tuple(results[start:end]), after=str(end) if end < len(results) else None)
    return paged("EvaluationResults", told, _result)


def _result(result: Result) -> Output:
    outcomes = result.outcomes
    is_about_everything = [outcome.resource for outcome in outcomes] == [EVERYTHING]
    matched = {(each.policy.identifier, each.span): each for outcome in outcomes for each in outcome.matched}
    told: Output = {
        "EvalActionName": result.action,
        "EvalResourceName": EVERYTHING,
        "EvalDecision": _DECISIONS[result.decision],
        "MatchedStatements": [_matched(each) for each in matched.values()],
        "MissingContextValues": [],
        "PermissionsBoundaryDecisionDetail": _boundary(outcome.is_inside_boundary for outcome in outcomes),
        "OrganizationsDecisionDetail": _organization(outcomes),
    }
    if is_about_everything:
        told["MissingContextValues"] = list(outcomes[0].missing_keys)
    else:
        told["ResourceSpecificResults"] = [_outcome(outcome) for outcome in outcomes]
    return told


def _outcome(outcome: Outcome) -> Output:
    sides = outcome.across_accounts
    return {
        "EvalResourceName": outcome.resource,
        "EvalResourceDecision": _DECISIONS[outcome.decision],
        "MatchedStatements": [_matched(each) for each in outcome.matched],
        "MissingContextValues": list(outcome.missing_keys),
        "PermissionsBoundaryDecisionDetail": _boundary((outcome.is_inside_boundary,)),
        "EvalDecisionDetails": None
        if sides is None
        else {side: _DECISIONS[decision] for side, decision in sides.items()},
    }


def _matched(matched: Matched) -> Output:
    return {
        "SourcePolicyId": matched.policy.identifier,
        "SourcePolicyType": matched.policy.type,
        "StartPosition": _position(matched.span.start),
        "EndPosition": _position(matched.span.end),
    }


def _position(position: Position) -> Output:
    return {"Line": position.line, "Column": position.column}


def _boundary(answers: Iterable[bool | None]) -> Output | None:
    is_inside = _all(answers)
    return None if is_inside is None else {"AllowedByPermissionsBoundary": is_inside}


def _organization(outcomes: Sequence[Outcome]) -> Output | None:
    is_allowed = _all(outcome.is_allowed_by_organization for outcome in outcomes)
    return None if is_allowed is None else {"AllowedByOrganizations": is_allowed}


def _all(answers: Iterable[bool | None]) -> bool | None:
    known = [answer for answer in answers if answer is not None]
    return all(known) if known else None
