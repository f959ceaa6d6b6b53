"""The audit trail: what an event keeps of a request, and its form as CloudTrail writes it.

Every field is bounded, and none holds a secret, a token or a byte of a manifest or layer. Source of the form:
CloudTrail user guide, "CloudTrail record contents" and "CloudTrail userIdentity element".
"""

import datetime as dt
import enum
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openecr.domain.callers import (
    Caller,
    FederatedUser,
    RequestContext,
    RoleSession,
    Root,
    Service,
    Session,
    User,
    WebIdentity,
)
from openecr.domain.decisions import AuditRecord, Grant, Requirement, Verdict
from openecr.domain.registries import PARTITION

TEXT_MAX_CHARACTERS = 512
MESSAGE_MAX_CHARACTERS = 1_024
ITEMS_MAX = 10
"""So many resources, and members of a list among the parameters, are kept."""

_VERSION = "1.11"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_INSTANT_DIGITS = 15
_OWNERS_MAX = 2
_SHARED = 3
_VARIANTS = "89ab"
_TYPES = {
    ("ecr", "repository"): "AWS::ECR::Repository",
    ("iam", "user"): "AWS::IAM::User",
    ("iam", "role"): "AWS::IAM::Role",
    ("iam", "group"): "AWS::IAM::Group",
    ("iam", "policy"): "AWS::IAM::Policy",
    ("kms", "key"): "AWS::KMS::Key",
    ("kms", "alias"): "AWS::KMS::Alias",
}


@dataclass(slots=True, kw_only=True)  # not frozen: a frozen one takes three times as long to make
class AuditEvent:
    """One event. `accounts` are those whose event it is: the caller's, then the owners' of what it was about."""

    requested_at: int
    request_id: str
    source: str
    name: str
    is_read_only: bool
    accounts: list[str]
    region: str
    source_address: str
    user_agent: str
    identity: dict[str, object]
    parameters: dict[str, object] = field(default_factory=dict[str, object])
    resources: list[str] = field(default_factory=list[str])
    error_code: str | None = None
    error_message: str | None = None

    @property
    def id(self) -> str:
        """Return the key of the event, which sorts by time."""
        return f"{instant_key(self.requested_at)}-{self.request_id}"

    @property
    def user_name(self) -> str:
        """Return the name that LookupEvents knows the caller by: of a user or session, or `root`."""
        arn = str(self.identity.get("arn", ""))
        return "root" if self.identity["type"] == "Root" else arn.rpartition("/")[2]

    @property
    def access_key_id(self) -> str | None:
        """Return the key that the request was made with."""
        found = self.identity.get("accessKeyId")
        return None if found is None else str(found)


def clean(text: str, limit_characters: int = TEXT_MAX_CHARACTERS) -> str:
    """Return the beginning of a text that came from outside, as every database and terminal takes it."""
    text = text[:limit_characters]
    if text.isascii() and text.isprintable():
        return text
    decodable = text.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "?" for character in decodable)


def instant_key(instant_at: int) -> str:
    """Return the beginning of the keys of what happened at an instant."""
    return f"{instant_at:0{_INSTANT_DIGITS}x}"


def event_of(record: AuditRecord) -> AuditEvent:
    """Return what is kept of a request."""
    caller, context, call = record.caller, record.context, record.call
    owners = dict.fromkeys(requirement.registry.account_id for requirement in record.requirements)
    owners.pop(caller.account_id, None)
    resources = dict.fromkeys(requirement.resource for requirement in record.requirements)
    return AuditEvent(
        requested_at=context.requested_at,
        request_id=context.request_id,
        source=call.source,
        name=call.name,
        is_read_only=call.is_read_only,
        accounts=[caller.account_id, *owners][: 1 + _OWNERS_MAX],
        region=context.region,
        source_address=clean(context.source_address),
        user_agent=clean(context.user_agent),
        identity=_identity(caller),
        parameters=_parameters(record),
        resources=[clean(arn) for arn in resources if arn.startswith("arn:")][:ITEMS_MAX],
        error_code=record.error_code,
        error_message=None
        if record.error_message is None
        else clean(record.error_message, MESSAGE_MAX_CHARACTERS),
    )


def _parameters(record: AuditRecord) -> dict[str, object]:
    parameters = dict(record.parameters)
    if record.requirements and record.call.reference is not None:
        requirement = record.requirements[0]
        parameters["registryId"] = requirement.registry.account_id
        name = requirement.repository_name
        if name is not None and name != "*":
            parameters["repositoryName"] = clean(name)
        if record.call.reference:
            parameters[record.call.reference] = _reference(record.call.reference, record.reference)
    return parameters


def _reference(member: str, text: str) -> object:
    """A reference with a colon is a digest, any other a tag."""
    text = clean(text)
    if member == "imageId":
        return {"imageDigest" if ":" in text else "imageTag": text}
    return text


# --- who ----------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1_024)
def _identity(caller: Caller) -> dict[str, object]:
    """Return the element `userIdentity`. It is kept, and never changed: a client makes many requests."""
    if isinstance(caller, Service):
        return {"type": "AWSService", "accountId": caller.account_id, "invokedBy": caller.arn}
    if isinstance(caller, WebIdentity):
        return {
            "type": "WebIdentityUser",
            "principalId": clean(caller.unique_id),
            "userName": clean(caller.subject),
            "identityProvider": clean(caller.arn),
        }
    identity: dict[str, object] = {
        "type": _KINDS[type(caller)],
        "principalId": caller.unique_id,
        "arn": caller.arn,
        "accountId": caller.account_id,
        "accessKeyId": caller.access_key_id,
    }
    if isinstance(caller, User):
        identity["userName"] = caller.name
    if caller.session is not None:
        identity["sessionContext"] = _session(caller, caller.session)
    if isinstance(caller, RoleSession):
        identity["principalId"] = f"{_role_id(caller)}:{caller.session.name}"
    return identity


_KINDS: Mapping[type[Caller], str] = {
    Root: "Root",
    User: "IAMUser",
    RoleSession: "AssumedRole",
    FederatedUser: "FederatedUser",
}


def _session(caller: Caller, session: Session) -> dict[str, object]:
    context: dict[str, object] = {
        "attributes": {"creationDate": instant_text(session.issued_at), "mfaAuthenticated": "false"}
    }
    if isinstance(caller, RoleSession):
        context["sessionIssuer"] = {
            "type": "Role",
            "principalId": _role_id(caller),
            "arn": f"arn:{PARTITION}:iam::{caller.account_id}:role/{caller.role_name}",
            "accountId": caller.account_id,
            "userName": caller.role_name,
        }
    if session.federated_provider is not None:
        context["webIdFederationData"] = {"federatedProvider": clean(session.federated_provider)}
    if session.source_identity is not None:
        context["sourceIdentity"] = session.source_identity
    return context


def _role_id(caller: RoleSession) -> str:
    return caller.unique_id.partition(":")[0]


# --- as CloudTrail writes it ----------------------------------------------------------------------------------------


def cloudtrail_form(event: AuditEvent, account_id: str) -> dict[str, object]:
    """Return the event as JSON of the account that receives it, in CloudTrail's order of members."""
    form: dict[str, object] = {
        "eventVersion": _VERSION,
        "userIdentity": _seen_identity(event, account_id),
        "eventTime": instant_text(event.requested_at),
        "eventSource": event.source,
        "eventName": event.name,
        "awsRegion": event.region,
        "sourceIPAddress": event.source_address,
        "userAgent": event.user_agent,
    }
    if event.error_code is not None:
        form["errorCode"] = event.error_code
    if event.error_message is not None and is_callers(event, account_id):
        form["errorMessage"] = event.error_message
    form |= {
        "requestParameters": event.parameters or None,
        "responseElements": None,
        "requestID": event.request_id,
        "eventID": event_id(event, account_id),
        "readOnly": event.is_read_only,
        "resources": [_resource(arn) for arn in event.resources],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account_id,
    }
    if len(event.accounts) > 1:
        form["sharedEventID"] = _uuid(event, _SHARED)
    return form | {"eventCategory": "Management"}


def is_callers(event: AuditEvent, account_id: str) -> bool:
    """Tell whether an account's event is that of its own caller, and not of one in another account."""
    return account_id == event.accounts[0]


def _seen_identity(event: AuditEvent, account_id: str) -> Mapping[str, object]:
    """Return who called. Of another account's callers no more is told than which one it was (CloudTrail)."""
    if is_callers(event, account_id):
        return event.identity
    principal = event.identity.get("principalId")
    return {"type": "AWSAccount", "principalId": principal, "accountId": event.identity.get("accountId")}


def _resource(arn: str) -> dict[str, object]:
    return {"accountId": account_of(arn), "type": resource_type(arn), "ARN": arn}


def account_of(arn: str) -> str:
    """Return the account that stands in an ARN."""
    return arn.split(":")[4] if arn.count(":") > _ARN_COLONS else ""


def resource_type(arn: str) -> str | None:
    """Return what CloudFormation calls a resource of this kind, if it has a name for it."""
    if arn.count(":") <= _ARN_COLONS:
        return None
    _, _, service, _, _, rest = arn.split(":", 5)
    return _TYPES.get((service, rest.partition("/")[0]))


_ARN_COLONS = 4


def instant_text(instant_at: int) -> str:
    """Return an instant as CloudTrail writes it: whole seconds, UTC."""
    return f"{_EPOCH + dt.timedelta(seconds=instant_at // 1_000_000):%Y-%m-%dT%H:%M:%SZ}"


def event_id(event: AuditEvent, account_id: str) -> str:
    """Return the event's id: a UUID of version 8 (RFC 9562) that tells when it happened, another for each account."""
    return _uuid(event, event.accounts.index(account_id))


def _uuid(event: AuditEvent, number: int) -> str:
    instant = instant_key(event.requested_at)
    random = event.request_id.replace("-", "")[-15:].rjust(15, "0")
    return f"{instant[:8]}-{instant[8:12]}-8{instant[12:]}-{_VARIANTS[number]}{random[:3]}-{random[3:]}"


def instant_of(event_id: str) -> int | None:
    """Return when the event with an id happened, or None for what is no id of an event."""
    digits = event_id.replace("-", "")
    try:
        return int(digits[:12] + digits[13:16], 16)
    except ValueError:
        return None


class Attribute(enum.Enum):
    """What events can be looked up by (CloudTrail, LookupEvents)."""

    EVENT_ID = "EventId"
    EVENT_NAME = "EventName"
    READ_ONLY = "ReadOnly"
    USER_NAME = "Username"
    RESOURCE_TYPE = "ResourceType"
    RESOURCE_NAME = "ResourceName"
    EVENT_SOURCE = "EventSource"
    ACCESS_KEY_ID = "AccessKeyId"


def has_attribute(event: AuditEvent, account_id: str, attribute: Attribute, value: str) -> bool:
    """Tell whether an account's event is one of those that are looked up. A resource goes by ARN or by name."""
    return value in _attributes(event, account_id, attribute)


def _attributes(event: AuditEvent, account_id: str, attribute: Attribute) -> Sequence[str | None]:
    values: Mapping[Attribute, Sequence[str | None]] = {
        Attribute.EVENT_ID: (event_id(event, account_id),),
        Attribute.EVENT_NAME: (event.name,),
        Attribute.READ_ONLY: (read_only_text(event),),
        Attribute.USER_NAME: (event.user_name if is_callers(event, account_id) else None,),
        Attribute.RESOURCE_TYPE: [resource_type(arn) for arn in event.resources],
        Attribute.RESOURCE_NAME: [*event.resources, *(arn.partition("/")[2] for arn in event.resources)],
        Attribute.EVENT_SOURCE: (event.source,),
        Attribute.ACCESS_KEY_ID: (event.access_key_id if is_callers(event, account_id) else None,),
    }
    return values[attribute]


def read_only_text(event: AuditEvent) -> str:
    """Return `true` or `false`, as LookupEvents has it."""
    return "true" if event.is_read_only else "false"


# --- why ----------------------------------------------------------------------------------------------------------


def explanation_of(grant: Grant) -> Mapping[str, object]:
    """Return why a decision was what it was, for the operator alone: it names policies that no client may hear of."""
    requirement = grant.requirement
    return explain(grant.caller, grant.context, requirement, grant.verdict, action=grant.action)


def explain(
    caller: Caller,
    context: RequestContext,
    requirement: Requirement,
    verdict: Verdict,
    *,
    action: str,
    keys: Sequence[tuple[str, tuple[str, ...]]] = (),
) -> Mapping[str, object]:
    """Return why a verdict was what it was. `keys` are those that the writing transaction knew."""
    statement = verdict.statement
    return {
        "decision": verdict.decision.value,
        "statement": None
        if statement is None
        else {
            "kind": statement.kind.value,
            "source": clean(statement.source),
            "index": statement.index,
            "sid": statement.sid,
        },
        "missing": None if verdict.missing is None else verdict.missing.value,
        "action": action or requirement.actions[0],
        "actions": list(requirement.actions),
        "mode": requirement.mode.value,
        "resource": clean(requirement.resource),
        "principal": caller.arn,
        "context": {
            "aws:SourceIp": clean(context.source_address),
            "aws:SecureTransport": str(context.is_secure_transport).lower(),
            "aws:RequestedRegion": context.region,
            "aws:CurrentTime": instant_text(context.requested_at),
            **_bounded_keys((*requirement.context_keys, *keys)),
        },
    }


def _bounded_keys(keys: Sequence[tuple[str, tuple[str, ...]]]) -> dict[str, list[str]]:
    return {clean(name): [clean(value) for value in values[:ITEMS_MAX]] for name, values in keys[:ITEMS_MAX]}
