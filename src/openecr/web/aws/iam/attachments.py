"""IAM: managed policies of users, groups and roles, and boundaries of users and roles."""

from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam.pages import page_request, paged


async def attach_policy(services: Services, call: Call) -> Output:
    """Give an entity a policy."""
    await services.iam.attachments.attach(call.grant, call.parameters["PolicyArn"])
    return {}


async def detach_policy(services: Services, call: Call) -> Output:
    """Take a policy away."""
    await services.iam.attachments.detach(call.grant, call.parameters["PolicyArn"])
    return {}


async def list_attached_policies(services: Services, call: Call) -> Output:
    """Return a page of an entity's policies."""
    page = await services.iam.attachments.list(call.grant, page_request(call))
    return paged("AttachedPolicies", page, _told)


async def put_boundary(services: Services, call: Call) -> Output:
    """Bound a user or role."""
    await services.iam.attachments.set_boundary(call.grant, call.parameters["PermissionsBoundary"])
    return {}


async def delete_boundary(services: Services, call: Call) -> Output:
    """Take a boundary away."""
    await services.iam.attachments.set_boundary(call.grant, None)
    return {}


def _told(arn: str) -> Output:
    return {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
