"""IAM: users."""

from openecr.application.iam.users import DescribedUser
from openecr.domain.iam import ROOT_PATH
from openecr.domain.iam_tags import checked_tags
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam import outputs
from openecr.web.aws.iam.pages import page_request, paged


async def create_user(services: Services, call: Call) -> Output:
    """Make a user."""
    made = await services.iam.users.create(
        call.grant,
        call.parameters["UserName"],
        path=call.parameters.get("Path") or ROOT_PATH,
        tags=checked_tags((tag["Key"], tag["Value"]) for tag in call.parameters.get("Tags") or ()),
        boundary_arn=call.parameters.get("PermissionsBoundary"),
    )
    return {"User": _told(made)}


async def get_user(services: Services, call: Call) -> Output:
    """Return a user, by default the caller; a root has neither name nor path."""
    if call.grant.requirement.entity is None:
        created_at = await services.iam.users.root_created_at(call.grant)
        return {"User": {"UserId": call.caller.account_id, "Arn": call.caller.arn, "CreateDate": created_at}}
    return {"User": _told(await services.iam.users.get(call.grant))}


async def list_users(services: Services, call: Call) -> Output:
    """Return a page of users."""
    prefix = call.parameters.get("PathPrefix") or ROOT_PATH
    page = await services.iam.users.list(call.grant, page_request(call), path_prefix=prefix)
    return paged("Users", page, outputs.user)


async def update_user(services: Services, call: Call) -> Output:
    """Give a user another name or path."""
    await services.iam.users.rename(
        call.grants, name=call.parameters.get("NewUserName"), path=call.parameters.get("NewPath")
    )
    return {}


async def delete_user(services: Services, call: Call) -> Output:
    """Delete a user."""
    await services.iam.users.delete(call.grant)
    return {}


def _told(described: DescribedUser) -> Output:
    return {
        **outputs.user(described.user),
        "PermissionsBoundary": outputs.boundary(described.user.boundary_arn),
        "Tags": outputs.tag_list(described.tags),
    }
