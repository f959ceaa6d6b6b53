"""What decisions know of callers and resources: compiled policies and tags, kept for as long as they are true.

An entry holds the account's `authorization_epoch` that was read before it was loaded, and serves only requests that
have just read the same one. So a change is seen by the next request, whichever process made it.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, TypeVar

from openecr.application.account_settings import value_of
from openecr.application.iam import aws_policies
from openecr.domain.account_settings import AccountSetting
from openecr.domain.decisions import PolicyKind
from openecr.domain.iam import IamRole
from openecr.domain.kms import KEY_ORIGIN, KEY_SPEC, KEY_USAGE, KmsGrant, key_arn
from openecr.domain.registries import PARTITION, RegistryId, repository_arn
from openecr.domain.repositories import Repository
from openecr.engines.iam import Policy, compile_policy
from openecr.engines.kms import grant_policy
from openecr.store import (
    iam_entities,
    iam_tags,
    kms_aliases,
    kms_grants,
    kms_key_tags,
    kms_keys,
    principals,
    repositories,
)
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.principals import ResourcePolicyRow

T = TypeVar("T")

_ENTRIES = 4096
_COMPILED = 4096
_ALIASES = 1_000
_GRANTS = 500
"""So many are read at a time."""

Tags = Mapping[str, str]
"""Tags by their key in lower case: condition keys know no case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user or role, as decisions see it. `is_known` is False where the principal is gone."""

    arn: str = ""
    policies: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    tags: tuple[tuple[str, str], ...] = ()
    is_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What a registry's owner has said about all its repositories. `is_full`: scope V2, all actions count."""

    policy: Policy | None = None
    is_full: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What an owner has said about one resource. `must_allow`: silence denies, also in the same account.

    `boundary_arn`: of a user or role that the request is about. `keys` are the condition keys that the resource itself
    has, by their names in lower case.
    """

    policy: Policy | None = None
    tags: Tags
    boundary_arn: str | None = None
    must_allow: bool = False
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


class _Kept(Generic[T]):
    """A bounded cache whose entries are true at one epoch."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, tuple[int, T]] = OrderedDict()

    def find(self, key: Hashable, epoch: int) -> T | None:
        entry = self._entries.get(key)
        return None if entry is None or entry[0] != epoch else entry[1]

    def keep(self, key: Hashable, epoch: int, value: T) -> T:
        self._entries[key] = epoch, value
        self._entries.move_to_end(key)
        while len(self._entries) > _ENTRIES:
            self._entries.popitem(last=False)
        return value


class Identities:
    """Loads what decisions need, and keeps it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._principals: _Kept[Identity] = _Kept()
        self._managed: _Kept[tuple[Policy, ...]] = _Kept()
        self._registries: _Kept[Registry] = _Kept()
        self._repositories: _Kept[Guarded] = _Kept()
        self._roles: _Kept[Guarded] = _Kept()
        self._keys: _Kept[Guarded] = _Kept()

    async def of_principal(self, principal_id: str, epoch: int) -> Identity:
        """Return a user or role by its unique id."""
        return self._principals.find(principal_id, epoch) or self._principals.keep(
            principal_id, epoch, await self._read(_load_identity, principal_id)
        )

    async def managed(self, arns: tuple[str, ...], kind: PolicyKind, epoch: int) -> tuple[Policy, ...]:
        """Return managed policies in their default versions; those that are gone allow nothing."""
        key = (arns, kind)
        found = self._managed.find(key, epoch)
        if found is None:
            found = self._managed.keep(key, epoch, await self._read(_load_managed, arns, kind))
        return found

    async def of_registry(self, registry: RegistryId, epoch: int) -> Registry:
        """Return what the owner has said about the registry."""
        return self._registries.find(registry, epoch) or self._registries.keep(
            registry, epoch, await self._read(_load_registry, registry)
        )

    async def of_repository(self, repository: Repository, epoch: int) -> Guarded:
        """Return what the owner has said about the repository."""
        return self._repositories.find(repository.id, epoch) or self._repositories.keep(
            repository.id, epoch, await self._read(_load_repository, repository)
        )

    async def of_role(self, role_id: str, epoch: int) -> Guarded:
        """Return who may take a role. Raises nothing where it is gone: nobody may."""
        return self._roles.find(role_id, epoch) or self._roles.keep(
            role_id, epoch, await self._read(_load_trust, role_id)
        )

    async def of_key(self, key_id: str, epoch: int) -> Guarded:
        """Return who may use a key of KMS. Raises nothing where it is gone: nobody may."""
        return self._keys.find(key_id, epoch) or self._keys.keep(
            key_id, epoch, await self._read(_load_key, key_id)
        )

    async def of_grants(self, key_id: str, grantees: Sequence[str], grant_id: str) -> tuple[Policy, ...]:
        """Return as policies what a key's grants let any of these principals do, or one grant alone. Not kept."""
        return await self._database.read(
            lambda connection: _load_grants(connection, key_id, grantees, grant_id)
        )

    async def _read(self, load: Callable[..., T], *arguments: object) -> T:
        # In one snapshot: of an identity that is being changed all is of before, or all of after. What is kept under an
        # epoch costs this once.
        return await self._database.scan(lambda connection: load(connection, *arguments))


def session_policy(text: str) -> Policy:
    """Return the inline policy of a session, compiled."""
    return _compiled(text, PolicyKind.SESSION, "session")


@lru_cache(_COMPILED)
def _compiled(text: str, kind: PolicyKind, source: str) -> Policy:
    return compile_policy(text, kind=kind, source=source)


def _load_identity(connection: Connection, principal_id: str) -> Identity:
    row = principals.find(connection, principal_id)
    if row is None:
        return Identity(is_known=False)
    boundary = None
    if row.boundary_arn is not None:
        # A boundary that is gone still bounds: nothing is inside.
        boundary = next(
            iter(_load_managed(connection, (row.boundary_arn,), PolicyKind.BOUNDARY)),
            _compiled('{"Version":"2012-10-17","Statement":[]}', PolicyKind.BOUNDARY, row.boundary_arn),
        )
    inline = (
        _compiled(document, PolicyKind.IDENTITY, f"{owner_id}/{name}")
        for owner_id, name, document in row.inline
    )
    return Identity(
        arn=f"arn:{PARTITION}:iam::{row.account_id}:{row.kind}{row.path}{row.name}",
        policies=(*inline, *_load_managed(connection, row.attached_arns, PolicyKind.IDENTITY)),
        boundary=boundary,
        tags=row.tags,
    )


def _load_managed(connection: Connection, arns: tuple[str, ...], kind: PolicyKind) -> tuple[Policy, ...]:
    documents = {arn: text for arn in arns if (text := aws_policies.find_document(arn)) is not None}
    documents |= principals.managed_documents(connection, [arn for arn in arns if arn not in documents])
    return tuple(_compiled(documents[arn], kind, arn) for arn in arns if arn in documents)


def _load_registry(connection: Connection, registry: RegistryId) -> Registry:
    scope = value_of(connection, registry, AccountSetting.REGISTRY_POLICY_SCOPE)
    arn = f"arn:{PARTITION}:ecr:{registry.region}:{registry.account_id}:registry"
    return Registry(
        policy=_resource_policy(principals.registry_policy(connection, registry), arn), is_full=scope != "V1"
    )


def _load_repository(connection: Connection, repository: Repository) -> Guarded:
    arn = repository_arn(repository.registry, repository.name)
    tags = repositories.list_resource_tags(connection, repository)
    return Guarded(
        policy=_resource_policy(principals.repository_policy(connection, repository.id), arn),
        tags={key.lower(): value for key, value in tags.items()},
    )


def _load_trust(connection: Connection, role_id: str) -> Guarded:
    role = iam_entities.find_by_id(connection, role_id)
    if not isinstance(role, IamRole):
        return Guarded(tags={}, must_allow=True)
    policy = compile_policy(
        role.trust_policy,
        kind=PolicyKind.TRUST,
        source=role.arn,
        principals=json.loads(role.trust_principals),
    )
    tags = iam_tags.list_of(connection, role_id)
    return Guarded(policy=policy, tags={key.lower(): value for key, value in tags.items()}, must_allow=True)


def _load_key(connection: Connection, key_id: str) -> Guarded:
    key = kms_keys.find(connection, key_id)
    if key is None:
        return Guarded(tags={}, must_allow=True)
    aliases = kms_aliases.list_of_key(connection, key_id, limit=_ALIASES)
    keys: dict[str, tuple[str, ...]] = {
        "kms:keyspec": (KEY_SPEC,),
        "kms:keyusage": (KEY_USAGE,),
        "kms:keyorigin": (KEY_ORIGIN,),
        "kms:multiregion": ("false",),
    }
    if aliases:
        keys["kms:resourcealiases"] = tuple(alias.name for alias in aliases)
    return Guarded(
        policy=compile_policy(
            key.policy, kind=PolicyKind.RESOURCE, source=key.arn, principals=key.policy_principals
        ),
        tags={name.lower(): value for name, value in kms_key_tags.list_of(connection, key_id).items()},
        must_allow=True,
        keys=keys,
    )


def _load_grants(
    connection: Connection, key_id: str, grantees: Sequence[str], grant_id: str
) -> tuple[Policy, ...]:
    if grant_id:
        grant = kms_grants.find(connection, key_id, grant_id)
        found = [] if grant is None else [grant]
    else:
        found = list(_grants_of(connection, key_id, grantees))
    return tuple(
        compile_policy(
            grant_policy(grant),
            kind=PolicyKind.RESOURCE,
            source=f"{key_arn(grant.registry, key_id)}/grant/{grant.grant_id}",
            principals=grant.principal_ids,
        )
        for grant in found
    )


def _grants_of(connection: Connection, key_id: str, grantees: Sequence[str]) -> Iterator[KmsGrant]:
    """Return all of them: how many there may be, the quota says."""
    after = ""
    while True:
        page = kms_grants.list_of_grantees(connection, key_id, grantees, after=after, limit=_GRANTS)
        yield from page
        if len(page) < _GRANTS:
            return
        after = page[-1].grant_id


def _resource_policy(row: ResourcePolicyRow | None, arn: str) -> Policy | None:
    if row is None:
        return None
    return compile_policy(row.document, kind=PolicyKind.RESOURCE, source=arn, principals=row.principals)
