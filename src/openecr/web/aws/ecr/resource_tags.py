"""Resource tags of repositories, which are named by ARN."""

from collections.abc import Iterable

from openecr.domain.errors import InvalidTagParameter
from openecr.web.aws.call import Call, Output, Parameters, Services


async def tag_resource(services: Services, call: Call) -> Output:
    """Merge tags; a key that is there gets the new value."""
    await services.repositories.tag_resource(call.grant, read_tags(call.parameters["tags"]))
    return {}


async def untag_resource(services: Services, call: Call) -> Output:
    """Remove tags by key; unknown keys are fine."""
    await services.repositories.untag_resource(call.grant, call.parameters["tagKeys"])
    return {}


async def list_tags_for_resource(services: Services, call: Call) -> Output:
    """Return all tags, of which there are at most fifty."""
    tags = await services.repositories.list_resource_tags(call.grant)
    return {"tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def read_tags(given: Iterable[Parameters]) -> dict[str, str]:
    """Return tags by key. Raises InvalidTagParameter for a key given twice."""
    tags: dict[str, str] = {}
    for tag in given:
        key = tag["Key"]
        if key in tags:
            raise InvalidTagParameter(message=f"The tag key '{key[:128]}' is given more than once")
        tags[key] = tag["Value"]
    return tags
