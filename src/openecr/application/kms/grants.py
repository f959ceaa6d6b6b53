"""Grants: what a principal may do with a key beside what policies say."""

import json
from dataclasses import dataclass, replace

from openecr.application.audit import audited
from openecr.application.key_names import key_id_of, require_key
from openecr.application.kms.ciphers import check_context
from openecr.application.kms.states import check_usable
from openecr.application.limits import Limits
from openecr.application.policy_principals import PrincipalNotFound, resolve
from openecr.domain.decisions import Grant
from openecr.domain.kms import GRANT_OPERATIONS, GrantConstraints, KmsGrant, KmsKey
from openecr.domain.kms_errors import (
    DryRunSucceeded,
    InvalidGrantId,
    KmsInvalidArn,
    KmsLimitExceeded,
    KmsNotFound,
    KmsValidationFailed,
)
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import accounts, kms_grants
from openecr.store.connections import Connection
from openecr.store.database import Database

GRANT_ID_BYTES = 32
_NAMESAKES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    """What a grant is made of. Principals are ARNs."""

    name: str | None
    grantee: str
    retiring: str | None
    operations: tuple[str, ...]
    constraints: GrantConstraints


class Grants:
    """The use cases of grants. Each works for the next request."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def create(self, grant: Grant, wanted: NewGrant, *, is_dry_run: bool = False) -> KmsGrant:
        """Make a grant, or return the one of the same name that says the same.

        Raises KmsNotFound, KeyDisabled, KmsInvalidState, KmsInvalidArn, KmsLimitExceeded, KmsValidationFailed,
        DryRunSucceeded.
        """
        check_grant(wanted)
        grant_id, now = self._ids.token(GRANT_ID_BYTES).hex(), self._clock.now()
        is_full = not await has_room_for_grants(self._database, key_id_of(grant), 1, self._limits)

        def unit(connection: Connection) -> KmsGrant:
            key = require_key(connection, grant)
            check_usable(key)
            made = made_grant(
                key,
                wanted,
                grant_id=grant_id,
                principal_ids=_resolved(connection, wanted),
                issuing_account=grant.caller.account_id,
                created_at=now,
            )
            same = _find_same(connection, made)
            if same is None and (is_full or self._has_enough(connection, made)):
                raise KmsLimitExceeded(message="The key has as many grants as it may have")
            if is_dry_run:
                raise DryRunSucceeded
            if same is not None:
                return same
            kms_grants.add(connection, made)
            accounts.raise_epoch(connection, key.registry.account_id)
            return made

        return await self._database.write(audited(grant, unit))

    async def list(
        self, grant: Grant, page: PageRequest, *, grant_id: str | None, grantee: str | None
    ) -> Page[KmsGrant]:
        """Return a page of a key's grants. Raises KmsNotFound."""

        def scan(connection: Connection) -> list[KmsGrant]:
            return kms_grants.list_after(
                connection,
                require_key(connection, grant).key_id,
                grant_id=grant_id or "",
                grantee=grantee or "",
                after=page.after or "",
                limit=page.limit + 1,
            )

        return cut_page(await self._database.scan(scan), page.limit, lambda each: each.grant_id)

    async def list_retirable(self, grant: Grant, page: PageRequest, retiring: str) -> Page[KmsGrant]:
        """Return a page of the grants of this region that a principal of the caller's account may retire.

        Raises KmsInvalidArn.
        """
        if f"::{grant.caller.account_id}:" not in retiring:
            raise KmsInvalidArn(message=f"ARN does not refer to a principal of this account: {retiring}")

        def scan(connection: Connection) -> list[KmsGrant]:
            return kms_grants.list_retirable(
                connection,
                retiring,
                region=grant.registry.region,
                after=page.after or "",
                limit=page.limit + 1,
            )

        return cut_page(await self._database.scan(scan), page.limit, lambda each: each.grant_id)

    async def end(self, grant: Grant, grant_id: str, *, is_dry_run: bool = False) -> None:
        """Retire or revoke a grant. Raises KmsNotFound, InvalidGrantId, DryRunSucceeded."""
        if len(grant_id) != 2 * GRANT_ID_BYTES:
            raise InvalidGrantId(message=f"Grant ID {grant_id[:128]} is invalid")

        def unit(connection: Connection) -> None:
            key_id = require_key(connection, grant).key_id
            if kms_grants.find(connection, key_id, grant_id) is None:
                raise KmsNotFound(message=f"Grant ID {grant_id} not found")
            if is_dry_run:
                raise DryRunSucceeded
            kms_grants.remove(connection, key_id, grant_id)
            accounts.raise_epoch(connection, grant.registry.account_id)

        key_id_of(grant)
        await self._database.write(audited(grant, unit))

    def _has_enough(self, connection: Connection, made: KmsGrant) -> bool:
        count = kms_grants.count_of_grantee(connection, made.key_id, made.grantee)
        return count >= self._limits.kms_grants_per_principal


async def has_room_for_grants(database: Database, key_id: str, wanted: int, limits: Limits) -> bool:
    """Tell whether a key may have so many grants more.

    To be asked outside of the unit that adds them: an exact count would make each wait for every other one on the key.
    """
    count = await database.scan(lambda connection: kms_grants.count(connection, key_id))
    return count + wanted <= limits.kms_grants_per_key


def check_grant(wanted: NewGrant) -> None:
    """Check what a grant says. Raises KmsValidationFailed."""
    unknown = [each for each in wanted.operations if each not in GRANT_OPERATIONS]
    if unknown or not wanted.operations:
        raise KmsValidationFailed(
            message=f"Operations of a grant on a symmetric key are {', '.join(sorted(GRANT_OPERATIONS))}"
        )
    constraints = wanted.constraints
    if constraints.subset is not None and constraints.equals is not None:
        raise KmsValidationFailed(
            message="Constraints hold EncryptionContextSubset or EncryptionContextEquals, not both"
        )
    for context in (constraints.subset, constraints.equals):
        check_context(context or {})


def made_grant(
    key: KmsKey,
    wanted: NewGrant,
    *,
    grant_id: str,
    principal_ids: dict[str, str | None],
    issuing_account: str,
    created_at: int,
) -> KmsGrant:
    """Return a grant on a key."""
    return KmsGrant(
        grant_id=grant_id,
        key_id=key.key_id,
        registry=key.registry,
        name=wanted.name,
        grantee=wanted.grantee,
        retiring=wanted.retiring,
        principal_ids=principal_ids,
        operations=tuple(dict.fromkeys(wanted.operations)),
        constraints=wanted.constraints,
        issuing_account=issuing_account,
        created_at=created_at,
    )


def _find_same(connection: Connection, made: KmsGrant) -> KmsGrant | None:
    """Return the grant of the same name that says the same, so that a repeated call makes no second one."""
    if made.name is None:
        return None
    found = kms_grants.list_named(connection, made.key_id, made.grantee, made.name, limit=_NAMESAKES)
    return next(
        (each for each in found if replace(each, grant_id=made.grant_id, created_at=made.created_at) == made),
        None,
    )


def _resolved(connection: Connection, wanted: NewGrant) -> dict[str, str | None]:
    """Return the ids of the principals. Raises KmsInvalidArn for what is no principal of this server."""
    names = [wanted.grantee, *([] if wanted.retiring is None else [wanted.retiring])]
    for name in names:
        document = {"Statement": [{"Principal": {"AWS": name}}]}
        if not name.startswith("arn:"):
            raise KmsInvalidArn(message=f"ARN does not refer to a valid principal: {name}")
        try:
            resolve(connection, json.dumps(document))
        except PrincipalNotFound as error:
            raise KmsInvalidArn(message=f"ARN does not refer to a valid principal: {name}") from error
    return dict(resolve(connection, json.dumps({"Statement": [{"Principal": {"AWS": names}}]})))
