"""The operations of users, their access keys and groups, one row each."""

from openecr.domain.iam import EntityKind
from openecr.web.aws.call import Handler
from openecr.web.aws.iam import absent, access_keys, account_details, account_summary, groups, users
from openecr.web.aws.iam.requirements import (
    on_entity,
    on_everything,
    on_key_owner,
    on_list,
    on_new_entity,
    on_renamed_entity,
    on_user_or_caller,
)
from openecr.web.aws.rows import Requires, Row

_USER, _GROUP = EntityKind.USER, EntityKind.GROUP


def iam_row(name: str, handler: Handler, requires: Requires, *needs: str) -> Row:
    """Return a row of IAM. `needs` are the members that `requires` reads."""
    return Row(service="iam", name=name, requires=requires, handler=handler, needs=frozenset(needs))


def _own_row(name: str, handler: Handler) -> Row:
    """Return the row of an operation on a user, by default the caller."""
    return iam_row(name, handler, on_user_or_caller(f"iam:{name}"), "UserName")


def _user_row(name: str, handler: Handler) -> Row:
    return iam_row(name, handler, on_entity(f"iam:{name}", _USER), "UserName")


def _group_row(name: str, handler: Handler) -> Row:
    return iam_row(name, handler, on_entity(f"iam:{name}", _GROUP), "GroupName")


_USERS = (
    iam_row(
        "CreateUser",
        users.create_user,
        on_new_entity("iam:CreateUser", _USER, tag_action="iam:TagUser"),
        *("UserName", "Path", "Tags", "PermissionsBoundary"),
    ),
    _own_row("GetUser", users.get_user),
    iam_row("ListUsers", users.list_users, on_list("iam:ListUsers", "user"), "PathPrefix"),
    iam_row(
        "UpdateUser",
        users.update_user,
        on_renamed_entity("iam:UpdateUser", _USER),
        *("UserName", "NewUserName", "NewPath"),
    ),
    _user_row("DeleteUser", users.delete_user),
)

_ACCESS_KEYS = (
    _own_row("CreateAccessKey", access_keys.create_access_key),
    _own_row("ListAccessKeys", access_keys.list_access_keys),
    _own_row("UpdateAccessKey", access_keys.update_access_key),
    _own_row("DeleteAccessKey", access_keys.delete_access_key),
    iam_row(
        "GetAccessKeyLastUsed",
        access_keys.get_access_key_last_used,
        on_key_owner("iam:GetAccessKeyLastUsed"),
        "AccessKeyId",
    ),
)

_GROUPS = (
    iam_row(
        "CreateGroup",
        groups.create_group,
        on_new_entity("iam:CreateGroup", _GROUP),
        *("GroupName", "Path"),
    ),
    _group_row("GetGroup", groups.get_group),
    iam_row("ListGroups", groups.list_groups, on_list("iam:ListGroups", "group"), "PathPrefix"),
    iam_row(
        "UpdateGroup",
        groups.update_group,
        on_renamed_entity("iam:UpdateGroup", _GROUP),
        *("GroupName", "NewGroupName", "NewPath"),
    ),
    _group_row("DeleteGroup", groups.delete_group),
    _group_row("AddUserToGroup", groups.add_user_to_group),
    _group_row("RemoveUserFromGroup", groups.remove_user_from_group),
    _user_row("ListGroupsForUser", groups.list_groups_for_user),
)

_ABSENT = (
    _own_row("GetLoginProfile", absent.login_profile),
    _own_row("DeleteLoginProfile", absent.login_profile),
    _own_row("ListMFADevices", absent.list_of_nothing("MFADevices")),
    _own_row("ListSSHPublicKeys", absent.list_of_nothing("SSHPublicKeys")),
    _own_row("ListSigningCertificates", absent.list_of_nothing("Certificates")),
    _own_row("ListServiceSpecificCredentials", absent.list_of_nothing("ServiceSpecificCredentials")),
    iam_row(
        "ListVirtualMFADevices",
        absent.list_of_nothing("VirtualMFADevices"),
        on_everything("iam:ListVirtualMFADevices"),
    ),
    iam_row(
        "ListAccountAliases",
        absent.list_of_nothing("AccountAliases"),
        on_everything("iam:ListAccountAliases"),
    ),
)

_ACCOUNT = (
    iam_row(
        "GetAccountSummary",
        account_summary.get_account_summary,
        on_everything("iam:GetAccountSummary"),
    ),
    iam_row(
        "GetAccountAuthorizationDetails",
        account_details.get_account_authorization_details,
        on_everything("iam:GetAccountAuthorizationDetails"),
    ),
)

ROWS: tuple[Row, ...] = (*_USERS, *_ACCESS_KEYS, *_GROUPS, *_ABSENT, *_ACCOUNT)
