"""IAM: OpenID Connect providers."""

from openecr.domain.iam_tags import checked_tags
from openecr.web.aws.call import Call, Output, Services
from openecr.web.aws.iam import outputs

_ARN = "OpenIDConnectProviderArn"


async def create_provider(services: Services, call: Call) -> Output:
    """Make a provider."""
    tags = checked_tags((tag["Key"], tag["Value"]) for tag in call.parameters.get("Tags") or ())
    made = await services.iam.oidc_providers.create(
        call.grant,
        call.parameters["Url"],
        client_ids=call.parameters.get("ClientIDList") or (),
        thumbprints=call.parameters.get("ThumbprintList") or (),
        tags=tags,
    )
    return {_ARN: made.arn, "Tags": outputs.tag_list(tags)}


async def get_provider(services: Services, call: Call) -> Output:
    """Return a provider."""
    found = await services.iam.oidc_providers.get(call.grant, call.parameters[_ARN])
    provider = found.provider
    return {
        "Url": provider.url,
        "ClientIDList": list(provider.client_ids),
        "ThumbprintList": list(provider.thumbprints),
        "CreateDate": provider.created_at,
        "Tags": outputs.tag_list(found.tags),
    }


async def list_providers(services: Services, call: Call) -> Output:
    """Return the ARNs of all providers."""
    found = await services.iam.oidc_providers.list(call.grant)
    return {"OpenIDConnectProviderList": [{"Arn": provider.arn} for provider in found]}


async def add_client_id(services: Services, call: Call) -> Output:
    """Add an audience."""
    await services.iam.oidc_providers.add_client_id(
        call.grant, call.parameters[_ARN], call.parameters["ClientID"]
    )
    return {}


async def remove_client_id(services: Services, call: Call) -> Output:
    """Remove an audience."""
    await services.iam.oidc_providers.remove_client_id(
        call.grant, call.parameters[_ARN], call.parameters["ClientID"]
    )
    return {}


async def update_thumbprints(services: Services, call: Call) -> Output:
    """Replace the thumbprints."""
    await services.iam.oidc_providers.set_thumbprints(
        call.grant, call.parameters[_ARN], call.parameters["ThumbprintList"]
    )
    return {}


async def delete_provider(services: Services, call: Call) -> Output:
    """Delete a provider."""
    await services.iam.oidc_providers.delete(call.grant, call.parameters[_ARN])
    return {}
