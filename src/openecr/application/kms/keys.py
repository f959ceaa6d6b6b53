"""Keys: made, looked at, enabled, disabled, and let go."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from openecr.application.audit import audited
from openecr.application.key_names import require_key
from openecr.application.kms.key_policies import KeyPolicies, check_document, resolved
from openecr.application.kms.key_tags import check_tags
from openecr.application.kms.materials import Materials
from openecr.application.kms.states import check_stays
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.kms import KeyManager, KeyState, KmsKey, default_policy
from openecr.domain.kms_errors import KmsInvalidState, KmsLimitExceeded, KmsValidationFailed
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import accounts, kms_key_tags, kms_keys, kms_materials
from openecr.store.connections import Connection
from openecr.store.database import Database

DAY = 86_400_000_000
_WINDOW_DAYS = range(7, 31)
_USUAL_WINDOW_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a key is made of. `policy` None: the account's IAM policies decide."""

    description: str
    policy: str | None
    may_lock_out: bool
    tags: Mapping[str, str]


class Keys:
    """The use cases of keys."""

    def __init__(
        self,
        *,
        database: Database,
        policies: KeyPolicies,
        materials: Materials,
        clock: Clock,
        ids: Ids,
        limits: Limits,
    ) -> None:
        self._database = database
        self._policies = policies
        self._materials = materials
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def create(self, grant: Grant, wanted: NewKey) -> KmsKey:
        """Make a key with its first material. Raises MalformedKeyPolicy, KmsLimitExceeded, InvalidKeyTag."""
        registry, key_id = grant.registry, self._ids.uuid()
        check_tags(wanted.tags, {})
        policy = wanted.policy or default_policy(registry.account_id)
        if wanted.policy is not None:
            check_document(policy)
            if not wanted.may_lock_out:
                await self._policies.check_way_back(grant, key_id, policy)
        now = self._clock.now()
        # Counted outside the unit: an exact count would make every creation wait for every other one.
        count = await self._database.scan(lambda connection: kms_keys.count(connection, registry))
        if count >= self._limits.kms_keys_per_account:
            raise KmsLimitExceeded(message="The account has as many keys as it may have in this region")
        material = self._materials.draw(registry, key_id, number=1, created_at=now)

        def unit(connection: Connection) -> KmsKey:
            key = KmsKey(
                key_id=key_id,
                registry=registry,
                description=wanted.description,
                state=KeyState.ENABLED,
                manager=KeyManager.CUSTOMER,
                created_at=now,
                policy=policy,
                policy_principals=resolved(connection, policy),
                material_id=material.material_id,
            )
            kms_keys.add(connection, key)
            kms_materials.add(connection, key_id, material)
            kms_key_tags.put(connection, key_id, wanted.tags)
            accounts.raise_epoch(connection, registry.account_id)
            return key

        return await self._database.write(audited(grant, unit))

    async def describe(self, grant: Grant) -> KmsKey:
        """Return the key. Raises KmsNotFound."""
        return await self._database.read(lambda connection: require_key(connection, grant))

    async def list(self, grant: Grant, page: PageRequest) -> Page[str]:
        """Return a page of the ids of the account's keys in this region."""

        def scan(connection: Connection) -> list[str]:
            return kms_keys.list_after(
                connection, grant.registry, after=page.after or "", limit=page.limit + 1
            )

        return cut_page(await self._database.scan(scan), page.limit, lambda key_id: key_id)

    async def set_enabled(self, grant: Grant, *, is_enabled: bool) -> None:
        """Enable or disable. Raises KmsNotFound, KmsInvalidState."""
        state = KeyState.ENABLED if is_enabled else KeyState.DISABLED

        def unit(connection: Connection) -> None:
            key = require_key(connection, grant)
            check_stays(key)
            kms_keys.set_state(connection, key.key_id, state)
            accounts.raise_epoch(connection, key.registry.account_id)

        await self._database.write(audited(grant, unit))

    async def describe_anew(self, grant: Grant, description: str) -> None:
        """Replace the description. Raises KmsNotFound, KmsInvalidState."""

        def unit(connection: Connection) -> None:
            key = require_key(connection, grant)
            check_stays(key)
            kms_keys.set_description(connection, key.key_id, description)

        await self._database.write(audited(grant, unit))

    async def schedule_deletion(self, grant: Grant, window_days: int | None) -> KmsKey:
        """Let the key wait for its end, 7 to 30 days away. Raises KmsNotFound, KmsInvalidState, KmsValidationFailed."""
        days = _USUAL_WINDOW_DAYS if window_days is None else window_days
        if days not in _WINDOW_DAYS:
            raise KmsValidationFailed(
                message=f"PendingWindowInDays must be between {_WINDOW_DAYS[0]} and {_WINDOW_DAYS[-1]} days"
            )
        deletion_at = self._clock.now() + days * DAY

        def unit(connection: Connection) -> KmsKey:
            key = require_key(connection, grant)
            check_stays(key)
            kms_keys.set_state(connection, key.key_id, KeyState.PENDING_DELETION, deletion_at=deletion_at)
            accounts.raise_epoch(connection, key.registry.account_id)
            return replace(key, state=KeyState.PENDING_DELETION, deletion_at=deletion_at)

        return await self._database.write(audited(grant, unit))

    async def cancel_deletion(self, grant: Grant) -> KmsKey:
        """Keep a key that waits for its end; it is disabled then.

        Raises KmsNotFound, and KmsInvalidState of a key whose time has come too: parts of it may be gone.
        """
        now = self._clock.now()

        def unit(connection: Connection) -> KmsKey:
            key = require_key(connection, grant)
            if key.state is not KeyState.PENDING_DELETION:
                raise KmsInvalidState(message=f"{key.arn} is not pending deletion.")
            if key.deletion_at is not None and key.deletion_at <= now:
                raise KmsInvalidState(message=f"{key.arn} is being deleted.")
            kms_keys.set_state(connection, key.key_id, KeyState.DISABLED)
            accounts.raise_epoch(connection, key.registry.account_id)
            return replace(key, state=KeyState.DISABLED, deletion_at=None)

        return await self._database.write(audited(grant, unit))
