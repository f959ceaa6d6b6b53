"""The operations of roles, OpenID Connect providers and tags, one row each."""

from openecr.application.iam import tags as tagged
from openecr.domain.iam import EntityKind
from openecr.web.aws.call import Handler
from openecr.web.aws.iam import oidc_providers, roles, tags
from openecr.web.aws.iam.requirements import (
    on_deletion_task,
    on_entity,
    on_instance_profile,
    on_list,
    on_named_arn,
    on_new_entity,
    on_new_provider,
    on_service_role,
)
from openecr.web.aws.iam.user_rows import iam_row
from openecr.web.aws.rows import Row

_ROLE, _USER = EntityKind.ROLE, EntityKind.USER
_PROVIDER_ARN = "OpenIDConnectProviderArn"


def _role_row(name: str, handler: Handler) -> Row:
    return iam_row(name, handler, on_entity(f"iam:{name}", _ROLE), "RoleName")


def _provider_row(name: str, handler: Handler) -> Row:
    return iam_row(name, handler, on_named_arn(f"iam:{name}", _PROVIDER_ARN), _PROVIDER_ARN)


_ROLES = (
    iam_row(
        "CreateRole",
        roles.create_role,
        on_new_entity("iam:CreateRole", _ROLE, tag_action="iam:TagRole"),
        *("RoleName", "Path", "Tags", "PermissionsBoundary"),
    ),
    _role_row("GetRole", roles.get_role),
    iam_row("ListRoles", roles.list_roles, on_list("iam:ListRoles", "role"), "PathPrefix"),
    _role_row("UpdateRole", roles.update_role),
    _role_row("UpdateRoleDescription", roles.update_role_description),
    _role_row("UpdateAssumeRolePolicy", roles.update_assume_role_policy),
    _role_row("DeleteRole", roles.delete_role),
    iam_row(
        "CreateServiceLinkedRole",
        roles.create_service_linked_role,
        on_service_role("iam:CreateServiceLinkedRole"),
        "AWSServiceName",
    ),
    _role_row("DeleteServiceLinkedRole", roles.delete_service_linked_role),
    iam_row(
        "GetServiceLinkedRoleDeletionStatus",
        roles.get_service_linked_role_deletion_status,
        on_deletion_task("iam:GetServiceLinkedRoleDeletionStatus"),
        "DeletionTaskId",
    ),
)

_INSTANCE_PROFILES = (
    _role_row("ListInstanceProfilesForRole", roles.list_instance_profiles_for_role),
    iam_row(
        "ListInstanceProfiles",
        roles.list_instance_profiles,
        on_list("iam:ListInstanceProfiles", "instance-profile"),
        "PathPrefix",
    ),
    *(
        iam_row(name, roles.instance_profile, on_instance_profile(f"iam:{name}"), "InstanceProfileName")
        for name in ("GetInstanceProfile", "RemoveRoleFromInstanceProfile")
    ),
)

_PROVIDERS = (
    iam_row(
        "CreateOpenIDConnectProvider",
        oidc_providers.create_provider,
        on_new_provider("iam:CreateOpenIDConnectProvider", tag_action="iam:TagOpenIDConnectProvider"),
        *("Url", "Tags"),
    ),
    _provider_row("GetOpenIDConnectProvider", oidc_providers.get_provider),
    iam_row(
        "ListOpenIDConnectProviders",
        oidc_providers.list_providers,
        on_list("iam:ListOpenIDConnectProviders", "oidc-provider"),
    ),
    _provider_row("AddClientIDToOpenIDConnectProvider", oidc_providers.add_client_id),
    _provider_row("RemoveClientIDFromOpenIDConnectProvider", oidc_providers.remove_client_id),
    _provider_row("UpdateOpenIDConnectProviderThumbprint", oidc_providers.update_thumbprints),
    _provider_row("DeleteOpenIDConnectProvider", oidc_providers.delete_provider),
)


def _tag_rows(noun: str, member: str, found: tagged.Tagged, kind: EntityKind | None) -> tuple[Row, ...]:
    handlers = {
        f"Tag{noun}": (tags.tag(found), "Tags"),
        f"Untag{noun}": (tags.untag(found), "TagKeys"),
        f"List{noun}Tags": (tags.list_tags(found), None),
    }
    return tuple(
        iam_row(
            name,
            handler,
            on_named_arn(f"iam:{name}", member) if kind is None else on_entity(f"iam:{name}", kind),
            *(member,) if more is None else (member, more),
        )
        for name, (handler, more) in handlers.items()
    )


_TAGS = (
    *_tag_rows("User", "UserName", tagged.of_entity, _USER),
    *_tag_rows("Role", "RoleName", tagged.of_entity, _ROLE),
    *_tag_rows("Policy", "PolicyArn", tagged.of_policy, None),
    *_tag_rows("OpenIDConnectProvider", _PROVIDER_ARN, tagged.of_provider, None),
)

ROWS: tuple[Row, ...] = (*_ROLES, *_INSTANCE_PROFILES, *_PROVIDERS, *_TAGS)
