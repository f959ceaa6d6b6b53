"""Managed policies of an account: made, read, changed by versions and deleted; AWS's own stay as they are."""

import enum
from collections.abc import Collection, Mapping, Sequence
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
    IamValidationError,
    NoSuchEntity,
)
from openecr.domain.managed_policies import VERSIONS_MAX, ManagedPolicy, PolicyVersion, Uses
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.engines.iam import DocumentKind
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import accounts, attachments, iam_details, iam_tags, managed_policies
from openecr.store.connections import Connection
from openecr.store.database import Database

_ID_PREFIX = "ANPA"
_DOCUMENT_MAX_CHARACTERS = 6_144
_ARN_COLONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedPolicy:
    """A policy with what an account does with it."""

    policy: ManagedPolicy
    uses: Uses
    tags: Mapping[str, str]


class Scope(enum.Enum):
    """Whose policies are listed."""

    OWN = "own"
    AWS = "aws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Which policies are listed by how they are used."""

    must_be_attached: bool = False
    must_bound: bool = False

    def covers(self, uses: Uses) -> bool:
        """Tell whether a policy is listed."""
        if self.must_bound:
            return uses.boundaries > 0
        return uses.attachments > 0 or not self.must_be_attached


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

    async def list(
        self, grant: Grant, page: PageRequest, *, path_prefix: str, scopes: Collection[Scope], usage: Usage
    ) -> Page[DescribedPolicy]:
        """Return a page of the account's own policies by name, then of AWS's, without tags.

        It may hold fewer than were asked for, also when more follow. Raises IamValidationError where `after` is no key
        of this list.
        """
        account_id = grant.registry.account_id
        start, after = _start(page.after)

        def read(connection: Connection) -> Page[DescribedPolicy]:
            found: list[tuple[str, ManagedPolicy]] = []
            if start is Scope.OWN and Scope.OWN in scopes:
                own = managed_policies.list_after(
                    connection, account_id, path_prefix=path_prefix, after=after, limit=page.limit + 1
                )
                found += [(_key(Scope.OWN, policy), policy) for policy in own]
            if Scope.AWS in scopes:
                found += _of_aws_after(after if start is Scope.AWS else "", path_prefix)
            cut = cut_page(found, page.limit, lambda pair: pair[0])
            attached = iam_details.attachment_counts(connection, account_id)
            bounded = iam_details.boundary_counts(connection, account_id)
            described = [
                DescribedPolicy(
                    policy=policy,
                    uses=Uses(attachments=attached.get(policy.arn, 0), boundaries=bounded.get(policy.arn, 0)),
                    tags={},
                )
                for _, policy in cut.items
            ]
            return Page(items=tuple(each for each in described if usage.covers(each.uses)), after=cut.after)

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
            accounts.raise_epoch(connection, policy.account_id)

        await self._database.write(audited(grant, unit))

    async def list_entities(
        self, grant: Grant, arn: str, page: PageRequest, *, are_attached: bool, are_bounded: bool
    ) -> Page[Entity]:
        """Return a page of who has the policy, or is bounded by it, or either, by unique id. Raises NoSuchEntity."""

        def read(connection: Connection) -> list[Entity]:
            find(connection, grant, arn)
            return attachments.list_entities(
                connection,
                grant.registry.account_id,
                arn,
                are_attached=are_attached,
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


def check_arn(arn: str) -> None:
    """Raise IamValidationError for what is no ARN."""
    if not arn.startswith("arn:") or arn.count(":") < _ARN_COLONS:
        raise IamValidationError(message="Invalid ARN:  Could not be parsed!")


def _own(connection: Connection, grant: Grant, arn: str) -> ManagedPolicy:
    check_arn(arn)
    is_text = arn.isascii() and arn.isprintable()  # PostgreSQL's text takes no NUL
    found = managed_policies.find(connection, grant.registry.account_id, arn) if is_text else None
    if found is None:
        raise NoSuchEntity(message=f"Policy {arn} was not found.")
    return found


def _key(scope: Scope, policy: ManagedPolicy) -> str:
    return f"{scope.value}/{policy.name.lower()}"


def _start(after: str | None) -> tuple[Scope, str]:
    """Return in which part of the list a page begins, and after which name."""
    if after is None:
        return Scope.OWN, ""
    scope, separator, name = after.partition("/")
    if not separator or scope not in {each.value for each in Scope}:
        raise IamValidationError(message="Invalid Marker.")
    return Scope(scope), name


def _of_aws_after(after: str, path_prefix: str) -> list[tuple[str, ManagedPolicy]]:
    """Return AWS's own policies by name; there are few."""
    policies = sorted(aws_policies.POLICIES.values(), key=lambda policy: policy.name.lower())
    found = (_of_aws(policy) for policy in policies if policy.path.startswith(path_prefix))
    return [(_key(Scope.AWS, policy), policy) for policy in found if policy.name.lower() > after]


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
