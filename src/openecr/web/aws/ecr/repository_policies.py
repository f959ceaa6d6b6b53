"""Policies of repositories."""

from openecr.domain.repositories import Repository
from openecr.web.aws.call import Call, Output, Services


async def set_repository_policy(services: Services, call: Call) -> Output:
    """Store a policy; without `force` not one that locks its caller out."""
    text = await services.repository_policies.put(
        call.grant, call.parameters["policyText"], force=call.parameters.get("force", False)
    )
    return _told(call.grant.require_repository(), text)


async def get_repository_policy(services: Services, call: Call) -> Output:
    """Return the policy."""
    text = await services.repository_policies.get(call.grant)
    return _told(call.grant.require_repository(), text)


async def delete_repository_policy(services: Services, call: Call) -> Output:
    """Remove the policy, and return what it was."""
    text = await services.repository_policies.delete(call.grant)
    return _told(call.grant.require_repository(), text)


def _told(repository: Repository, text: str) -> Output:
    return {
        "registryId": repository.registry.account_id,
        "repositoryName": repository.name,
        "policyText": text,
    }
