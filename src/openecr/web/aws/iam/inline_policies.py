"""IAM: inline policies of users, groups and roles. Each operation exists once per kind of owner."""

from openecr.domain.iam import EntityKind
from openecr.web.aws.call import Call, Handler, Output, Services
from openecr.web.aws.iam import outputs
from openecr.web.aws.iam.pages import page_request, paged
from openecr.web.aws.iam.requirements import NAME_MEMBERS


async def put_policy(services: Services, call: Call) -> Output:
    """Add a policy or replace it."""
    await services.iam.inline_policies.put(
        call.grant, call.parameters["PolicyName"], call.parameters["PolicyDocument"]
    )
    return {}


def get_policy(kind: EntityKind) -> Handler:
    """Return the handler that tells a policy of an owner of some kind."""

    async def handler(services: Services, call: Call) -> Output:
        name = call.parameters["PolicyName"]
        owner_name, document = await services.iam.inline_policies.get(call.grant, name)
        return {
            NAME_MEMBERS[kind]: owner_name,
            "PolicyName": name,
            "PolicyDocument": outputs.encoded(document),
        }

    return handler


async def list_policies(services: Services, call: Call) -> Output:
    """Return a page of the names of policies."""
    page = await services.iam.inline_policies.list(call.grant, page_request(call))
    return paged("PolicyNames", page, str)


async def delete_policy(services: Services, call: Call) -> Output:
    """Remove a policy."""
    await services.iam.inline_policies.delete(call.grant, call.parameters["PolicyName"])
    return {}
