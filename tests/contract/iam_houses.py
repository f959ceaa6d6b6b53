"""IAM's use cases over one database, without a face in front."""

from typing import Any

from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MasterKeyRing
from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.accounts import SECRET_PURPOSE, Accounts, associated_data
from openecr.application.iam import entities
from openecr.application.iam.iam import Iam
from openecr.application.limits import Limits
from openecr.domain.accounts import KeyOwner
from openecr.domain.callers import RequestContext, Root
from openecr.domain.decisions import Decision, Grant, Requirement, Verdict
from openecr.domain.iam import AccessKeyOwner, Entity, EntityKind, EntityName, IamRole
from openecr.domain.pages import PageRequest
from openecr.domain.registries import RegistryId
from openecr.store import access_keys, accounts, iam_entities
from openecr.testing.clocks import MovableClock
from tests.contract.databases import Databases

ACCOUNT = "000000000000"
OTHER_ACCOUNT = "111111111111"
NOW = 1_900_000_000_000_000
CONTEXT = RequestContext(
    requested_at=NOW,
    request_id="0",
    region="us-east-1",
    source_address="127.0.0.1",
    is_secure_transport=False,
    user_agent="",
)
PAGE = PageRequest(limit=100)
KEYS = MasterKeyRing({1: bytes(range(32))})


class IamHouse:
    """Two accounts, of which the first is the one that tests work in."""

    def __init__(self, databases: Databases, **limits: int) -> None:
        self.database = databases.metadata
        self.clock = MovableClock(NOW)
        self.activity = databases.activity
        self.uses = AccessKeyUses(database=databases.activity)
        self.iam = Iam(
            database=self.database,
            keys=KEYS,
            clock=self.clock,
            ids=SystemIds(),
            limits=Limits(**limits),
            key_uses=self.uses,
        )
        self.accounts = Accounts(database=self.database, keys=KEYS, clock=self.clock, ids=SystemIds())

    async def open(self) -> "IamHouse":
        """Make the accounts."""
        await self.accounts.create(ACCOUNT)
        await self.accounts.create(OTHER_ACCOUNT)
        return self

    async def grant(
        self, named: EntityName | AccessKeyOwner | None = None, *, account_id: str = ACCOUNT
    ) -> Grant:
        """The grant of an account's root on what is named, as it is now."""
        located = await self.database.read(lambda connection: entities.locate(connection, account_id, named))
        return Grant(
            caller=Root(account_id=account_id, access_key_id="AKIA"),
            context=CONTEXT,
            requirement=Requirement(
                actions=("iam:Test",),
                registry=RegistryId(account_id=account_id, region="us-east-1"),
                entity=named,
            ),
            verdict=Verdict(decision=Decision.ALLOW),
            located=located,
        )

    async def on_user(self, name: str, **more: Any) -> Grant:
        """The grant on a user."""
        return await self.grant(EntityName(kind=EntityKind.USER, name=name, **more))

    async def on_group(self, name: str) -> Grant:
        """The grant on a group."""
        return await self.grant(EntityName(kind=EntityKind.GROUP, name=name))

    async def on_role(self, name: str) -> Grant:
        """The grant on a role."""
        return await self.grant(EntityName(kind=EntityKind.ROLE, name=name))

    async def make_user(self, name: str, *, path: str = "/", account_id: str = ACCOUNT) -> Entity:
        """A new user."""
        grant = await self.grant(account_id=account_id)
        return (await self.iam.users.create(grant, name, path=path, tags={})).user

    async def make_group(self, name: str) -> Entity:
        """A new group."""
        return await self.iam.groups.create(await self.grant(), name, path="/")

    async def make_role(self, name: str, *, path: str = "/") -> Entity:
        """A new role, put in behind the use cases' back."""
        role = IamRole(
            kind=EntityKind.ROLE,
            account_id=ACCOUNT,
            unique_id=entities.draw_unique_id(SystemIds(), "AROA"),
            name=name,
            path=path,
            created_at=NOW,
            trust_policy="{}",
            trust_principals="{}",
            max_session_seconds=3600,
        )
        await self.database.write(lambda connection: iam_entities.add(connection, role))
        return role

    async def owner_of(self, access_key_id: str, secret: str) -> KeyOwner | None:
        """Whose a key is, if it works; it has to have this secret."""
        found = await self.database.read(
            lambda connection: access_keys.find_active(connection, access_key_id)
        )
        if found is None:
            return None
        key, owner = found[0], found[1]
        associated = associated_data(key.account_id, key.access_key_id)
        assert KEYS.unseal(SECRET_PURPOSE, key.sealed_secret, associated=associated) == secret.encode()
        return owner

    async def epoch(self, account_id: str = ACCOUNT) -> int | None:
        """The version that validates what is cached about an account."""
        return await self.database.read(lambda connection: accounts.find_epoch(connection, account_id))
