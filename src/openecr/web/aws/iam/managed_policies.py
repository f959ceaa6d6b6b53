"""IAM: managed policies and their versions."""

import re

from openecr.application.iam.managed_policies import DescribedPolicy, Scope, Usage
from openecr.domain.iam import ROOT_PATH
from openecr.domain.iam_errors import IamValidationError, NoSuchEntity
from openecr.domain.iam_tags import checked_tags
from openecr.domain.managed_policies import PolicyVersion
from openecr.domain.pages import cut_page
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam import outputs
from openecr.web.aws.iam.pages import marker_of, page_request, paged

_VERSION = re.compile(r"v([1-9][0-9]{0,8})", re.ASCII)
_MARKER = re.compile(r"[0-9]{1,9}", re.ASCII)
_PERMISSIONS, _BOUNDARIES = "PermissionsPolicy", "PermissionsBoundary"
_SCOPES = {"All": frozenset(Scope), "AWS": frozenset({Scope.AWS}), "Local": frozenset({Scope.OWN})}


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
    """Return a page of the account's policies and AWS's own, as far as they are asked for."""
    given = call.parameters
    page = await services.iam.managed_policies.list(
        call.grant,
        page_request(call),
        path_prefix=given.get("PathPrefix") or ROOT_PATH,
        scopes=_SCOPES[given.get("Scope") or "All"],
        usage=Usage(
            must_be_attached=given.get("OnlyAttached", False),
            must_bound=given.get("PolicyUsageFilter") == _BOUNDARIES,
        ),
    )
    return paged("Policies", page, _told)


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
    """Return a page of versions, the newest first."""
    found = await services.iam.managed_policies.list_versions(call.grant, call.parameters["PolicyArn"])
    page = page_request(call)
    if page.after is not None and _MARKER.fullmatch(page.after) is None:
        raise IamValidationError(message="Invalid Marker.")
    rest = [each for each in found if page.after is None or each.number < int(page.after)]
    return paged("Versions", cut_page(rest, page.limit, lambda each: str(each.number)), _version)


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
    """Return a page of who has a policy; it may be shorter than asked for, also when more follow."""
    given = call.parameters
    usage = given.get("PolicyUsageFilter")
    page = await services.iam.managed_policies.list_entities(
        call.grant,
        given["PolicyArn"],
        page_request(call),
        are_attached=usage != _BOUNDARIES,
        are_bounded=usage != _PERMISSIONS,
    )
    wanted, prefix = given.get("EntityFilter"), given.get("PathPrefix") or ROOT_PATH
    marker = marker_of(page)
    told: Output = {"PolicyGroups": [], "PolicyUsers": [], "PolicyRoles": []}
    for entity in page.items:
        noun = entity.kind.value.capitalize()
        if wanted in {None, noun} and entity.path.startswith(prefix):
            told[f"Policy{noun}s"].append({f"{noun}Name": entity.name, f"{noun}Id": entity.unique_id})
    return {**told, "IsTruncated": marker is not None, "Marker": marker}


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
