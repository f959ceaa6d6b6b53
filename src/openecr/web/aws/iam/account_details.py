"""IAM: GetAccountAuthorizationDetails."""

from collections.abc import Mapping

from openecr.application.iam.account_details import AccountDetails, Section
from openecr.application.iam.aws_policies import AwsPolicy
from openecr.domain.iam import Entity, EntityKind, IamRole
from openecr.domain.iam_details import PolicyDetails
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam import outputs
from openecr.web.aws.iam.pages import marker_of, page_request


async def get_account_authorization_details(services: Services, call: Call) -> Output:
    """Return a page of users, groups, roles and managed policies with all that hangs on them."""
    wanted = call.parameters.get("Filter") or [section.value for section in Section]
    details = await services.iam.account_details.list(
        call.grant, page_request(call), frozenset(Section(name) for name in wanted)
    )
    items, marker = details.page.items, marker_of(details.page)
    return {
        "UserDetailList": [_entity(each, details) for each in items if _is(each, EntityKind.USER)],
        "GroupDetailList": [_entity(each, details) for each in items if _is(each, EntityKind.GROUP)],
        "RoleDetailList": [_entity(each, details) for each in items if _is(each, EntityKind.ROLE)],
        "Policies": [
            *(_policy(each, details) for each in items if isinstance(each, PolicyDetails)),
            *(_aws_policy(each, details) for each in items if isinstance(each, AwsPolicy)),
        ],
        "IsTruncated": marker is not None,
        "Marker": marker,
    }


def _is(item: object, kind: EntityKind) -> bool:
    return isinstance(item, Entity) and item.kind is kind


def _entity(item: object, details: AccountDetails) -> Output:
    assert isinstance(item, Entity), "asked for by kind"
    hanging, unique_id = details.attachables, item.unique_id
    noun = item.kind.value.capitalize()
    told: Output = {
        **outputs.entity(item),
        f"{noun}PolicyList": [
            {"PolicyName": name, "PolicyDocument": outputs.encoded(document)}
            for name, document in hanging.inline.get(unique_id, ())
        ],
        "AttachedManagedPolicies": [
            {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
            for arn in hanging.attached_arns.get(unique_id, ())
        ],
    }
    if item.kind is not EntityKind.GROUP:
        told["PermissionsBoundary"] = outputs.boundary(item.boundary_arn)
        told["Tags"] = outputs.tag_list(hanging.tags.get(unique_id, {}))
    if item.kind is EntityKind.USER:
        told["GroupList"] = list(hanging.group_names.get(unique_id, ()))
    if isinstance(item, IamRole):
        told |= {
            "AssumeRolePolicyDocument": outputs.encoded(item.trust_policy),
            "InstanceProfileList": [],
            "RoleLastUsed": {},
        }
    return told


def _policy(policy: PolicyDetails, details: AccountDetails) -> Output:
    return {
        **_used(policy.arn, details),
        "PolicyName": policy.name,
        "PolicyId": policy.unique_id,
        "Path": policy.path,
        "Description": policy.description,
        "DefaultVersionId": f"v{policy.default_version}",
        "CreateDate": policy.created_at,
        "UpdateDate": policy.updated_at,
        "PolicyVersionList": [
            _version(
                version.number,
                version.document,
                created_at=version.created_at,
                is_default=version.number == policy.default_version,
            )
            for version in policy.versions
        ],
    }


def _aws_policy(policy: AwsPolicy, details: AccountDetails) -> Output:
    version = _version(policy.version, policy.document, created_at=policy.created_at, is_default=True)
    return {
        **_used(policy.arn, details),
        "PolicyName": policy.name,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.version}",
        "CreateDate": policy.created_at,
        "UpdateDate": policy.created_at,
        "PolicyVersionList": [version],
    }


def _used(arn: str, details: AccountDetails) -> Mapping[str, object]:
    return {
        "Arn": arn,
        "IsAttachable": True,
        "AttachmentCount": details.attachment_counts.get(arn, 0),
        "PermissionsBoundaryUsageCount": details.boundary_counts.get(arn, 0),
    }


def _version(number: int, document: str, *, created_at: int, is_default: bool) -> Output:
    return {
        "VersionId": f"v{number}",
        "Document": outputs.encoded(document),
        "CreateDate": created_at,
        "IsDefaultVersion": is_default,
    }
