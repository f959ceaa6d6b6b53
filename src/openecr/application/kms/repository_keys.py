"""The keys of ECR's repositories: what ECR does with KMS, through grants that it makes with its caller's permissions.

CreateRepository asks for DescribeKey and CreateGrant as its caller (forward access: `kms:ViaService`), and makes two
grants to ECR itself under the encryption context of the repository. From then on ECR alone uses the key, through these
grants: who pushes and pulls needs no permission of KMS. Everything here is a bounded read of the database and AES.

Grants bear the repository's ARN as their name. Those that a former repository of the name has left, since whoever
deleted it could not retire them, end when a repository of that name is made on the key: none is opened by another's.

Source: ECR user guide, "Encryption at rest".
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from openecr.application.authorization import Authorizer, denial
from openecr.application.key_names import NamedKey, missing, read_key, require_key
from openecr.application.kms.ciphers import decrypted, encrypted, read_origin
from openecr.application.kms.grants import GRANT_ID_BYTES, NewGrant, has_room_for_grants, made_grant
from openecr.application.kms.materials import Materials
from openecr.application.kms.states import check_usable
from openecr.application.limits import Limits
from openecr.domain.callers import Caller, RequestContext, Service
from openecr.domain.decisions import Decision, Grant, Requirement
from openecr.domain.errors import AccessDenied, DomainError
from openecr.domain.kms import (
    MATERIAL_BYTES,
    GrantConstraints,
    KeyManager,
    KeyName,
    KeyState,
    KmsAlias,
    KmsGrant,
    KmsKey,
    context_keys,
    key_arn,
    managed_policy,
    parse_key_arn,
    service_principal,
)
from openecr.domain.kms_errors import (
    InvalidCiphertext,
    KeyDisabled,
    KmsFailed,
    KmsInvalidArn,
    KmsInvalidState,
    KmsLimitExceeded,
    KmsNotFound,
)
from openecr.domain.registries import RegistryId, repository_arn
from openecr.domain.repositories import Repository
from openecr.engines.kms import RANDOM_BYTES
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import accounts, kms_aliases, kms_grants, kms_keys, kms_materials, repositories
from openecr.store.connections import Connection
from openecr.store.database import Database

MANAGED_ALIAS = "alias/aws/ecr"
"""The key of repositories that name none; made on its first use."""

DATA_KEY_BYTES = MATERIAL_BYTES
_SERVICE = "ecr"
_TITLE = "Amazon ECR"
_DESCRIPTION = "Default key that protects my ECR data when no other key is defined"
_OPERATIONS = ("GenerateDataKey", "Decrypt")
_GRANTS = 2
_GRANTS_ENDED = 500
"""A unit of work ends so many; more than two of a name are there only where many repositories of it came and went."""

_CONTEXT_KEY = "aws:ecr:arn"
_ROTATION_DAYS = 365
_CODES: tuple[tuple[type[DomainError], str], ...] = (
    (KmsNotFound, "NotFoundException"),
    (KmsInvalidArn, "InvalidArnException"),
    (KeyDisabled, "DisabledException"),
    (KmsInvalidState, "KMSInvalidStateException"),
    (InvalidCiphertext, "InvalidCiphertextException"),
    (KmsLimitExceeded, "LimitExceededException"),
    (AccessDenied, "AccessDeniedException"),
)


class Use(enum.Enum):
    """What a repository's key is used for: what ECR asks of KMS, in one decision."""

    PULL = ("kms:Decrypt",)
    PUSH = ("kms:Decrypt", "kms:GenerateDataKey")
    """What is pushed gets a key of its own, under the repository's, which has to be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenKey:
    """A key that a new repository may use, with all the chance that its grants and its own key take."""

    key_id: str
    arn: str
    repository_arn: str
    grant_ids: tuple[str, ...]
    issuing_account: str
    created_at: int
    repository_key: bytes
    random: bytes


class RepositoryKeys:
    """What ECR does with keys. Each failure is told as KmsFailed, which holds KMS's code."""

    def __init__(
        self,
        *,
        database: Database,
        authorizer: Authorizer,
        materials: Materials,
        clock: Clock,
        ids: Ids,
        limits: Limits,
    ) -> None:
        self._database = database
        self._limits = limits
        self._authorizer = authorizer
        self._materials = materials
        self._clock = clock
        self._ids = ids

    # --- CreateRepository -------------------------------------------------------------------------------------------

    async def choose(self, grant: Grant, named: str | None) -> ChosenKey:
        """Find the key that CreateRepository names by id, alias or ARN, or make ECR's own; ask as the caller.

        Raises KmsFailed.
        """
        registry = grant.registry
        arn = repository_arn(registry, grant.requirement.repository_name or "")
        try:
            key = read_key(MANAGED_ALIAS if named is None else named, registry)
            if key == NamedKey(registry=registry, name=KeyName(alias=MANAGED_ALIAS)):
                await self._ensure_managed(registry)
            key_id = await self._check_creator(grant, key, arn)
            await self._check_quota(key_id)
        except DomainError as error:
            raise failed(error) from error
        return ChosenKey(
            key_id=key_id,
            arn=key_arn(key.registry, key_id),
            repository_arn=arn,
            grant_ids=tuple(self._ids.token(GRANT_ID_BYTES).hex() for _ in range(_GRANTS)),
            issuing_account=grant.caller.account_id,
            created_at=self._clock.now(),
            repository_key=self._ids.token(DATA_KEY_BYTES),
            random=self._ids.token(RANDOM_BYTES),
        )

    def bind(self, connection: Connection, chosen: ChosenKey) -> bytes:
        """Make the grants in the unit that makes the repository; return the repository's own key, encrypted.

        Raises KmsFailed.
        """
        try:
            key = kms_keys.find(connection, chosen.key_id)
            if key is None:
                raise KmsNotFound(message=f"Key '{chosen.arn}' does not exist")
            check_usable(key)
        except DomainError as error:
            raise failed(error) from error
        wanted = _wanted(chosen.repository_arn, key.registry.region)
        _end_grants(connection, chosen.key_id, chosen.repository_arn, key.registry.region)
        for grant_id in chosen.grant_ids:
            made = made_grant(
                key,
                wanted,
                grant_id=grant_id,
                principal_ids={},
                issuing_account=chosen.issuing_account,
                created_at=chosen.created_at,
            )
            kms_grants.add(connection, made)  # a service's: no decision that is kept knows of it
        material = self._materials.open_current(connection, key)
        context = context_of(chosen.repository_arn)
        return encrypted(key, material, chosen.repository_key, context, random=chosen.random).blob

    async def _check_creator(self, grant: Grant, key: NamedKey, arn: str) -> str:
        """Ask for DescribeKey and CreateGrant as the caller; return the key's id. Raises DomainError."""
        principal = service_principal(_SERVICE, key.registry.region)
        for_grant = (
            ("kms:GrantIsForAWSResource", ("true",)),
            ("kms:GranteePrincipal", (principal,)),
            ("kms:RetiringPrincipal", (principal,)),
            ("kms:GrantOperations", _OPERATIONS),
            ("kms:GrantConstraintType", ("EncryptionContextSubset",)),
            *context_keys(context_of(arn)),
        )
        described = await self._ask(grant.caller, grant.context, key, "kms:DescribeKey")
        found = await self._database.read(lambda connection: require_key(connection, described))
        check_usable(found)
        granted = await self._ask(grant.caller, grant.context, key, "kms:CreateGrant", for_grant)
        if granted.located is None:
            raise missing(granted)
        return granted.located.unique_id

    async def _check_quota(self, key_id: str) -> None:
        if not await has_room_for_grants(self._database, key_id, _GRANTS, self._limits):
            raise KmsLimitExceeded(message="The key has as many grants as it may have")

    async def _ask(
        self,
        caller: Caller,
        context: RequestContext,
        key: NamedKey,
        action: str,
        keys: Sequence[tuple[str, tuple[str, ...]]] = (),
    ) -> Grant:
        """Decide what a caller of ECR may do with a key through ECR. Raises AccessDenied."""
        via = service_principal(_SERVICE, key.registry.region)
        alias = (("kms:RequestAlias", (key.name.alias,)),) if key.name.alias else ()
        requirement = Requirement(
            actions=(action,),
            registry=key.registry,
            arn=key.arn,
            entity=key.name,
            context_keys=(
                ("kms:ViaService", (via,)),
                ("aws:ViaAWSService", ("true",)),
                ("aws:CalledVia", (via,)),
                *alias,
                *keys,
            ),
        )
        return await self._authorizer.authorize(caller, context, requirement)

    async def _ensure_managed(self, registry: RegistryId) -> None:
        """Make the account's key for ECR where it has none in this region yet."""
        found = await self._database.read(
            lambda connection: kms_aliases.find(connection, registry, MANAGED_ALIAS)
        )
        if found is not None:
            return
        key_id, now = self._ids.uuid(), self._clock.now()
        material = self._materials.draw(registry, key_id, number=1, created_at=now)
        key = KmsKey(
            key_id=key_id,
            registry=registry,
            description=_DESCRIPTION,
            state=KeyState.ENABLED,
            manager=KeyManager.AWS,
            created_at=now,
            policy=managed_policy(registry, _SERVICE, _TITLE),
            policy_principals={},
            material_id=material.material_id,
        )
        alias = KmsAlias(registry=registry, name=MANAGED_ALIAS, key_id=key_id, created_at=now, updated_at=now)

        def unit(connection: Connection) -> None:
            if kms_aliases.find(connection, registry, MANAGED_ALIAS) is not None:
                return
            kms_keys.add(connection, key)
            kms_materials.add(connection, key_id, material)
            kms_keys.set_rotation(
                connection, key_id, period_days=_ROTATION_DAYS, next_at=now + _ROTATION_DAYS * 86_400_000_000
            )
            kms_aliases.add(connection, alias)
            accounts.raise_epoch(connection, registry.account_id)

        await self._database.write(unit)

    # --- pushes and pulls -------------------------------------------------------------------------------------------

    async def check(self, repository: Repository, context: RequestContext, use: Use = Use.PULL) -> None:
        """Check that ECR may use the repository's key now: enabled, granted, and denied by no key policy.

        Raises KmsFailed, and Unavailable while the server's own key ring is closed.
        """
        self._materials.check_open()
        await self._use(repository, context, use.value)

    async def open(
        self, repository: Repository, context: RequestContext, blob: bytes, use: Use = Use.PULL
    ) -> bytes:
        """Decrypt what `bind` encrypted for this repository. Raises KmsFailed."""
        try:
            origin = read_origin(blob)
        except DomainError as error:
            raise failed(error) from error
        key = await self._use(repository, context, use.value)
        material = await self._database.read(
            lambda connection: self._materials.open(connection, key, origin.material_id)
        )
        try:
            if material is None or (origin.registry, origin.key_id) != (key.registry, key.key_id):
                raise InvalidCiphertext
            return decrypted(blob, material, context_of(repository.arn))
        except DomainError as error:
            raise failed(error) from error

    async def _use(self, repository: Repository, context: RequestContext, actions: tuple[str, ...]) -> KmsKey:
        """Return the repository's key, if ECR may use it for this by one of its grants. Raises KmsFailed."""
        named = repository_key(repository)
        principal = service_principal(_SERVICE, named.registry.region)

        def look(connection: Connection) -> tuple[KmsKey | None, list[KmsGrant]]:
            return kms_keys.find(connection, named.name.key_id), kms_grants.list_named(
                connection, named.name.key_id, principal, repository.arn, limit=_GRANTS
            )

        key, grants = await self._database.read(look)
        try:
            if key is None:
                raise KmsNotFound(message=f"Key '{named.arn}' does not exist")
            check_usable(key)
            await self._check_grants(repository, context, named, actions, grants)
        except DomainError as error:
            raise failed(error) from error
        return key

    async def _check_grants(
        self,
        repository: Repository,
        context: RequestContext,
        named: NamedKey,
        actions: tuple[str, ...],
        grants: Sequence[KmsGrant],
    ) -> None:
        """Decide as ECR, whom nothing but a grant lets in, and whom a key policy may deny. Raises AccessDenied."""
        service = Service(
            account_id=repository.registry.account_id, name=f"{_SERVICE}.{named.registry.region}"
        )
        keys = context_keys(context_of(repository.arn))
        decided: Grant | None = None
        for grant in grants:
            requirement = Requirement(
                actions=actions,
                registry=named.registry,
                arn=named.arn,
                entity=KeyName(key_id=named.name.key_id, grant_id=grant.grant_id),
                context_keys=(("aws:SourceArn", (repository.arn,)), *keys),
            )
            decided = await self._authorizer.decide(service, context, requirement)
            if decided.decision is Decision.ALLOW:
                return
        if decided is not None:
            raise AccessDenied(message=denial(decided))
        raise AccessDenied(
            message=f"User: {service.arn} is not authorized to perform: {actions[0]} on resource: {named.arn} "
            "because no grant allows it: it was retired or revoked"
        )

    # --- DeleteRepository -------------------------------------------------------------------------------------------

    async def may_retire(self, grant: Grant, repository: Repository) -> KmsFailed | None:
        """Ask for RetireGrant as the caller; return what to tell where he may not. The repository goes all the same.

        A key that is gone has no grants any more: there is nothing to ask for.
        """
        named = repository_key(repository)
        if await self._database.read(lambda connection: kms_keys.find(connection, named.name.key_id)) is None:
            return None
        try:
            await self._ask(grant.caller, grant.context, named, "kms:RetireGrant")
        except DomainError as error:
            return KmsFailed(
                message=f"The repository [{repository.name}] has been deleted successfully but the grants "
                f"created by the kmsKey [{repository.settings.encryption.kms_key}] failed to be retired",
                kms_error=failed(error).kms_error,
            )
        return None

    @staticmethod
    def retire(connection: Connection, repository: Repository) -> None:
        """End the repository's grants, in the unit that deletes it."""
        named = repository_key(repository)
        _end_grants(connection, named.name.key_id, repository.arn, named.registry.region)

    async def retire_left(self, registry: RegistryId, repository_name: str, key_id: str) -> None:
        """End grants on a key that were made for repositories of a name, where there is no such one now."""
        arn = repository_arn(registry, repository_name)
        principal = service_principal(_SERVICE, registry.region)

        def unit(connection: Connection) -> int:
            if repositories.find(connection, registry, repository_name) is not None:
                return 0
            return _end_grants(connection, key_id, arn, registry.region)

        while await self._database.read(
            lambda connection: kms_grants.list_named(connection, key_id, principal, arn, limit=1)
        ):
            if await self._database.write(unit) < _GRANTS_ENDED:
                return


def uses_key(repository: Repository) -> bool:
    """Tell whether a repository's content is encrypted under a key of KMS."""
    return repository.settings.encryption.kms_key is not None


def repository_key(repository: Repository) -> NamedKey:
    """Return the key of a repository of which `uses_key` is true."""
    parsed = parse_key_arn(repository.settings.encryption.kms_key or "")
    assert parsed is not None, "a repository keeps the ARN of its key"
    registry, resource = parsed
    return NamedKey(registry=registry, name=KeyName(key_id=resource.removeprefix("key/")))


def context_of(arn: str) -> dict[str, str]:
    """Return the encryption context of a repository."""
    return {_CONTEXT_KEY: arn}


def failed(error: DomainError) -> KmsFailed:
    """Tell what KMS said as ECR does."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "KMSInternalException")
    return KmsFailed(message=f"KMS error: {error.message or code}", kms_error=code)


def _end_grants(connection: Connection, key_id: str, arn: str, region: str) -> int:
    """End ECR's grants for repositories of an ARN, a bounded number; return how many."""
    principal = service_principal(_SERVICE, region)
    return kms_grants.remove_named(connection, key_id, principal, arn, limit=_GRANTS_ENDED)


def _wanted(arn: str, region: str) -> NewGrant:
    principal = service_principal(_SERVICE, region)
    return NewGrant(
        name=arn,
        grantee=principal,
        retiring=principal,
        operations=_OPERATIONS,
        constraints=GrantConstraints(subset=context_of(arn)),
    )
