"""What a decision reads: policies, tags and boundary of a principal, and the policies of repositories and registries.

They are only read here. What changes them is in the modules of their nouns, and raises the account's epoch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, join, outerjoin, select

from openecr.domain.registries import RegistryId
from openecr.domain.repositories import Repository
from openecr.store import repositories
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, is_one_of
from openecr.store.iam_tables import (
    ATTACHMENTS,
    GROUP_MEMBERS,
    IAM_TAGS,
    INLINE_POLICIES,
    MANAGED_POLICIES,
    OIDC_PROVIDERS,
    POLICY_VERSIONS,
    PRINCIPALS,
    REGISTRY_POLICIES,
    REPOSITORY_POLICIES,
)
from openecr.store.statements import Statement
from openecr.store.tables import ACCOUNTS, REPOSITORIES

_P = PRINCIPALS.c
FIND = Statement(
    select(_P.account_id, _P.kind, _P.name, _P.path, _P.boundary_arn).where(_P.id == bindparam("the_id"))
)
LIST_GROUPS = Statement(
    select(GROUP_MEMBERS.c.group_id).where(GROUP_MEMBERS.c.user_id == bindparam("the_id"))
)
LIST_INLINE = Statement(
    select(INLINE_POLICIES.c.principal_id, INLINE_POLICIES.c.name, INLINE_POLICIES.c.document)
    .where(is_one_of(INLINE_POLICIES.c.principal_id, "ids"))
    .order_by(INLINE_POLICIES.c.principal_id, INLINE_POLICIES.c.name)
)
LIST_ATTACHED = Statement(
    select(ATTACHMENTS.c.policy_arn)
    .where(is_one_of(ATTACHMENTS.c.principal_id, "ids"))
    .distinct()
    .order_by(ATTACHMENTS.c.policy_arn)
)
LIST_MANAGED = Statement(
    select(MANAGED_POLICIES.c.arn, POLICY_VERSIONS.c.document)
    .join_from(
        MANAGED_POLICIES,
        POLICY_VERSIONS,
        and_(
            POLICY_VERSIONS.c.policy_id == MANAGED_POLICIES.c.id,
            POLICY_VERSIONS.c.version == MANAGED_POLICIES.c.default_version,
        ),
    )
    .where(is_one_of(MANAGED_POLICIES.c.arn, "arns"))
)
LIST_TAGS = Statement(
    select(IAM_TAGS.c.key, IAM_TAGS.c.value).where(IAM_TAGS.c.entity_id == bindparam("the_id"))
)
FIND_REPOSITORY_POLICY = Statement(
    select(REPOSITORY_POLICIES.c.document, REPOSITORY_POLICIES.c.principals).where(
        REPOSITORY_POLICIES.c.repository_id == bindparam("the_id")
    )
)
FIND_REGISTRY_POLICY = Statement(
    select(REGISTRY_POLICIES.c.document, REGISTRY_POLICIES.c.principals).where(
        REGISTRY_POLICIES.c.registry_id == bindparam("the_id")
    )
)
_CALLER = ACCOUNTS.alias("caller")
_OWNER = ACCOUNTS.alias("owner")
FIND_SCENE = Statement(
    select(_CALLER.c.authorization_epoch, _OWNER.c.authorization_epoch, *repositories.COLUMNS)
    .select_from(
        outerjoin(
            outerjoin(_CALLER, _OWNER, _OWNER.c.account_id == bindparam("owner")),
            REPOSITORIES,
            repositories.is_named(bindparam("registry"), bindparam("name")),
        )
    )
    .where(_CALLER.c.account_id == bindparam("caller")),
    is_shared=True,
)

FIND_ROLE_SCENE = Statement(
    select(_CALLER.c.authorization_epoch, _OWNER.c.authorization_epoch, *repositories.COLUMNS)
    .select_from(
        join(PRINCIPALS, _CALLER, _CALLER.c.account_id == _P.account_id)
        .outerjoin(_OWNER, _OWNER.c.account_id == bindparam("owner"))
        .outerjoin(REPOSITORIES, repositories.is_named(bindparam("registry"), bindparam("name")))
    )
    .where(_P.id == bindparam("the_id"), _P.kind == "role", _P.account_id == bindparam("account")),
    is_shared=True,
)
"""Asked by every request of a role's session: is the role there still?"""

FIND_CLIENT_IDS = Statement(
    select(OIDC_PROVIDERS.c.client_ids).where(
        OIDC_PROVIDERS.c.account_id == bindparam("account"), OIDC_PROVIDERS.c.url == bindparam("the_url")
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a decision begins with: the versions that validate what is cached, and the repository that is meant.

    An epoch is None where the server has no such account.
    """

    caller_epoch: int | None
    owner_epoch: int | None
    repository: Repository | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalRow:
    """A user or role with all that its decisions need. `inline` holds (owner's id, name, document)."""

    account_id: str
    kind: str
    name: str
    path: str
    boundary_arn: str | None
    inline: tuple[tuple[str, str, str], ...]
    attached_arns: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePolicyRow:
    """A policy of a repository or registry, and the ids that the principals in it had when it was stored."""

    document: str
    principals: Mapping[str, str | None]


def find_scene(
    connection: Connection, caller_account_id: str, registry: RegistryId, repository_name: str | None
) -> Scene:
    """Return both accounts' epochs and the live repository of that name, in one statement."""
    row = connection.fetch_one(
        FIND_SCENE,
        caller=caller_account_id,
        owner=registry.account_id,
        registry=str(registry),
        name=repository_name,
    )
    return Scene(caller_epoch=None, owner_epoch=None) if row is None else scene_of(registry, row)


def find_role_scene(
    connection: Connection,
    role_id: str,
    account_id: str,
    registry: RegistryId,
    repository_name: str | None,
) -> Scene | None:
    """Return the same for a session of a role, or None where the role is gone."""
    row = connection.fetch_one(
        FIND_ROLE_SCENE,
        the_id=role_id,
        account=account_id,
        owner=registry.account_id,
        registry=str(registry),
        name=repository_name,
    )
    return None if row is None else scene_of(registry, row)


def scene_of(registry: RegistryId, row: Row) -> Scene:
    """Return the scene whose columns these are: both epochs, then those of the repository."""
    caller_epoch, owner_epoch, *columns = row
    repository = None if columns[0] is None else repositories.from_row(registry, columns)
    return Scene(caller_epoch=caller_epoch, owner_epoch=owner_epoch, repository=repository)


def find(connection: Connection, principal_id: str) -> PrincipalRow | None:
    """Return a user or role, or None where it is gone. A user has the policies of its groups too."""
    row = connection.fetch_one(FIND, the_id=principal_id)
    if row is None:
        return None
    groups = [group_id for (group_id,) in connection.fetch_all(LIST_GROUPS, the_id=principal_id)]
    owners = as_list([principal_id, *groups])
    return PrincipalRow(
        account_id=row[0],
        kind=row[1],
        name=row[2],
        path=row[3],
        boundary_arn=row[4],
        inline=tuple((each[0], each[1], each[2]) for each in connection.fetch_all(LIST_INLINE, ids=owners)),
        attached_arns=tuple(arn for (arn,) in connection.fetch_all(LIST_ATTACHED, ids=owners)),
        tags=tuple((key, value) for key, value in connection.fetch_all(LIST_TAGS, the_id=principal_id)),
    )


def managed_documents(connection: Connection, arns: Sequence[str]) -> dict[str, str]:
    """Return the default versions of managed policies of accounts by ARN; those that are gone are left out."""
    if not arns:
        return {}
    rows = connection.fetch_all(LIST_MANAGED, arns=as_list(arns))
    return {str(arn): str(document) for arn, document in rows}


def repository_policy(connection: Connection, repository_id: int) -> ResourcePolicyRow | None:
    """Return the policy of a repository, or None."""
    row = connection.fetch_one(FIND_REPOSITORY_POLICY, the_id=repository_id)
    return None if row is None else ResourcePolicyRow(document=row[0], principals=json.loads(row[1]))


def registry_policy(connection: Connection, registry: RegistryId) -> ResourcePolicyRow | None:
    """Return the policy of a registry, or None."""
    row = connection.fetch_one(FIND_REGISTRY_POLICY, the_id=str(registry))
    return None if row is None else ResourcePolicyRow(document=row[0], principals=json.loads(row[1]))


def client_ids(connection: Connection, account_id: str, provider_url: str) -> tuple[str, ...] | None:
    """Return the audiences that an account takes tokens of an identity provider for; None: it has no such provider."""
    row = connection.fetch_one(FIND_CLIENT_IDS, account=account_id, the_url=provider_url)
    return None if row is None else tuple(json.loads(row[0]))
