"""What operations of STS require (service authorization reference, "STS"), and of whom they take no call at all."""

import re

from openecr.application.session_parameters import inherited_tags
from openecr.domain.callers import Caller, FederatedUser, RequestContext, RoleSession, Root, WebIdentity
from openecr.domain.decisions import Requirement
from openecr.domain.errors import AccessDenied
from openecr.domain.iam import EntityKind, EntityName
from openecr.domain.iam_errors import IamValidationError
from openecr.domain.registries import PARTITION, RegistryId
from openecr.engines.sigv4 import UnknownKey
from openecr.web.aws.call import Parameters
from openecr.web.aws.iam.requirements import tag_keys

_ROLE_ARN = re.compile(
    rf"arn:{PARTITION}:iam::(?P<account>[0-9]{{12}}):role/(?:[!-~]{{1,510}}/)?(?P<name>[\w+=,.@-]{{1,64}})",
    re.ASCII,
)
_OF_SESSIONS_OF_USERS = frozenset({"AssumeRole", "GetCallerIdentity"})
_NOT_OF_ROLES = frozenset({"GetSessionToken", "GetFederationToken"})

ContextKeys = tuple[tuple[str, tuple[str, ...]], ...]


def check_caller(caller: Caller, service: str, operation: str) -> None:
    """Refuse what temporary credentials may never do, and what a root may not, whatever policies say.

    Raises UnknownKey for IAM, as AWS does without a second factor (there are none), and AccessDenied for STS.
    """
    if service == "sts" and operation == "AssumeRole" and isinstance(caller, Root):
        raise AccessDenied(message="Roles may not be assumed by root accounts.")
    if caller.session is None or service not in {"iam", "sts"}:
        return
    if isinstance(caller, RoleSession):
        is_refused = service == "sts" and operation in _NOT_OF_ROLES
    elif service == "iam":
        raise UnknownKey
    elif isinstance(caller, FederatedUser):
        is_refused = operation != "GetCallerIdentity"
    else:
        is_refused = operation not in _OF_SESSIONS_OF_USERS
    if is_refused:
        raise AccessDenied(message=f"Cannot call {operation} with session credentials")


def role_account(role_arn: str) -> str:
    """Return the account of the role that an ARN names. Raises IamValidationError where it names none."""
    return _parsed(role_arn)["account"]


def on_role(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """Require that the caller may take the role; and tag, or name who is behind, where the session will be."""
    source_identity = source_identity_of(caller, parameters)
    keys = (
        *tag_keys(parameters),
        *_transitive_keys(parameters.get("TransitiveTagKeys") or ()),
        *_optional("sts:ExternalId", parameters.get("ExternalId")),
        ("sts:RoleSessionName", (parameters["RoleSessionName"],)),
        *_optional("sts:SourceIdentity", source_identity),
    )
    is_tagged = bool(parameters.get("Tags") or inherited_tags(caller.session))
    return [
        _requirement(
            "sts:AssumeRole",
            context,
            parameters["RoleArn"],
            keys,
            is_tagged=is_tagged,
            is_named=source_identity is not None,
        )
    ]


def on_role_with_web_identity(
    caller: Caller, context: RequestContext, parameters: Parameters
) -> list[Requirement]:
    """Require that the role trusts the provider with this very identity. The door knows no other callers."""
    keys: ContextKeys = (("sts:RoleSessionName", (parameters["RoleSessionName"],)),)
    is_tagged = is_named = False
    if isinstance(caller, WebIdentity):
        is_tagged, is_named = bool(caller.tags), caller.source_identity is not None
        tags = [{"Key": key, "Value": value} for key, value in caller.tags]
        keys = (
            *keys,
            *((f"{caller.provider}:{name}", values) for name, values in caller.claims),
            *tag_keys({"Tags": tags}),
            *_transitive_keys(caller.transitive_tag_keys),
            *_optional("sts:SourceIdentity", caller.source_identity),
        )
    return [
        _requirement(
            "sts:AssumeRoleWithWebIdentity",
            context,
            parameters["RoleArn"],
            keys,
            is_tagged=is_tagged,
            is_named=is_named,
        )
    ]


def on_federated_user(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """Require that the caller may stand for somebody of that name."""
    keys = tag_keys(parameters)
    return [
        Requirement(
            actions=("sts:GetFederationToken", "sts:TagSession") if keys else ("sts:GetFederationToken",),
            registry=RegistryId(account_id=caller.account_id, region=context.region),
            arn=f"arn:{PARTITION}:sts::{caller.account_id}:federated-user/{parameters['Name']}",
            context_keys=keys,
        )
    ]


def on_everything(action: str, caller: Caller, context: RequestContext) -> list[Requirement]:
    """Require an action that knows no resource."""
    registry = RegistryId(account_id=caller.account_id, region=context.region)
    return [Requirement(actions=(action,), registry=registry)]


def on_key_info(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
    """Require that the caller may ask whose a key is."""
    del parameters
    return on_everything("sts:GetAccessKeyInfo", caller, context)


def source_identity_of(caller: Caller, parameters: Parameters) -> str | None:
    """Return who will be told to be behind the session: once said, it stays. Raises AccessDenied."""
    wanted: str | None = parameters.get("SourceIdentity")
    known = None if caller.session is None else caller.session.source_identity
    if known is not None and wanted not in {None, known}:
        raise AccessDenied(message="The source identity of a session cannot be changed")
    return known or wanted


def _requirement(
    action: str,
    context: RequestContext,
    role_arn: str,
    keys: ContextKeys,
    *,
    is_tagged: bool,
    is_named: bool,
) -> Requirement:
    found = _parsed(role_arn)
    tag = ("sts:TagSession",) if is_tagged else ()
    name = ("sts:SetSourceIdentity",) if is_named else ()
    return Requirement(
        actions=(action, *tag, *name),
        registry=RegistryId(account_id=found["account"], region=context.region),
        arn=role_arn,
        entity=EntityName(kind=EntityKind.ROLE, name=found["name"]),
        context_keys=keys,
    )


def _parsed(role_arn: str) -> re.Match[str]:
    match = _ROLE_ARN.fullmatch(role_arn)
    if match is None:
        raise IamValidationError(message=f"{role_arn[:256]} is invalid")
    return match


def _transitive_keys(keys: tuple[str, ...] | list[str]) -> ContextKeys:
    return (("sts:TransitiveTagKeys", tuple(keys)),) if keys else ()


def _optional(name: str, value: str | None) -> ContextKeys:
    return () if value is None else ((name, (value,)),)
