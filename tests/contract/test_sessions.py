"""Sessions of temporary credentials on both databases: what seals hold, and what ends a session."""

import dataclasses
import hashlib
import itertools

import pytest

from openecr.adapters.keys import MasterKeyRing
from openecr.application.accounts import SECRET_PURPOSE, associated_data
from openecr.application.authentication import Authenticator, Bearer
from openecr.application.authorization_tokens import AuthorizationTokens
from openecr.application.sessions import CARRIED_MAX_BYTES, SESSION_TOKEN_MAX_CHARACTERS, Sessions
from openecr.domain.accounts import KeyStatus, SealedKey
from openecr.domain.callers import Caller, FederatedUser, RoleSession, Root, Session, User
from openecr.domain.errors import TokenInvalid
from openecr.domain.iam import EntityKind, IamRole, IamUser
from openecr.domain.registries import RegistryId
from openecr.engines.sigv4 import ExpiredSession
from openecr.store import access_keys, accounts, iam_entities, large_sessions
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.testing.clocks import MovableClock

ACCOUNT, OTHER = "111111111111", "222222222222"
REGION = "us-east-1"
KEYS = MasterKeyRing({1: bytes(range(32))})
NOW = 1_900_000_000_000_000
HOUR = 3_600 * 1_000_000
USER_KEY, ROOT_KEY = "AKIAUSERUSERUSERUSER", "AKIAROOTROOTROOTROOT"
SESSION_KEY, SECRET = "ASIASESSIONSESSIONSE", "s" * 40
ROLE_ID, USER_ID = "AROAROLEROLEROLEROLE1", "AIDAUSERUSERUSERUSER1"


class House:
    """An account with a root, a user `ana` with a key, and a role `ci`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = MovableClock(NOW)
        self.tokens = AuthorizationTokens(keys=KEYS, clock=self.clock)
        self.sessions = self.fresh_sessions()
        self.authenticator = Authenticator(
            database=database, keys=KEYS, clock=self.clock, tokens=self.tokens, sessions=self.sessions
        )

    def fresh_sessions(self) -> Sessions:
        """As another server over the same database has them."""
        return Sessions(database=self.database, keys=KEYS, clock=self.clock, carried_seconds=12 * 3_600)

    async def settle(self) -> None:
        def unit(connection: Connection) -> None:
            for account_id in (ACCOUNT, OTHER):
                accounts.add(connection, account_id, created_at=NOW)
            self.add_key(connection, ROOT_KEY, ACCOUNT)
            self.add_key(connection, USER_KEY, USER_ID)
            iam_entities.add(connection, user())
            iam_entities.add(connection, role())

        await self.database.write(unit)

    @staticmethod
    def add_key(connection: Connection, key_id: str, principal_id: str) -> None:
        sealed = KEYS.seal(SECRET_PURPOSE, b"long", associated=associated_data(ACCOUNT, key_id))
        key = SealedKey(
            access_key_id=key_id, account_id=ACCOUNT, principal_id=principal_id, sealed_secret=sealed
        )
        access_keys.add(connection, key, created_at=NOW)

    async def by_session_token(self, caller: Caller) -> Caller | None:
        token = self.sessions.issue(caller, SECRET)
        credential = await self.authenticator.secret_of(caller.access_key_id, token)
        if credential is None:
            return None
        assert credential.secret == SECRET
        assert SECRET not in repr(credential)
        return credential.caller

    async def login(self, caller: Caller) -> str:
        carried = await self.sessions.carry(caller)
        return self.tokens.issue(caller, REGION, carried).token_text

    async def by_docker(self, token: str) -> Caller:
        registry = RegistryId(account_id=OTHER, region=REGION)
        return (await self.authenticator.by_token(token, registry)).caller

    async def by_link(self, caller: Caller) -> Caller | None:
        carried = await self.sessions.carry(caller)
        bearer = Bearer(caller.account_id, caller.unique_id, caller.access_key_id, carried)
        found = await self.authenticator.by_bearer(bearer)
        return None if found is None else found.caller


def user() -> IamUser:
    return IamUser(
        kind=EntityKind.USER,
        account_id=ACCOUNT,
        unique_id=USER_ID,
        name="ana",
        path="/people/",
        created_at=NOW,
    )


def role() -> IamRole:
    return IamRole(
        kind=EntityKind.ROLE,
        account_id=ACCOUNT,
        unique_id=ROLE_ID,
        name="ci",
        path="/",
        created_at=NOW,
        trust_policy="{}",
        trust_principals="{}",
        max_session_seconds=3_600,
    )


@pytest.fixture
async def house(database: Database) -> House:
    made = House(database)
    await made.settle()
    return made


def session(**changes: object) -> Session:
    plain = Session(issued_at=NOW, expires_at=NOW + HOUR, name="build", made_by=USER_KEY)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # a test's shorthand


RICH = session(
    source_identity="ana@example",
    tags=(("team", "registry"), ("Cost", "ü" * 200)),
    transitive_tag_keys=("team",),
    policy='{"Version":"2012-10-17"}',
    policy_arns=("arn:aws:iam::aws:policy/ReadOnly",),
    federated_provider="arn:aws:iam::111111111111:oidc-provider/example.com",
)


def role_session(made: Session) -> RoleSession:
    return RoleSession(
        account_id=ACCOUNT, access_key_id=SESSION_KEY, unique_id=ROLE_ID, role_name="ci", session=made
    )


def user_session(made: Session) -> User:
    return User(
        account_id=ACCOUNT,
        access_key_id=SESSION_KEY,
        unique_id=USER_ID,
        name="ana",
        path="/people/",
        session=made,
    )


def root_session(made: Session) -> Root:
    return Root(
        account_id=ACCOUNT, access_key_id=SESSION_KEY, session=dataclasses.replace(made, made_by=ROOT_KEY)
    )


def federated(made: Session) -> FederatedUser:
    return FederatedUser(
        account_id=ACCOUNT,
        access_key_id=SESSION_KEY,
        unique_id=f"{ACCOUNT}:build",
        user_id=USER_ID,
        session=made,
    )


KINDS = (role_session, user_session, root_session, federated)
LARGE = session(
    tags=tuple((f"key{number}", hashlib.sha512(str(number).encode()).hexdigest()) for number in range(50))
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("made", [session(), RICH, LARGE], ids=["plain", "rich", "large"])
async def test_a_session_is_the_same_caller_at_every_door(house: House, kind: type, made: Session) -> None:
    caller: Caller = kind(made)
    assert await house.by_session_token(caller) == caller
    assert await house.by_docker(await house.login(caller)) == caller
    assert await house.by_link(caller) == caller


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_that_ended_is_told_as_such_and_its_docker_token_lives_on(
    house: House, kind: type
) -> None:
    caller: Caller = kind(session())
    docker = await house.login(caller)
    house.clock.move(seconds=3_599)
    assert await house.by_session_token(caller) == caller
    house.clock.move(seconds=1)
    with pytest.raises(ExpiredSession):
        await house.by_session_token(caller)
    assert await house.by_docker(docker) == caller


async def test_a_session_token_is_good_for_its_own_key_alone(house: House) -> None:
    token = house.sessions.issue(role_session(session()), SECRET)
    for key_id in ("ASIAOTHEROTHEROTHERO", USER_KEY, SESSION_KEY.lower(), "", "nul\0"):
        assert await house.authenticator.secret_of(key_id, token) is None
    assert await house.authenticator.secret_of(SESSION_KEY) is None
    assert await house.authenticator.secret_of(SESSION_KEY, token) is not None


async def test_what_is_no_token_leads_to_nobody(house: House) -> None:
    token = house.sessions.issue(role_session(session()), SECRET)
    position = len(token) // 2
    changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
    elsewhere = Sessions(
        database=house.database,
        keys=MasterKeyRing({1: bytes(32)}),
        clock=house.clock,
        carried_seconds=1,
    )
    foreign = elsewhere.issue(role_session(session()), SECRET)
    docker = await house.login(role_session(session()))
    huge = token + "A" * SESSION_TOKEN_MAX_CHARACTERS
    for text in ("", "x", "ü", token[:-4], changed, foreign, docker, huge, token.replace(token[0], " ", 1)):
        assert await house.authenticator.secret_of(SESSION_KEY, text) is None


async def test_a_session_token_is_no_docker_token(house: House) -> None:
    token = house.sessions.issue(role_session(session()), SECRET)
    with pytest.raises(TokenInvalid):
        await house.by_docker(token)


@pytest.mark.parametrize("kind", [user_session, federated])
async def test_sessions_of_a_user_end_with_the_key_that_made_them(house: House, kind: type) -> None:
    caller: Caller = kind(session())
    docker = await house.login(caller)
    await house.database.write(
        lambda connection: access_keys.set_status(connection, USER_KEY, KeyStatus.INACTIVE)
    )
    assert await house.by_session_token(caller) is None
    assert await house.by_link(caller) is None
    with pytest.raises(TokenInvalid):
        await house.by_docker(docker)
    await house.database.write(
        lambda connection: access_keys.set_status(connection, USER_KEY, KeyStatus.ACTIVE)
    )
    assert await house.by_docker(docker) == caller
    await house.database.write(lambda connection: access_keys.remove(connection, USER_KEY))
    assert await house.by_session_token(caller) is None


async def test_a_role_session_ends_with_the_role_and_not_with_its_makers_key(house: House) -> None:
    caller = role_session(session())
    docker = await house.login(caller)
    await house.database.write(lambda connection: access_keys.remove(connection, USER_KEY))
    assert await house.by_session_token(caller) == caller
    await house.database.write(lambda connection: iam_entities.remove(connection, role()))
    namesake = dataclasses.replace(role(), unique_id="AROANAMESAKENAMESAKE1")
    await house.database.write(lambda connection: iam_entities.add(connection, namesake))
    assert await house.by_session_token(caller) is None
    assert await house.by_link(caller) is None
    with pytest.raises(TokenInvalid):
        await house.by_docker(docker)


async def test_a_session_whose_makers_key_is_anothers_now_leads_to_nobody(house: House) -> None:
    for caller in (
        user_session(session(made_by=ROOT_KEY)),
        federated(session(made_by=ROOT_KEY)),
        dataclasses.replace(root_session(session()), session=session(made_by=USER_KEY)),
        dataclasses.replace(user_session(session()), account_id=OTHER),
        dataclasses.replace(role_session(session()), account_id=OTHER),
        dataclasses.replace(role_session(session()), unique_id=USER_ID),
    ):
        assert await house.by_session_token(caller) is None


async def test_the_sessions_of_a_renamed_user_have_its_new_name(house: House) -> None:
    await house.database.write(
        lambda connection: iam_entities.rename(connection, user(), name="anna", path="/")
    )
    found = await house.by_session_token(user_session(session()))
    assert found == dataclasses.replace(user_session(session()), name="anna", path="/")


# --- large sessions --------------------------------------------------------------------------------------------------


async def test_small_sessions_write_nothing_and_large_ones_one_row_however_often(house: House) -> None:
    small = await house.sessions.carry(role_session(RICH))
    assert isinstance(small, bytes)
    assert len(small) <= CARRIED_MAX_BYTES
    rows = {await house.sessions.carry(role_session(LARGE)) for _ in range(3)}
    (carried,) = rows
    assert carried is not None
    row_id = carried[1:].decode()
    kept = await house.database.read(lambda connection: large_sessions.find(connection, row_id))
    assert kept is not None
    assert b"key17" not in kept


async def test_another_server_finds_a_large_session(house: House) -> None:
    carried = await house.sessions.carry(role_session(LARGE))
    assert carried is not None
    found = await house.fresh_sessions().find_carried(carried)
    assert found is not None
    assert found.tags == LARGE.tags


async def test_a_large_session_is_kept_as_long_as_a_token_names_it_and_no_longer(house: House) -> None:
    caller = role_session(LARGE)
    carried = await house.sessions.carry(caller)
    assert carried is not None
    house.clock.move(seconds=2 * 3_600)
    docker = await house.login(caller)
    for seconds in itertools.repeat(3_600, 11):
        house.clock.move(seconds=seconds)
        await expire(house)
    assert await house.fresh_sessions().find_carried(carried) is not None
    assert await house.by_docker(docker) == caller
    house.clock.move(seconds=2 * 3_600)
    await expire(house)
    assert await house.fresh_sessions().find_carried(carried) is None


async def expire(house: House) -> None:
    await house.database.read(
        lambda connection: large_sessions.has_expired(connection, now=house.clock.now())
    )
    await house.database.write(
        lambda connection: large_sessions.remove_expired(connection, now=house.clock.now(), limit=100)
    )
