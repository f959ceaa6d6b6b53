"""What operations of IAM require, by the shape of their input (service authorization reference, "IAM").

A requirement names a user, group or role by its name; the authorizer decides on its ARN with the path that it has. A
denial shows the name alone, so that what exists and what does not look the same.
"""

from dataclasses import replace

from openecr.domain.callers import Caller, RequestContext, Root, User
from openecr.domain.decisions import Requirement
from openecr.domain.iam import (
    ROOT_PATH,
    AccessKeyOwner,
    EntityKind,
    EntityName,
    entity_arn,
    policy_arn,
    root_arn,
)
from openecr.domain.iam_errors import IamValidationError
from openecr.domain.oidc_providers import SCHEME, provider_arn
from openecr.domain.registries import PARTITION, RegistryId
from openecr.domain.service_roles import SERVICE_ROLE_PATH, service_role, service_role_of
from openecr.web.aws.call import Parameters
from openecr.web.aws.rows import Requires

NAME_MEMBERS = {
    EntityKind.USER: "UserName",
    EntityKind.GROUP: "GroupName",
    EntityKind.ROLE: "RoleName",
}
"""The member of the input that names an entity of each kind."""

ContextKeys = tuple[tuple[str, tuple[str, ...]], ...]


def registry_of(caller: Caller, context: RequestContext) -> RegistryId:
    """Return the caller's account. IAM knows no regions: the one of the request stands in."""
    return RegistryId(account_id=caller.account_id, region=context.region)


def on_entity(action: str, kind: EntityKind) -> Requires:
    """Require an action on the user, group or role that the input names."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        name = parameters[NAME_MEMBERS[kind]]
        return [
            Requirement(
                actions=(action,),
                registry=registry_of(caller, context),
                arn=entity_arn(kind, caller.account_id, name),
                entity=EntityName(kind=kind, name=name),
                context_keys=tag_keys(parameters),
            )
        ]

    return requires


def on_new_entity(action: str, kind: EntityKind, *, tag_action: str | None = None) -> Requires:
    """Require an action on the ARN of what is to be made; with tags also the action that sets them."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        path = parameters.get("Path") or ROOT_PATH
        keys = tag_keys(parameters)
        return [
            Requirement(
                actions=(action, tag_action) if keys and tag_action else (action,),
                registry=registry_of(caller, context),
                arn=entity_arn(kind, caller.account_id, parameters[NAME_MEMBERS[kind]], path=path),
                context_keys=keys + boundary_keys(parameters),
            )
        ]

    return requires


def on_renamed_entity(action: str, kind: EntityKind) -> Requires:
    """Require an action on an entity as it is, and as it would be called."""
    new_name_member = f"New{NAME_MEMBERS[kind]}"

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        name, registry = parameters[NAME_MEMBERS[kind]], registry_of(caller, context)
        new_name, new_path = parameters.get(new_name_member), parameters.get("NewPath")
        before = Requirement(
            actions=(action,),
            registry=registry,
            arn=entity_arn(kind, caller.account_id, name),
            entity=EntityName(kind=kind, name=name),
        )
        if new_name is None and new_path is None:
            return [before]
        after = Requirement(
            actions=(action,),
            registry=registry,
            arn=entity_arn(kind, caller.account_id, new_name or name, path=new_path or ROOT_PATH),
            entity=EntityName(kind=kind, name=name, new_name=new_name, new_path=new_path),
        )
        return [before, after]

    return requires


def on_user_or_caller(action: str) -> Requires:
    """Require an action on the user that the input names, by default on the caller itself, a user or the root.

    Raises IamValidationError for another caller that names no user.
    """

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        name, registry = parameters.get("UserName"), registry_of(caller, context)
        if name is None:
            match caller:
                case Root():
                    return [
                        Requirement(actions=(action,), registry=registry, arn=root_arn(caller.account_id))
                    ]
                case User():
                    name = caller.name
                case _:
                    raise IamValidationError(
                        message="Must specify userName when calling with non-User credentials"
                    )
        return [
            Requirement(
                actions=(action,),
                registry=registry,
                arn=entity_arn(EntityKind.USER, caller.account_id, name),
                entity=EntityName(kind=EntityKind.USER, name=name),
            )
        ]

    return requires


def on_key_owner(action: str) -> Requires:
    """Require an action on the user whose access key the input names."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        return [
            Requirement(
                actions=(action,),
                registry=registry_of(caller, context),
                entity=AccessKeyOwner(access_key_id=parameters["AccessKeyId"]),
            )
        ]

    return requires


def on_list(action: str, noun: str) -> Requires:
    """Require an action on all of a kind below a path, as ListUsers does on `...:user/<path prefix>`."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        prefix = parameters.get("PathPrefix") or ROOT_PATH
        return [
            Requirement(
                actions=(action,),
                registry=registry_of(caller, context),
                arn=f"arn:{PARTITION}:iam::{caller.account_id}:{noun}{prefix}",
            )
        ]

    return requires


def on_new_policy(action: str, *, tag_action: str) -> Requires:
    """Require an action on the ARN of the managed policy that is to be made."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        path = parameters.get("Path") or ROOT_PATH
        keys = tag_keys(parameters)
        return [
            Requirement(
                actions=(action, tag_action) if keys else (action,),
                registry=registry_of(caller, context),
                arn=policy_arn(caller.account_id, parameters["PolicyName"], path=path),
                context_keys=keys,
            )
        ]

    return requires


def on_named_arn(action: str, member: str) -> Requires:
    """Require an action on what a member of the input names by its ARN."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        return [
            Requirement(
                actions=(action,),
                registry=registry_of(caller, context),
                arn=parameters[member],
                context_keys=tag_keys(parameters),
            )
        ]

    return requires


def on_new_provider(action: str, *, tag_action: str) -> Requires:
    """Require an action on the ARN of the OpenID Connect provider that is to be made."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        keys = tag_keys(parameters)
        return [
            Requirement(
                actions=(action, tag_action) if keys else (action,),
                registry=registry_of(caller, context),
                arn=provider_arn(caller.account_id, parameters["Url"].removeprefix(SCHEME)),
                context_keys=keys,
            )
        ]

    return requires


def on_service_role(action: str) -> Requires:
    """Require an action on the role of a service; which one is a condition key too."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        service = parameters["AWSServiceName"]
        found = service_role(service)
        name = "*" if found is None else found.name
        return [
            Requirement(
                actions=(action,),
                registry=registry_of(caller, context),
                arn=entity_arn(
                    EntityKind.ROLE, caller.account_id, name, path=f"{SERVICE_ROLE_PATH}{service}/"
                ),
                context_keys=(("iam:AWSServiceName", (service,)),),
            )
        ]

    return requires


def on_deletion_task(action: str) -> Requires:
    """Require an action on the service-linked role whose deletion the input names."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        path, name = service_role_of(parameters["DeletionTaskId"]) or (SERVICE_ROLE_PATH, "*")
        return [
            Requirement(
                actions=(action,),
                registry=registry_of(caller, context),
                arn=entity_arn(EntityKind.ROLE, caller.account_id, name, path=path),
            )
        ]

    return requires


def on_instance_profile(action: str) -> Requires:
    """Require an action on an instance profile, of which there are none: nobody learns a path."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        name = parameters["InstanceProfileName"]
        return [
            Requirement(
                actions=(action,),
                registry=registry_of(caller, context),
                arn=f"arn:{PARTITION}:iam::{caller.account_id}:instance-profile/{name}",
            )
        ]

    return requires


def on_attachment(action: str, kind: EntityKind) -> Requires:
    """Require an action on a user, group or role; which policy is meant is a condition key."""
    on_one = on_entity(action, kind)

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        key = ("iam:PolicyARN", (parameters["PolicyArn"],))
        return [replace(each, context_keys=(key,)) for each in on_one(caller, context, parameters)]

    return requires


def on_bounded(action: str, kind: EntityKind) -> Requires:
    """Require an action on a user or role; which boundary is meant is a condition key."""
    on_one = on_entity(action, kind)

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        keys = boundary_keys(parameters)
        return [replace(each, context_keys=keys) for each in on_one(caller, context, parameters)]

    return requires


def on_everything(action: str) -> Requires:
    """Require an action that knows no resource."""

    def requires(caller: Caller, context: RequestContext, parameters: Parameters) -> list[Requirement]:
        del parameters
        return [Requirement(actions=(action,), registry=registry_of(caller, context))]

    return requires


def tag_keys(parameters: Parameters) -> ContextKeys:
    """Return the condition keys of the tags, or tag keys, in a request."""
    tags = {tag["Key"]: tag["Value"] for tag in parameters.get("Tags") or ()}
    keys = tuple(tags) or tuple(dict.fromkeys(parameters.get("TagKeys") or ()))
    if not keys:
        return ()
    return (*((f"aws:RequestTag/{key}", (value,)) for key, value in tags.items()), ("aws:TagKeys", keys))


def boundary_keys(parameters: Parameters) -> ContextKeys:
    """Return the condition key of the permissions boundary in a request."""
    arn = parameters.get("PermissionsBoundary")
    return () if arn is None else (("iam:PermissionsBoundary", (arn,)),)
