"""Tags of users, roles, managed policies and OpenID Connect providers."""

from collections.abc import Callable, Mapping, Sequence

from openecr.application.audit import audited
from openecr.application.iam import entities, managed_policies, oidc_providers
from openecr.domain.decisions import Grant
from openecr.domain.iam_errors import IamLimitExceeded, UnmodifiableEntity
from openecr.store import accounts, iam_tags
from openecr.store.connections import Connection
from openecr.store.database import Database

TAGS_MAX = 50
"""IAM user guide, quotas."""

Tagged = Callable[[Connection, Grant], str]
"""Finds what carries the tags, and returns its id. Raises NoSuchEntity."""


def of_entity(connection: Connection, grant: Grant) -> str:
    """Return the id of the user or role that a grant is about."""
    return entities.require_entity(connection, grant).unique_id


def of_policy(connection: Connection, grant: Grant) -> str:
    """Return the id of the managed policy that a grant is about; AWS's own cannot be tagged."""
    policy = managed_policies.find(connection, grant, grant.requirement.resource)
    if policy.account_id != grant.registry.account_id:
        raise UnmodifiableEntity(message=f"Policy {policy.arn} is not modifiable.")
    return policy.unique_id


def of_provider(connection: Connection, grant: Grant) -> str:
    """Return the ARN of the provider that a grant is about."""
    return oidc_providers.find(connection, grant, grant.requirement.resource).arn


class IamTags:
    """The use cases of tags."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def put(self, grant: Grant, tagged: Tagged, tags: Mapping[str, str]) -> None:
        """Set tags beside those that are there. Raises NoSuchEntity, IamLimitExceeded, UnmodifiableEntity."""

        def unit(connection: Connection) -> None:
            entity_id = tagged(connection, grant)
            iam_tags.put(connection, entity_id, tags)
            if len(iam_tags.list_of(connection, entity_id)) > TAGS_MAX:
                raise IamLimitExceeded(message=f"Cannot exceed quota for TagsPerResource: {TAGS_MAX}")
            accounts.raise_epoch(connection, grant.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def remove(self, grant: Grant, tagged: Tagged, keys: Sequence[str]) -> None:
        """Remove tags; unknown keys are fine. Raises NoSuchEntity, UnmodifiableEntity."""

        def unit(connection: Connection) -> None:
            iam_tags.remove(connection, tagged(connection, grant), keys)
            accounts.raise_epoch(connection, grant.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def list(self, grant: Grant, tagged: Tagged) -> Mapping[str, str]:
        """Return all tags. Raises NoSuchEntity."""
        return await self._database.read(
            lambda connection: iam_tags.list_of(connection, tagged(connection, grant))
        )
