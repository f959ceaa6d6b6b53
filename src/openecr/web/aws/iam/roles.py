"""IAM: roles, and those of services."""

from openecr.application.iam.roles import DEFAULT_SESSION_SECONDS, DescribedRole, NewRole
from openecr.domain.iam import ROOT_PATH, Entity, IamRole
from openecr.domain.iam_errors import InvalidInput, NoSuchEntity
from openecr.domain.iam_tags import checked_tags
from openecr.domain.service_roles import deletion_task, service_role_of
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam import outputs
from openecr.web.aws.iam.pages import empty, page_request, paged


async def create_role(services: Services, call: Call) -> Output:
    """Make a role."""
    given = call.parameters
    wanted = NewRole(
        name=given["RoleName"],
        path=given.get("Path") or ROOT_PATH,
        trust_policy=given["AssumeRolePolicyDocument"],
        description=given.get("Description"),
        max_session_seconds=given.get("MaxSessionDuration", DEFAULT_SESSION_SECONDS),
        boundary_arn=given.get("PermissionsBoundary"),
        tags=checked_tags((tag["Key"], tag["Value"]) for tag in given.get("Tags") or ()),
    )
    made = await services.iam.roles.create(call.grant, wanted)
    # The answer of CreateRole alone leaves the longest session out.
    return {"Role": {**_told(made), "MaxSessionDuration": None, "RoleLastUsed": None}}


async def get_role(services: Services, call: Call) -> Output:
    """Return a role."""
    return {"Role": _told(await services.iam.roles.get(call.grant))}


async def list_roles(services: Services, call: Call) -> Output:
    """Return a page of roles."""
    prefix = call.parameters.get("PathPrefix") or ROOT_PATH
    page = await services.iam.roles.list(call.grant, page_request(call), path_prefix=prefix)
    return paged("Roles", page, _listed)


async def update_role(services: Services, call: Call) -> Output:
    """Change description or longest session."""
    await services.iam.roles.change(
        call.grant,
        description=call.parameters.get("Description"),
        max_session_seconds=call.parameters.get("MaxSessionDuration"),
    )
    return {}


async def update_role_description(services: Services, call: Call) -> Output:
    """Change the description."""
    changed = await services.iam.roles.change(
        call.grant, description=call.parameters["Description"], max_session_seconds=None
    )
    return {"Role": _told(changed)}


async def update_assume_role_policy(services: Services, call: Call) -> Output:
    """Replace who may assume a role."""
    await services.iam.roles.set_trust(call.grant, call.parameters["PolicyDocument"])
    return {}


async def delete_role(services: Services, call: Call) -> Output:
    """Delete a role."""
    await services.iam.roles.delete(call.grant)
    return {}


async def create_service_linked_role(services: Services, call: Call) -> Output:
    """Make the role of one of ECR's services."""
    service = call.parameters["AWSServiceName"]
    if call.parameters.get("CustomSuffix") is not None:
        raise InvalidInput(message=f"Custom suffix is not allowed for {service}")
    made = await services.iam.roles.create_service_linked(
        call.grant, service, call.parameters.get("Description")
    )
    return {"Role": {**_told(made), "MaxSessionDuration": None, "RoleLastUsed": None}}


async def delete_service_linked_role(services: Services, call: Call) -> Output:
    """Delete the role of a service; it is done at once."""
    role = await services.iam.roles.delete_service_linked(call.grant)
    return {"DeletionTaskId": deletion_task(role)}


async def get_service_linked_role_deletion_status(services: Services, call: Call) -> Output:
    """Tell that a deletion is done: it was when it was asked for."""
    del services
    task = call.parameters["DeletionTaskId"]
    if service_role_of(task) is None:
        raise NoSuchEntity(message=f"Deletion task {task} cannot be found.")
    return {"Status": "SUCCEEDED"}


async def list_instance_profiles_for_role(services: Services, call: Call) -> Output:
    """Tell that a role is in no instance profile: there are none."""
    page_request(call)
    await services.iam.roles.get(call.grant)
    return empty("InstanceProfiles")


async def list_instance_profiles(services: Services, call: Call) -> Output:
    """Tell that there are no instance profiles."""
    del services
    page_request(call)
    return empty("InstanceProfiles")


async def instance_profile(services: Services, call: Call) -> Output:
    """Tell that there is no such instance profile."""
    del services
    name = call.parameters["InstanceProfileName"]
    raise NoSuchEntity(message=f"Instance Profile {name} cannot be found.")


def _told(described: DescribedRole) -> Output:
    role = described.role
    return {
        **_common(role, described.trust_policy),
        "PermissionsBoundary": outputs.boundary(role.boundary_arn),
        "Tags": outputs.tag_list(described.tags),
        "RoleLastUsed": {},
    }


def _listed(entity: Entity) -> Output:
    assert isinstance(entity, IamRole), "the list is of roles"
    return _common(entity, entity.trust_policy)


def _common(role: IamRole, trust_policy: str) -> Output:
    return {
        **outputs.role(role),
        "AssumeRolePolicyDocument": outputs.encoded(trust_policy),
        "Description": role.description,
        "MaxSessionDuration": role.max_session_seconds,
    }
