"""Tags of keys."""

from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.kms.keys import read_tags


async def tag_resource(services: Services, call: Call) -> Output:
    """Merge tags."""
    await services.kms.key_tags.put(call.grant, read_tags(call.parameters))
    return {}


async def untag_resource(services: Services, call: Call) -> Output:
    """Remove tags."""
    await services.kms.key_tags.remove(call.grant, call.parameters["TagKeys"])
    return {}


async def list_resource_tags(services: Services, call: Call) -> Output:
    """List tags: a key has at most one page of them."""
    tags = await services.kms.key_tags.list(call.grant)
    return {
        "Tags": [{"TagKey": key, "TagValue": value} for key, value in tags.items()],
        "Truncated": False,
    }
