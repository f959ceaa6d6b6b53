"""The operations of managed policies, attachments and boundaries, one row each."""

from collections.abc import Iterator

from openecr.domain.iam import EntityKind
from openecr.web.aws.call import Handler
from openecr.web.aws.iam import attachments, managed_policies
from openecr.web.aws.iam.requirements import (
    NAME_MEMBERS,
    on_attachment,
    on_bounded,
    on_entity,
    on_list,
    on_named_arn,
    on_new_policy,
)
from openecr.web.aws.iam.user_rows import iam_row
from openecr.web.aws.rows import Row


def _policy_row(name: str, handler: Handler) -> Row:
    return iam_row(name, handler, on_named_arn(f"iam:{name}", "PolicyArn"), "PolicyArn")


_POLICIES = (
    iam_row(
        "CreatePolicy",
        managed_policies.create_policy,
        on_new_policy("iam:CreatePolicy", tag_action="iam:TagPolicy"),
        *("PolicyName", "Path", "Tags"),
    ),
    _policy_row("GetPolicy", managed_policies.get_policy),
    iam_row(
        "ListPolicies", managed_policies.list_policies, on_list("iam:ListPolicies", "policy"), "PathPrefix"
    ),
    _policy_row("DeletePolicy", managed_policies.delete_policy),
    _policy_row("CreatePolicyVersion", managed_policies.create_policy_version),
    _policy_row("GetPolicyVersion", managed_policies.get_policy_version),
    _policy_row("ListPolicyVersions", managed_policies.list_policy_versions),
    _policy_row("SetDefaultPolicyVersion", managed_policies.set_default_policy_version),
    _policy_row("DeletePolicyVersion", managed_policies.delete_policy_version),
    _policy_row("ListEntitiesForPolicy", managed_policies.list_entities_for_policy),
)


def _of_kind(kind: EntityKind) -> Iterator[Row]:
    noun, member = kind.value.capitalize(), NAME_MEMBERS[kind]
    attach, detach = f"Attach{noun}Policy", f"Detach{noun}Policy"
    both = (member, "PolicyArn")
    yield iam_row(attach, attachments.attach_policy, on_attachment(f"iam:{attach}", kind), *both)
    yield iam_row(detach, attachments.detach_policy, on_attachment(f"iam:{detach}", kind), *both)
    attached = f"ListAttached{noun}Policies"
    yield iam_row(attached, attachments.list_attached_policies, on_entity(f"iam:{attached}", kind), member)
    if kind is EntityKind.GROUP:
        return
    put, delete = f"Put{noun}PermissionsBoundary", f"Delete{noun}PermissionsBoundary"
    bounded = (member, "PermissionsBoundary")
    yield iam_row(put, attachments.put_boundary, on_bounded(f"iam:{put}", kind), *bounded)
    yield iam_row(delete, attachments.delete_boundary, on_entity(f"iam:{delete}", kind), member)


ROWS: tuple[Row, ...] = (*_POLICIES, *(row for kind in EntityKind for row in _of_kind(kind)))
