"""The operations of users, their access keys and groups, and of inline policies, one row each."""

from openecr.domain.iam import EntityKind
from openecr.web.aws.call import Handler
from openecr.web.aws.iam import users
from openecr.web.aws.iam.requirements import (
    on_entity,
    on_list,
    on_new_entity,
    on_renamed_entity,
    on_user_or_caller,
)
from openecr.web.aws.rows import Requires, Row


def iam_row(name: str, handler: Handler, requires: Requires, *needs: str) -> Row:
    """Return a row of IAM. `needs` are the members that `requires` reads."""
    return Row(service="iam", name=name, requires=requires, handler=handler, needs=frozenset(needs))


_USER = EntityKind.USER

ROWS: tuple[Row, ...] = (
    iam_row(
        "CreateUser",
        users.create_user,
        on_new_entity("iam:CreateUser", _USER, tag_action="iam:TagUser"),
        *("UserName", "Path", "Tags", "PermissionsBoundary"),
    ),
    iam_row("GetUser", users.get_user, on_user_or_caller("iam:GetUser"), "UserName"),
    iam_row("ListUsers", users.list_users, on_list("iam:ListUsers", "user"), "PathPrefix"),
    iam_row(
        "UpdateUser",
        users.update_user,
        on_renamed_entity("iam:UpdateUser", _USER),
        *("UserName", "NewUserName", "NewPath"),
    ),
    iam_row("DeleteUser", users.delete_user, on_entity("iam:DeleteUser", _USER), "UserName"),
)
