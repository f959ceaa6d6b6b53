"""IAM: managed policies and their versions."""

import re

from openecr.application.iam.managed_policies import DescribedPolicy
from openecr.domain.iam import ROOT_PATH
from openecr.domain.iam_errors import NoSuchEntity
from openecr.domain.iam_tags import checked_tags
from openecr.domain.managed_policies import PolicyVersion
from openecr.domain.pages import Page
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam import outputs
from openecr.web.aws.iam.pages import marker_of, page_request, paged

_VERSION = re.compile(r"v([1-9][0-9]{0,8})", re.ASCII)
_BOUNDARY_FILTER = "PermissionsBoundary"


async def create_policy(services: Services, call: Call) -> Output:
    """Make a policy."""
    made = await services.iam.managed_policies.create(
        call.grant,
        call.parameters["PolicyName"],
        call.parameters["PolicyDocument"],
        path=call.parameters.get("Path") or ROOT_PATH,
        description=call.parameters.get("Description"),
        tags=checked_tags((tag["Key"], tag["Value"]) for tag in call.parameters.get("Tags") or ()),
    )
    return {"Policy": _told(made)}


async def get_policy(services: Services, call: Call) -> Output:
    """Return a policy without its document."""
    found = await services.iam.managed_policies.get(call.grant, call.parameters["PolicyArn"])
    return {"Policy": {**_told(found), "Description": found.policy.description}}


async def list_policies(services: Services, call: Call) -> Output:
    """Return a page of the account's policies, and on the last one AWS's own, as far as they are asked for."""
    scope = call.parameters.get("Scope", "All")
    prefix = call.parameters.get("PathPrefix") or ROOT_PATH
    found: Page[DescribedPolicy] = Page(items=(), after=None)
    if scope != "AWS":
        found = await services.iam.managed_policies.list(call.grant, page_request(call), path_prefix=prefix)
    items = list(found.items)
    if scope != "Local" and found.after is None:
        items += await services.iam.managed_policies.list_aws(call.grant, path_prefix=prefix)
    marker = marker_of(found)
    return {
        "Policies": [_told(each) for each in items if _is_wanted(each, call)],
        "IsTruncated": marker is not None,
        "Marker": marker,
    }


async def delete_policy(services: Services, call: Call) -> Output:
    """Delete a policy."""
    await services.iam.managed_policies.delete(call.grant, call.parameters["PolicyArn"])
    return {}


async def create_policy_version(services: Services, call: Call) -> Output:
    """Add a version."""
    made = await services.iam.managed_policies.create_version(
        call.grant,
        call.parameters["PolicyArn"],
        call.parameters["PolicyDocument"],
        becomes_default=call.parameters.get("SetAsDefault", False),
    )
    return {"PolicyVersion": _version(made)}


async def get_policy_version(services: Services, call: Call) -> Output:
    """Return a version with its document."""
    found = await services.iam.managed_policies.get_version(
        call.grant, call.parameters["PolicyArn"], _number(call)
    )
    return {"PolicyVersion": {**_version(found), "Document": outputs.encoded(found.document)}}


async def list_policy_versions(services: Services, call: Call) -> Output:
    """Return all versions."""
    found = await services.iam.managed_policies.list_versions(call.grant, call.parameters["PolicyArn"])
    return {"Versions": [_version(each) for each in found], "IsTruncated": False}


async def set_default_policy_version(services: Services, call: Call) -> Output:
    """Let another version be the one that counts."""
    await services.iam.managed_policies.set_default_version(
        call.grant, call.parameters["PolicyArn"], _number(call)
    )
    return {}


async def delete_policy_version(services: Services, call: Call) -> Output:
    """Delete a version."""
    await services.iam.managed_policies.delete_version(
        call.grant, call.parameters["PolicyArn"], _number(call)
    )
    return {}


async def list_entities_for_policy(services: Services, call: Call) -> Output:
    """Return a page of who has a policy."""
    page = await services.iam.managed_policies.list_entities(
        call.grant,
        call.parameters["PolicyArn"],
        page_request(call),
        are_bounded=call.parameters.get("PolicyUsageFilter") == _BOUNDARY_FILTER,
    )
    wanted = call.parameters.get("EntityFilter")
    told: Output = {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": []}
    for entity in page.items:
        noun = entity.kind.value.capitalize()
        if wanted in {None, noun}:
            told[f"Policy{noun}s"].append({f"{noun}Name": entity.name, f"{noun}Id": entity.unique_id})
    return {**told, **{name: value for name, value in paged("", page, str).items() if name}}


def _is_wanted(described: DescribedPolicy, call: Call) -> bool:
    usage = call.parameters.get("PolicyUsageFilter")
    if usage == _BOUNDARY_FILTER and not described.uses.boundaries:
        return False
    return not call.parameters.get("OnlyAttached", False) or described.uses.attachments > 0


def _number(call: Call) -> int:
    version = call.parameters["VersionId"]
    match = _VERSION.fullmatch(version.partition(".")[0])
    if match is None:
        arn = call.parameters["PolicyArn"]
        raise NoSuchEntity(message=f"Policy {arn} version {version} does not exist or is not attachable.")
    return int(match[1])


def _told(described: DescribedPolicy) -> Output:
    policy = described.policy
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.unique_id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": f"v{policy.default_version}",
        "AttachmentCount": described.uses.attachments,
        "PermissionsBoundaryUsageCount": described.uses.boundaries,
        "IsAttachable": True,
        "CreateDate": policy.created_at,
        "UpdateDate": policy.updated_at,
        "Tags": outputs.tag_list(described.tags),
    }


def _version(version: PolicyVersion) -> Output:
    return {
        "VersionId": f"v{version.number}",
        "IsDefaultVersion": version.is_default,
        "CreateDate": version.created_at,
    }
