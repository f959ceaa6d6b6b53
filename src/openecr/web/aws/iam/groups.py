"""IAM: groups and who belongs to them."""

from openecr.domain.iam import ROOT_PATH
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam import outputs
from openecr.web.aws.iam.pages import page_request, paged


async def create_group(services: Services, call: Call) -> Output:
    """Make a group."""
    path = call.parameters.get("Path") or ROOT_PATH
    group = await services.iam.groups.create(call.grant, call.parameters["GroupName"], path=path)
    return {"Group": outputs.group(group)}


async def get_group(services: Services, call: Call) -> Output:
    """Return a group and a page of its users."""
    group, page = await services.iam.groups.get(call.grant, page_request(call))
    return {"Group": outputs.group(group), **paged("Users", page, outputs.user)}


async def list_groups(services: Services, call: Call) -> Output:
    """Return a page of groups."""
    prefix = call.parameters.get("PathPrefix") or ROOT_PATH
    page = await services.iam.groups.list(call.grant, page_request(call), path_prefix=prefix)
    return paged("Groups", page, outputs.group)


async def list_groups_for_user(services: Services, call: Call) -> Output:
    """Return a page of a user's groups."""
    page = await services.iam.groups.list_of_user(call.grant, page_request(call))
    return paged("Groups", page, outputs.group)


async def update_group(services: Services, call: Call) -> Output:
    """Give a group another name or path."""
    await services.iam.groups.rename(
        call.grants, name=call.parameters.get("NewGroupName"), path=call.parameters.get("NewPath")
    )
    return {}


async def delete_group(services: Services, call: Call) -> Output:
    """Delete a group."""
    await services.iam.groups.delete(call.grant)
    return {}


async def add_user_to_group(services: Services, call: Call) -> Output:
    """Put a user into a group."""
    await services.iam.groups.add_user(call.grant, call.parameters["UserName"])
    return {}


async def remove_user_from_group(services: Services, call: Call) -> Output:
    """Take a user out of a group."""
    await services.iam.groups.remove_user(call.grant, call.parameters["UserName"])
    return {}
