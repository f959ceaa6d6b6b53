"""Roles: made, looked at, changed and deleted, and who may assume them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from openecr.application.audit import audited
from openecr.application.iam import entities
from openecr.application.iam.boundaries import check_boundary
from openecr.application.iam.trust_policies import as_shown, check_trust, resolved_principals
from openecr.application.limits import Limits
from openecr.application.policy_principals import shown
from openecr.domain.decisions import Grant
from openecr.domain.iam import Entity, EntityKind, IamRole
from openecr.domain.iam_errors import DeleteConflict, EntityAlreadyExists, InvalidInput
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.domain.service_roles import SERVICE_ROLE_PATH, service_role
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import accounts, attachments, iam_entities, iam_tags, inline_policies, roles
from openecr.store.connections import Connection
from openecr.store.database import Database

DEFAULT_SESSION_SECONDS = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedRole:
    """A role with its tags; its trust policy names who is gone by unique ids."""

    role: IamRole
    trust_policy: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRole:
    """What a role is made of."""

    name: str
    path: str
    trust_policy: str
    description: str | None
    max_session_seconds: int
    boundary_arn: str | None
    tags: Mapping[str, str]


class Roles:
    """The use cases of roles."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def create(self, grant: Grant, wanted: NewRole) -> DescribedRole:
        """Make a role.

        Raises MalformedPolicyDocument, EntityAlreadyExists, IamLimitExceeded, NoSuchEntity, InvalidInput.
        """
        if wanted.path.startswith(SERVICE_ROLE_PATH):
            raise InvalidInput(
                message=f"Path prefix '{SERVICE_ROLE_PATH}' can only be used for AWS Service linked Roles"
            )
        check_trust(wanted.trust_policy, grant.registry.account_id)
        return await self._create(grant, wanted)

    async def create_service_linked(
        self, grant: Grant, service: str, description: str | None
    ) -> DescribedRole:
        """Make the role of one of ECR's services. Raises InvalidInput for another one, or where it is there."""
        found = service_role(service)
        if found is None:
            raise InvalidInput(message=f"AWS service principal is invalid: {service}")
        statement = {"Effect": "Allow", "Principal": {"Service": [service]}, "Action": ["sts:AssumeRole"]}
        wanted = NewRole(
            name=found.name,
            path=found.path,
            trust_policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
            description=description,
            max_session_seconds=DEFAULT_SESSION_SECONDS,
            boundary_arn=None,
            tags={},
        )
        try:
            return await self._create(grant, wanted, attached_arn=found.policy_arn)
        except EntityAlreadyExists as error:
            raise InvalidInput(
                message=f"Service role name {found.name} has been taken in this account, "
                "please try a different suffix."
            ) from error

    async def _create(self, grant: Grant, wanted: NewRole, attached_arn: str | None = None) -> DescribedRole:
        account_id = grant.registry.account_id
        unique_id = entities.draw_unique_id(self._ids, EntityKind.ROLE.id_prefix)
        now = self._clock.now()

        def unit(connection: Connection) -> DescribedRole:
            entities.check_quota(
                iam_entities.count(connection, account_id, EntityKind.ROLE),
                self._limits.roles_per_account,
                "RolesPerAccount",
            )
            if wanted.boundary_arn is not None:
                check_boundary(connection, account_id, wanted.boundary_arn)
            role = IamRole(
                kind=EntityKind.ROLE,
                account_id=account_id,
                unique_id=unique_id,
                name=wanted.name,
                path=wanted.path,
                created_at=now,
                boundary_arn=wanted.boundary_arn,
                trust_policy=wanted.trust_policy,
                trust_principals=resolved_principals(connection, wanted.trust_policy),
                max_session_seconds=wanted.max_session_seconds,
                description=wanted.description,
            )
            entities.add(connection, role)
            iam_tags.put(connection, unique_id, wanted.tags)
            if attached_arn is not None:
                attachments.add(connection, unique_id, attached_arn)
            return DescribedRole(role=role, trust_policy=role.trust_policy, tags=wanted.tags)

        return await self._database.write(audited(grant, unit))

    async def get(self, grant: Grant) -> DescribedRole:
        """Return the role that the grant is about. Raises NoSuchEntity."""

        def read(connection: Connection) -> DescribedRole:
            return _described(connection, entities.require_role(connection, grant))

        return await self._database.read(read)

    async def list(self, grant: Grant, page: PageRequest, *, path_prefix: str) -> Page[Entity]:
        """Return a page of the account's roles by name."""

        def scan(connection: Connection) -> list[Entity]:
            found = entities.list_after(connection, grant, EntityKind.ROLE, page, path_prefix=path_prefix)
            return [as_shown(connection, role) for role in found]

        return cut_page(await self._database.scan(scan), page.limit, entities.name_key)

    async def set_trust(self, grant: Grant, document: str) -> None:
        """Replace who may assume the role. Raises NoSuchEntity, MalformedPolicyDocument, UnmodifiableEntity."""
        check_trust(document, grant.registry.account_id)

        def unit(connection: Connection) -> None:
            role = entities.require_role(connection, grant)
            entities.check_modifiable(role)
            roles.set_trust(connection, role.unique_id, document, resolved_principals(connection, document))
            accounts.raise_epoch(connection, role.account_id)

        await self._database.write(audited(grant, unit))

    async def change(
        self, grant: Grant, *, description: str | None, max_session_seconds: int | None
    ) -> DescribedRole:
        """Change description or longest session; None leaves them. Raises NoSuchEntity, UnmodifiableEntity."""

        def unit(connection: Connection) -> DescribedRole:
            role = entities.require_role(connection, grant)
            entities.check_modifiable(role)
            roles.change(
                connection,
                role.unique_id,
                description=role.description if description is None else description,
                max_session_seconds=max_session_seconds or role.max_session_seconds,
            )
            accounts.raise_epoch(connection, role.account_id)
            return _described(connection, entities.require_role(connection, grant))

        return await self._database.write(audited(grant, unit))

    async def delete(self, grant: Grant) -> None:
        """Delete a role on which nothing hangs any more. Raises NoSuchEntity, DeleteConflict, UnmodifiableEntity."""

        def unit(connection: Connection) -> None:
            role = entities.require_role(connection, grant)
            entities.check_modifiable(role)
            if inline_policies.has_any(connection, role.unique_id):
                raise DeleteConflict(message=entities.DELETE_POLICIES_FIRST)
            entities.remove(connection, role)

        await self._database.write(audited(grant, unit))

    async def delete_service_linked(self, grant: Grant) -> IamRole:
        """Delete the role of a service, with the policy that came with it. Raises NoSuchEntity, of others too."""

        def unit(connection: Connection) -> IamRole:
            role = entities.require_role(connection, grant)
            if not role.path.startswith(SERVICE_ROLE_PATH):  # what permits this permits no more than this
                raise entities.missing(EntityKind.ROLE, role.name)
            attachments.remove_all(connection, role.unique_id)
            entities.remove(connection, role)
            return role

        return await self._database.write(audited(grant, unit))


def _described(connection: Connection, role: IamRole) -> DescribedRole:
    return DescribedRole(
        role=role,
        trust_policy=shown(connection, role.trust_policy, json.loads(role.trust_principals)),
        tags=iam_tags.list_of(connection, role.unique_id),
    )
