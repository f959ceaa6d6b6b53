"""The policy of a registry."""

from openecr.web.aws.call import Call, Output, Services


async def put_registry_policy(services: Services, call: Call) -> Output:
    """Store the policy."""
    return _told(call, await services.registry_policies.put(call.grant, call.parameters["policyText"]))


async def get_registry_policy(services: Services, call: Call) -> Output:
    """Return the policy."""
    return _told(call, await services.registry_policies.get(call.grant))


async def delete_registry_policy(services: Services, call: Call) -> Output:
    """Remove the policy, and return what it was."""
    return _told(call, await services.registry_policies.delete(call.grant))


def _told(call: Call, text: str) -> Output:
    return {"registryId": call.registry.account_id, "policyText": text}
