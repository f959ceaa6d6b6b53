"""Managed policies of an account: made, read, changed by versions and deleted; AWS's own stay as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from openecr.application.audit import audited
from openecr.application.iam import aws_policies, entities
from openecr.application.iam.aws_policies import AwsPolicy
from openecr.application.iam.documents import check_document, counted_characters
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.iam import Entity, policy_arn
from openecr.domain.iam_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    IamLimitExceeded,
    NoSuchEntity,
)
from openecr.domain.managed_policies import VERSIONS_MAX, ManagedPolicy, PolicyVersion, Uses
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.engines.iam import DocumentKind
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import accounts, attachments, iam_tags, managed_policies
from openecr.store.connections import Connection
from openecr.store.database import Database

_ID_PREFIX = "ANPA"
_DOCUMENT_MAX_CHARACTERS = 6_144


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedPolicy:
    """A policy with what an account does with it."""

    policy: ManagedPolicy
    uses: Uses
    tags: Mapping[str, str]


class ManagedPolicies:
    """The use cases of managed policies."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def create(
        self,
        grant: Grant,
        name: str,
        document: str,
        *,
        path: str,
        description: str | None,
        tags: Mapping[str, str],
    ) -> DescribedPolicy:
        """Make a policy. Raises MalformedPolicyDocument, EntityAlreadyExists, IamLimitExceeded."""
        account_id = grant.registry.account_id
        _check(document)
        now = self._clock.now()
        policy = ManagedPolicy(
            unique_id=entities.draw_unique_id(self._ids, _ID_PREFIX),
            account_id=account_id,
            name=name,
            path=path,
            arn=policy_arn(account_id, name, path=path),
            description=description,
            created_at=now,
            updated_at=now,
            default_version=1,
            newest_version=1,
        )

        def unit(connection: Connection) -> DescribedPolicy:
            entities.check_quota(
                managed_policies.count(connection, account_id),
                self._limits.policies_per_account,
                "PoliciesPerAccount",
            )
            if managed_policies.find_named(connection, account_id, name) is not None:
                raise EntityAlreadyExists(
                    message=f"A policy called {name} already exists. Duplicate names are not allowed."
                )
            managed_policies.add(connection, policy, document)
            iam_tags.put(connection, policy.unique_id, tags)
            accounts.raise_epoch(connection, account_id)
            return DescribedPolicy(policy=policy, uses=Uses(), tags=tags)

        return await self._database.write(audited(grant, unit))

    async def get(self, grant: Grant, arn: str) -> DescribedPolicy:
        """Return a policy of the account or of AWS. Raises NoSuchEntity."""

        def read(connection: Connection) -> DescribedPolicy:
            policy = find(connection, grant, arn)
            return _described(connection, grant, policy)

        return await self._database.scan(read)

    async def list(self, grant: Grant, page: PageRequest, *, path_prefix: str) -> Page[DescribedPolicy]:
        """Return a page of the account's own policies by name."""
        account_id = grant.registry.account_id

        def read(connection: Connection) -> list[DescribedPolicy]:
            found = managed_policies.list_after(
                connection,
                account_id,
                path_prefix=path_prefix,
                after=page.after or "",
                limit=page.limit + 1,
            )
            return [_described(connection, grant, policy) for policy in found]

        found = await self._database.scan(read)
        return cut_page(found, page.limit, lambda each: each.policy.name.lower())

    async def list_aws(self, grant: Grant, *, path_prefix: str) -> Sequence[DescribedPolicy]:
        """Return AWS's own policies; there are few."""

        def read(connection: Connection) -> list[DescribedPolicy]:
            return [
                _described(connection, grant, _of_aws(policy))
                for policy in aws_policies.POLICIES.values()
                if policy.path.startswith(path_prefix)
            ]

        return await self._database.scan(read)

    async def delete(self, grant: Grant, arn: str) -> None:
        """Delete a policy that nobody uses and of which one version is left. Raises NoSuchEntity, DeleteConflict."""

        def unit(connection: Connection) -> None:
            policy = _own(connection, grant, arn)
            uses = attachments.uses(connection, policy.account_id, policy.arn)
            if uses.attachments or uses.boundaries:
                raise DeleteConflict(message="Cannot delete a policy attached to entities.")
            if len(managed_policies.list_versions(connection, policy)) > 1:
                raise DeleteConflict(
                    message="This policy has more than one version. Before you delete a policy, "
                    "you must delete the policy's versions. The default version is deleted with the policy."
                )
            iam_tags.remove_all(connection, policy.unique_id)
            managed_policies.remove(connection, policy)
            accounts.raise_epoch(connection, policy.account_id)

        await self._database.write(audited(grant, unit))

    async def create_version(
        self, grant: Grant, arn: str, document: str, *, becomes_default: bool
    ) -> PolicyVersion:
        """Add a version. Raises NoSuchEntity, MalformedPolicyDocument, IamLimitExceeded."""
        _check(document)
        now = self._clock.now()

        def unit(connection: Connection) -> PolicyVersion:
            policy = _own(connection, grant, arn)
            if len(managed_policies.list_versions(connection, policy)) >= VERSIONS_MAX:
                raise IamLimitExceeded(
                    message=f"A managed policy can have up to {VERSIONS_MAX} versions. "
                    "Before you create a new version, you must delete an existing version."
                )
            number = policy.newest_version + 1
            managed_policies.add_version(connection, policy, number, document, created_at=now)
            managed_policies.change(
                connection,
                policy,
                default_version=number if becomes_default else policy.default_version,
                newest_version=number,
                updated_at=now,
            )
            accounts.raise_epoch(connection, policy.account_id)
            return PolicyVersion(number=number, document=document, created_at=now, is_default=becomes_default)

        return await self._database.write(audited(grant, unit))

    async def get_version(self, grant: Grant, arn: str, number: int) -> PolicyVersion:
        """Return a version. Raises NoSuchEntity."""

        def read(connection: Connection) -> PolicyVersion:
            policy = find(connection, grant, arn)
            return _version(connection, policy, number)

        return await self._database.read(read)

    async def list_versions(self, grant: Grant, arn: str) -> Sequence[PolicyVersion]:
        """Return all versions, the newest first. Raises NoSuchEntity."""

        def read(connection: Connection) -> list[PolicyVersion]:
            policy = find(connection, grant, arn)
            if policy.account_id == "aws":
                return [_version(connection, policy, policy.default_version)]
            return managed_policies.list_versions(connection, policy)

        return await self._database.read(read)

    async def set_default_version(self, grant: Grant, arn: str, number: int) -> None:
        """Let another version be the one that counts. Raises NoSuchEntity."""
        now = self._clock.now()

        def unit(connection: Connection) -> None:
            policy = _own(connection, grant, arn)
            _version(connection, policy, number)
            managed_policies.change(
                connection,
                policy,
                default_version=number,
                newest_version=policy.newest_version,
                updated_at=now,
            )
            accounts.raise_epoch(connection, policy.account_id)

        await self._database.write(audited(grant, unit))

    async def delete_version(self, grant: Grant, arn: str, number: int) -> None:
        """Delete a version that is not the default. Raises NoSuchEntity, DeleteConflict."""

        def unit(connection: Connection) -> None:
            policy = _own(connection, grant, arn)
            if number == policy.default_version:
                raise DeleteConflict(message="Cannot delete the default version of a policy.")
            if not managed_policies.remove_version(connection, policy, number):
                raise _no_version(policy, number)

        await self._database.write(audited(grant, unit))

    async def list_entities(
        self, grant: Grant, arn: str, page: PageRequest, *, are_bounded: bool
    ) -> Page[Entity]:
        """Return a page of who has the policy, or is bounded by it, by unique id. Raises NoSuchEntity."""

        def read(connection: Connection) -> list[Entity]:
            find(connection, grant, arn)
            return attachments.list_entities(
                connection,
                grant.registry.account_id,
                arn,
                are_bounded=are_bounded,
                after=page.after or "",
                limit=page.limit + 1,
            )

        found = await self._database.scan(read)
        return cut_page(found, page.limit, lambda entity: entity.unique_id)


def find(connection: Connection, grant: Grant, arn: str) -> ManagedPolicy:
    """Return a policy of the account or of AWS. Raises NoSuchEntity."""
    aws_policy = aws_policies.POLICIES.get(arn)
    return _own(connection, grant, arn) if aws_policy is None else _of_aws(aws_policy)


def _own(connection: Connection, grant: Grant, arn: str) -> ManagedPolicy:
    is_text = arn.isascii() and arn.isprintable()  # PostgreSQL's text takes no NUL
    found = managed_policies.find(connection, grant.registry.account_id, arn) if is_text else None
    if found is None:
        raise NoSuchEntity(message=f"Policy {arn} was not found.")
    return found


def _of_aws(policy: AwsPolicy) -> ManagedPolicy:
    return ManagedPolicy(
        unique_id=aws_policies.unique_id(policy),
        account_id="aws",
        name=policy.name,
        path=policy.path,
        arn=policy.arn,
        description=None,
        created_at=policy.created_at,
        updated_at=policy.created_at,
        default_version=policy.version,
        newest_version=policy.version,
    )


def _described(connection: Connection, grant: Grant, policy: ManagedPolicy) -> DescribedPolicy:
    return DescribedPolicy(
        policy=policy,
        uses=attachments.uses(connection, grant.registry.account_id, policy.arn),
        tags=iam_tags.list_of(connection, policy.unique_id),
    )


def _version(connection: Connection, policy: ManagedPolicy, number: int) -> PolicyVersion:
    document = aws_policies.find_document(policy.arn)
    if document is not None:
        found: PolicyVersion | None = PolicyVersion(
            number=policy.default_version,
            document=document,
            created_at=policy.created_at,
            is_default=True,
        )
        found = found if number == policy.default_version else None
    else:
        found = managed_policies.find_version(connection, policy, number)
    if found is None:
        raise _no_version(policy, number)
    return replace(found, is_default=number == policy.default_version)


def _no_version(policy: ManagedPolicy, number: int) -> NoSuchEntity:
    return NoSuchEntity(message=f"Policy {policy.arn} version v{number} does not exist or is not attachable.")


def _check(document: str) -> None:
    check_document(document, DocumentKind.IDENTITY)
    if counted_characters(document) > _DOCUMENT_MAX_CHARACTERS:
        raise IamLimitExceeded(message=f"Cannot exceed quota for PolicySize: {_DOCUMENT_MAX_CHARACTERS}")
