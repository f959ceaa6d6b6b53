"""IAM: tags of users, roles, managed policies and OpenID Connect providers."""

from openecr.application.iam.tags import Tagged
from openecr.domain.iam_tags import checked_tags
from openecr.web.aws.call import Call, Handler, Output, Services
from openecr.web.aws.iam import outputs


def tag(tagged: Tagged) -> Handler:
    """Return the handler that sets tags."""

    async def handler(services: Services, call: Call) -> Output:
        tags = checked_tags((each["Key"], each["Value"]) for each in call.parameters["Tags"])
        await services.iam.tags.put(call.grant, tagged, tags)
        return {}

    return handler


def untag(tagged: Tagged) -> Handler:
    """Return the handler that removes tags."""

    async def handler(services: Services, call: Call) -> Output:
        await services.iam.tags.remove(call.grant, tagged, call.parameters["TagKeys"])
        return {}

    return handler


def list_tags(tagged: Tagged) -> Handler:
    """Return the handler that tells all tags: one page holds them."""

    async def handler(services: Services, call: Call) -> Output:
        found = await services.iam.tags.list(call.grant, tagged)
        return {"Tags": outputs.tag_list(found) or [], "IsTruncated": False}

    return handler
