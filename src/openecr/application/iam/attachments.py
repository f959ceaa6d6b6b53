"""Managed policies that users, groups and roles have, and boundaries of users and roles."""

from openecr.application.audit import audited
from openecr.application.iam import aws_policies, entities
from openecr.application.iam.boundaries import check_boundary
from openecr.application.iam.managed_policies import check_arn
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.iam import EntityKind
from openecr.domain.iam_errors import IamLimitExceeded, NoSuchEntity, PolicyNotAttachable
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.service_roles import SERVICE_ROLE_PATH
from openecr.store import accounts, attachments, managed_policies
from openecr.store.connections import Connection
from openecr.store.database import Database


class Attachments:
    """The use cases of attachments and boundaries."""

    def __init__(self, *, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    async def attach(self, grant: Grant, policy_arn: str) -> None:
        """Give an entity a policy; it may have it already.

        Raises NoSuchEntity, PolicyNotAttachable, IamLimitExceeded.
        """

        def unit(connection: Connection) -> None:
            entity = entities.require_entity(connection, grant)
            entities.check_modifiable(entity)
            self._check_policy(connection, entity.account_id, policy_arn)
            if not attachments.add(connection, entity.unique_id, policy_arn):
                return
            limit = self._limits.attached_policies
            if attachments.count(connection, entity.unique_id) > limit:
                noun = entity.kind.value.capitalize()
                raise IamLimitExceeded(message=f"Cannot exceed quota for PoliciesPer{noun}: {limit}")
            accounts.raise_epoch(connection, entity.account_id)

        await self._database.write(audited(grant, unit))

    async def detach(self, grant: Grant, policy_arn: str) -> None:
        """Take a policy away. Raises NoSuchEntity, also where it is not attached."""

        def unit(connection: Connection) -> None:
            entity = entities.require_entity(connection, grant)
            entities.check_modifiable(entity)
            if not attachments.remove(connection, entity.unique_id, policy_arn):
                raise NoSuchEntity(message=f"Policy {policy_arn} was not found.")
            accounts.raise_epoch(connection, entity.account_id)

        await self._database.write(audited(grant, unit))

    async def list(self, grant: Grant, page: PageRequest) -> Page[str]:
        """Return a page of the ARNs of an entity's policies. Raises NoSuchEntity."""

        def read(connection: Connection) -> list[str]:
            entity = entities.require_entity(connection, grant)
            return attachments.list_after(
                connection, entity.unique_id, after=page.after or "", limit=page.limit + 1
            )

        return cut_page(await self._database.scan(read), page.limit, lambda arn: arn)

    async def set_boundary(self, grant: Grant, policy_arn: str | None) -> None:
        """Bound a user or role by a managed policy, or by none. Raises NoSuchEntity."""

        def unit(connection: Connection) -> None:
            entity = entities.require_entity(connection, grant)
            entities.check_modifiable(entity)
            assert entity.kind is not EntityKind.GROUP, "groups have no boundary"
            if policy_arn is not None:
                check_boundary(connection, entity.account_id, policy_arn)
            elif entity.boundary_arn is None:
                raise NoSuchEntity(
                    message=f"The {entity.kind.value} with name {entity.name} has no permissions boundary."
                )
            attachments.set_boundary(connection, entity.unique_id, policy_arn)
            accounts.raise_epoch(connection, entity.account_id)

        await self._database.write(audited(grant, unit))

    def _check_policy(self, connection: Connection, account_id: str, policy_arn: str) -> None:
        check_arn(policy_arn)
        policy = aws_policies.POLICIES.get(policy_arn)
        if policy is not None and policy.path == SERVICE_ROLE_PATH:
            raise PolicyNotAttachable(message="Cannot attach a Service Role Policy to a Customer Role.")
        is_text = policy_arn.isascii() and policy_arn.isprintable()  # PostgreSQL's text takes no NUL
        if policy is None and not (is_text and managed_policies.find(connection, account_id, policy_arn)):
            raise NoSuchEntity(message=f"Policy {policy_arn} does not exist or is not attachable.")
