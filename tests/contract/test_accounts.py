"""Accounts, their root keys, and who a key or a token stands for, on both databases."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio
import pytest
from sqlalchemy import bindparam, func, select, update

from openecr.adapters.keys import MasterKeyRing
from openecr.application.accounts import FIRST_ACCOUNT_ID, SECRET_PURPOSE, Accounts, associated_data
from openecr.application.authentication import Authenticator
from openecr.application.authorization_tokens import LIFETIME_SECONDS, AuthorizationTokens
from openecr.application.sessions import Sessions
from openecr.domain.accounts import Account, RootKey, SealedKey
from openecr.domain.callers import Caller, Root, User
from openecr.domain.errors import AccountUnusable, TokenExpired, TokenInvalid
from openecr.domain.pages import PageRequest
from openecr.domain.registries import RegistryId
from openecr.store import access_keys, accounts
from openecr.store.database import Database
from openecr.store.dialects import now_microseconds
from openecr.store.principals import Scene
from openecr.store.statements import Statement
from openecr.store.tables import ACCESS_KEYS, ACCOUNTS
from openecr.testing.clocks import MovableClock

REGION = "us-east-1"
OTHER_ACCOUNT = "111111111111"
KEYS = MasterKeyRing({1: bytes(range(32))})
NOW = Statement(select(now_microseconds()))
PUT_EPOCH_BACK = Statement(update(ACCOUNTS).values(authorization_epoch=bindparam("epoch")))
COUNT_KEYS = Statement(select(func.count()).select_from(ACCESS_KEYS))


@dataclass
class CountedIds:
    """Ids that never repeat, and are the same in each run."""

    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def uuid(self) -> str:
        return f"00000000-0000-4000-8000-{next(self.numbers):012}"

    def token(self, size_bytes: int) -> bytes:
        return next(self.numbers).to_bytes(size_bytes, "big")


class House:
    """The parts that know accounts, over one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = MovableClock(1_900_000_000_000_000)
        self.accounts = Accounts(database=database, keys=KEYS, clock=self.clock, ids=CountedIds())
        self.tokens = AuthorizationTokens(keys=KEYS, clock=self.clock)
        self.sessions = Sessions(database=database, keys=KEYS, clock=self.clock, carried_seconds=3_600)
        self.authenticator = Authenticator(
            database=database, keys=KEYS, clock=self.clock, tokens=self.tokens, sessions=self.sessions
        )

    async def now(self) -> int:
        """What the database's own clock says."""
        row = await self.database.read(lambda connection: connection.fetch_one(NOW))
        assert row is not None
        return int(row[0])

    async def epoch(self, account_id: str) -> int | None:
        return await self.database.read(lambda connection: accounts.find_epoch(connection, account_id))

    async def caller_of(self, token_text: str, *, region: str) -> Caller:
        """Return whose token it is, on a host of the first account."""
        registry = RegistryId(account_id=FIRST_ACCOUNT_ID, region=region)
        authenticated = await self.authenticator.by_token(token_text, registry)
        assert authenticated.scene == Scene(
            caller_epoch=await self.epoch(authenticated.caller.account_id),
            owner_epoch=await self.epoch(FIRST_ACCOUNT_ID),
        )
        return authenticated.caller

    async def add_key(self, key: RootKey, *, principal_id: str) -> None:
        """Put in a key of a principal that is no root."""
        sealed = SealedKey(
            access_key_id=key.access_key_id,
            account_id=key.account_id,
            principal_id=principal_id,
            sealed_secret=KEYS.seal(
                SECRET_PURPOSE,
                key.secret.encode(),
                associated=associated_data(key.account_id, key.access_key_id),
            ),
        )
        await self.database.write(lambda connection: access_keys.add(connection, sealed, created_at=1))


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def root(key: RootKey) -> Root:
    return Root(account_id=key.account_id, access_key_id=key.access_key_id)


# --- accounts --------------------------------------------------------------------------------------------------------


async def test_the_first_start_makes_the_default_account_and_a_key_that_looks_like_aws(house: House) -> None:
    key = await house.accounts.ensure()
    assert key.account_id == FIRST_ACCOUNT_ID
    assert key.is_new
    assert key.access_key_id.startswith("AKIA")
    assert len(key.access_key_id) == 20
    assert key.access_key_id.isalnum()
    assert key.access_key_id.isupper()
    assert len(key.secret) == 40
    assert key.secret not in repr(key)
    assert await house.accounts.find_default() == FIRST_ACCOUNT_ID


async def test_later_starts_find_the_same_key(house: House) -> None:
    first = await house.accounts.ensure("123456789012")
    again = await house.accounts.ensure()
    assert (again.account_id, again.access_key_id, again.secret) == (
        "123456789012",
        first.access_key_id,
        first.secret,
    )
    assert not again.is_new


async def test_another_default_account_is_made_and_recorded(house: House) -> None:
    await house.accounts.ensure()
    key = await house.accounts.ensure(OTHER_ACCOUNT)
    assert (key.account_id, key.is_new) == (OTHER_ACCOUNT, True)
    assert await house.accounts.find_default() == OTHER_ACCOUNT
    page = await house.accounts.list(PageRequest(limit=10))
    assert [account.account_id for account in page.items] == [FIRST_ACCOUNT_ID, OTHER_ACCOUNT]


async def test_many_servers_that_start_at_once_agree_on_one_key(house: House) -> None:
    keys: list[RootKey] = []

    async def start() -> None:
        keys.append(await house.accounts.ensure())

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(start)
    assert len({(key.access_key_id, key.secret) for key in keys}) == 1
    assert sum(key.is_new for key in keys) == 1


@pytest.mark.parametrize("account_id", ["", "1", "1" * 13, "12345678901a", "\uff11" * 12])
async def test_an_id_that_is_not_twelve_digits_is_refused(house: House, account_id: str) -> None:
    for attempt in (house.accounts.ensure, house.accounts.create, house.accounts.rotate_key):
        with pytest.raises(AccountUnusable, match="twelve digits"):
            await attempt(account_id)


async def test_an_account_is_made_once(house: House) -> None:
    key = await house.accounts.create(OTHER_ACCOUNT)
    with pytest.raises(AccountUnusable, match="exists already"):
        await house.accounts.create(OTHER_ACCOUNT)
    assert await house.accounts.root_key(OTHER_ACCOUNT) == RootKey(
        account_id=OTHER_ACCOUNT, access_key_id=key.access_key_id, secret=key.secret
    )


async def test_an_account_that_does_not_exist_has_no_key(house: House) -> None:
    for attempt in (house.accounts.rotate_key, house.accounts.root_key):
        with pytest.raises(AccountUnusable, match="there is no account"):
            await attempt(OTHER_ACCOUNT)


async def test_accounts_are_listed_in_pages_with_the_keys_that_work(house: House) -> None:
    made = {f"{number:012}": await house.accounts.create(f"{number:012}") for number in (3, 1, 2, 5, 4)}
    seen: list[Account] = []
    after = None
    while True:
        page = await house.accounts.list(PageRequest(limit=2, after=after))
        seen += page.items
        after = page.after
        if after is None:
            break
    assert [account.account_id for account in seen] == sorted(made)
    assert all(account.access_key_ids == (made[account.account_id].access_key_id,) for account in seen)
    assert all(account.created_at == house.clock.now() for account in seen)


# --- keys ------------------------------------------------------------------------------------------------------------


async def test_a_key_leads_to_its_secret_and_its_root(house: House) -> None:
    key = await house.accounts.ensure()
    credential = await house.authenticator.secret_of(key.access_key_id)
    assert credential is not None
    assert (credential.secret, credential.caller) == (key.secret, root(key))
    assert key.secret not in repr(credential)


@pytest.mark.parametrize(
    "access_key_id", ["", "AKIA" + "A" * 16, "A" * 10_000, "nul\0", "ü" * 20, "' OR 1=1 --"]
)
async def test_an_unknown_key_leads_to_nobody(house: House, access_key_id: str) -> None:
    await house.accounts.ensure()
    assert await house.authenticator.secret_of(access_key_id) is None


async def test_rotating_replaces_the_key_at_once_and_raises_the_epoch(house: House) -> None:
    old = await house.accounts.ensure()
    token = house.tokens.issue(root(old), REGION).token_text
    before = await house.epoch(FIRST_ACCOUNT_ID)
    new = await house.accounts.rotate_key(FIRST_ACCOUNT_ID)
    assert await house.authenticator.secret_of(old.access_key_id) is None
    with pytest.raises(TokenInvalid):
        await house.caller_of(token, region=REGION)
    credential = await house.authenticator.secret_of(new.access_key_id)
    assert credential is not None
    assert credential.secret == new.secret
    assert before is not None
    assert (await house.epoch(FIRST_ACCOUNT_ID) or 0) > before
    assert (await house.accounts.ensure()).access_key_id == new.access_key_id


async def test_rotating_many_times_keeps_two_rows(house: House) -> None:
    newest = await house.accounts.ensure()
    for _ in range(4):
        house.clock.move(seconds=1)
        newest = await house.accounts.rotate_key(FIRST_ACCOUNT_ID)
    page = await house.accounts.list(PageRequest(limit=1))
    assert page.items[0].access_key_ids == (newest.access_key_id,)
    assert await house.database.read(lambda connection: connection.fetch_one(COUNT_KEYS)) == (2,)


async def test_rotating_one_account_leaves_the_others_alone(house: House) -> None:
    key = await house.accounts.ensure()
    await house.accounts.create(OTHER_ACCOUNT)
    await house.accounts.rotate_key(OTHER_ACCOUNT)
    assert await house.authenticator.secret_of(key.access_key_id) is not None
    assert (await house.epoch(FIRST_ACCOUNT_ID) or 0) > 0


async def test_secrets_are_sealed_in_the_database_and_bound_to_their_row(house: House) -> None:
    key = await house.accounts.ensure()
    found = await house.database.read(
        lambda connection: access_keys.find_active(connection, key.access_key_id)
    )
    assert found is not None
    stored, owner = found
    assert (owner.account_id, owner.principal_id, owner.user) == (key.account_id, key.account_id, None)
    assert key.secret.encode() not in stored.sealed_secret
    with pytest.raises(ValueError, match="not sealed"):
        KEYS.unseal(
            SECRET_PURPOSE, stored.sealed_secret, associated=associated_data(OTHER_ACCOUNT, key.access_key_id)
        )


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_token_leads_to_its_root_and_writes_nothing(house: House) -> None:
    key = await house.accounts.ensure()
    token = house.tokens.issue(root(key), REGION)
    assert await house.caller_of(token.token_text, region=REGION) == root(key)


async def test_a_token_is_refused_on_another_regions_host(house: House) -> None:
    token = house.tokens.issue(root(await house.accounts.ensure()), REGION)
    with pytest.raises(TokenInvalid):
        await house.caller_of(token.token_text, region="eu-west-1")


async def test_a_token_ends(house: House) -> None:
    token = house.tokens.issue(root(await house.accounts.ensure()), REGION)
    house.clock.move(seconds=LIFETIME_SECONDS)
    with pytest.raises(TokenExpired):
        await house.caller_of(token.token_text, region=REGION)


async def test_a_token_of_a_key_that_never_was_is_refused(house: House) -> None:
    await house.accounts.ensure()
    stranger = Root(account_id=FIRST_ACCOUNT_ID, access_key_id="AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(TokenInvalid):
        await house.caller_of(house.tokens.issue(stranger, REGION).token_text, region=REGION)


async def test_a_token_whose_key_belongs_to_another_principal_is_refused(house: House) -> None:
    key = await house.accounts.ensure()
    for caller in (
        Root(account_id=OTHER_ACCOUNT, access_key_id=key.access_key_id),
        User(account_id=FIRST_ACCOUNT_ID, access_key_id=key.access_key_id, unique_id="AIDA", name="eve"),
    ):
        with pytest.raises(TokenInvalid):
            await house.caller_of(house.tokens.issue(caller, REGION).token_text, region=REGION)


async def test_the_key_of_a_user_that_is_gone_leads_to_nobody(house: House) -> None:
    await house.accounts.ensure()
    key = RootKey(account_id=FIRST_ACCOUNT_ID, access_key_id="AKIAUSER", secret="s" * 40)
    await house.add_key(key, principal_id="AIDAUSER")
    assert await house.authenticator.secret_of("AKIAUSER") is None
    user = User(account_id=FIRST_ACCOUNT_ID, access_key_id="AKIAUSER", unique_id="AIDAUSER", name="u")
    with pytest.raises(TokenInvalid):
        await house.caller_of(house.tokens.issue(user, REGION).token_text, region=REGION)


async def test_a_users_keys_outlive_the_rotation_of_the_root(house: House) -> None:
    await house.accounts.ensure()
    key = RootKey(account_id=FIRST_ACCOUNT_ID, access_key_id="AKIAUSER", secret="s" * 40)
    await house.add_key(key, principal_id="AIDAUSER")
    await house.accounts.rotate_key(FIRST_ACCOUNT_ID)
    found = await house.database.read(lambda connection: access_keys.find_active(connection, "AKIAUSER"))
    assert found is not None


async def test_a_number_that_validates_caches_never_comes_again_even_where_a_backup_was_put_back(
    house: House,
) -> None:
    await house.accounts.create(OTHER_ACCOUNT)
    given = [await house.epoch(OTHER_ACCOUNT)]
    for _ in range(5):
        await house.database.write(lambda connection: accounts.raise_epoch(connection, OTHER_ACCOUNT))
        given.append(await house.epoch(OTHER_ACCOUNT))
        await house.database.write(lambda connection: connection.execute(PUT_EPOCH_BACK, epoch=given[0]))
        last = given[-1]
        assert last is not None
        while await house.now() <= last:
            pass  # SQLite's clock goes by milliseconds: none is put back as quickly as that
    assert len(set(given)) == len(given)


async def test_a_number_that_validates_caches_rises_where_the_clock_was_set_back(house: House) -> None:
    await house.accounts.create(OTHER_ACCOUNT)
    far = 4_000_000_000_000_000
    await house.database.write(lambda connection: connection.execute(PUT_EPOCH_BACK, epoch=far))
    await house.database.write(lambda connection: accounts.raise_epoch(connection, OTHER_ACCOUNT))
    assert await house.epoch(OTHER_ACCOUNT) == far + 1
