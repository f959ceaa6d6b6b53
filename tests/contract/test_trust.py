"""Who may take a role, on both databases: decided by what is stored at that very moment."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import insert

from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MasterKeyRing
from openecr.application.authorization import Authorizer, denial
from openecr.application.session_parameters import PACKED_MAX_BYTES, SessionParameters, check
from openecr.application.sessions import SESSION_TOKEN_MAX_CHARACTERS, Sessions
from openecr.application.sts import IssuedSession, Sts
from openecr.domain.callers import Caller, RequestContext, RoleSession, Session, User, WebIdentity
from openecr.domain.decisions import Decision, Grant, Requirement
from openecr.domain.errors import AccessDenied
from openecr.domain.iam import EntityKind, EntityName, IamRole
from openecr.domain.registries import RegistryId
from openecr.domain.sts_errors import PackedPolicyTooLarge
from openecr.store import accounts, iam_entities, principals
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.iam_tables import OIDC_PROVIDERS
from openecr.store.statements import Statement
from openecr.testing.clocks import MovableClock

ACCOUNT, OTHER = "111111111111", "222222222222"
NOW = 1_900_000_000_000_000
USER = User(account_id=ACCOUNT, access_key_id="AKIA", unique_id="AIDAANA", name="ana")
JOB = WebIdentity(account_id=ACCOUNT, provider="issuer.example", subject="main", audience="sts")
CONTEXT = RequestContext(
    requested_at=NOW,
    request_id="r",
    region="us-east-1",
    source_address="127.0.0.1",
    is_secure_transport=True,
    user_agent="test",
)
ADD_PROVIDER = Statement(
    insert(OIDC_PROVIDERS), columns=("account_id", "url", "client_ids", "thumbprints", "created_at")
)


class House:
    def __init__(self, database: Database) -> None:
        clock = MovableClock(NOW)
        sessions = Sessions(
            database=database, keys=MasterKeyRing({1: bytes(32)}), clock=clock, carried_seconds=60
        )
        self.database = database
        self.authorizer = Authorizer(database=database)
        self.sts = Sts(database=database, sessions=sessions, clock=clock, ids=SystemIds())

    async def put(self, made: IamRole) -> None:
        def unit(connection: Connection) -> None:
            for account_id in (ACCOUNT, OTHER):
                accounts.add(connection, account_id, created_at=NOW)
            known = iam_entities.find(connection, made.account_id, EntityKind.ROLE, made.name)
            if known is not None:
                iam_entities.remove(connection, known)
            iam_entities.add(connection, made)
            accounts.raise_epoch(connection, made.account_id)

        await self.database.write(unit)

    async def ask(self, caller: Caller, action: str = "sts:AssumeRole", *, path: str = "/") -> Grant:
        requirement = Requirement(
            actions=(action,),
            registry=RegistryId(account_id=ACCOUNT, region="us-east-1"),
            arn=f"arn:aws:iam::{ACCOUNT}:role{path}ci",
            entity=EntityName(kind=EntityKind.ROLE, name="ci"),
        )
        return await self.authorizer.decide(caller, CONTEXT, requirement)


def role(principal: object, *, action: str = "sts:AssumeRole", ids: object = None, **changes: str) -> IamRole:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action}
    made = IamRole(
        kind=EntityKind.ROLE,
        account_id=ACCOUNT,
        unique_id="AROAROLE",
        name="ci",
        path="/",
        created_at=NOW,
        trust_policy=json.dumps({"Version": "2012-10-17", "Statement": statement}),
        trust_principals=json.dumps(ids or {}),
        max_session_seconds=3600,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # texts alone are changed


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


async def test_the_very_user_that_was_named_when_the_policy_was_stored(house: House) -> None:
    await house.put(role({"AWS": USER.arn}, ids={USER.arn: USER.unique_id}))
    assert (await house.ask(USER)).decision is Decision.ALLOW
    namesake = replace(USER, unique_id="AIDANEWCOMER")
    assert (await house.ask(namesake)).decision is Decision.IMPLICIT_DENY


async def test_a_change_counts_for_the_next_request(house: House) -> None:
    await house.put(role({"AWS": USER.arn}))
    assert (await house.ask(USER)).decision is Decision.ALLOW
    await house.put(role({"AWS": OTHER}))
    assert (await house.ask(USER)).decision is Decision.IMPLICIT_DENY
    await house.put(role({"AWS": USER.arn}))
    assert (await house.ask(USER)).decision is Decision.ALLOW


async def test_a_role_is_taken_by_its_whole_arn(house: House) -> None:
    await house.put(role({"AWS": USER.arn}, path="/deep/"))
    refused = await house.ask(USER)
    assert refused.decision is Decision.IMPLICIT_DENY
    assert refused.located is None
    assert denial(refused) == (
        f"User: {USER.arn} is not authorized to perform: sts:AssumeRole on resource: {refused.requirement.resource}"
    )
    assert (await house.ask(USER, path="/deep/")).decision is Decision.ALLOW


async def test_a_provider_is_a_principal_of_its_own(house: House) -> None:
    action = "sts:AssumeRoleWithWebIdentity"
    await house.put(role({"Federated": JOB.arn}, action=action))
    assert (await house.ask(JOB, action)).decision is Decision.ALLOW
    stranger = replace(JOB, provider="other.example")
    refused = await house.ask(stranger, action)
    assert refused.decision is Decision.IMPLICIT_DENY
    assert denial(refused) == "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    await house.put(role({"AWS": [ACCOUNT, USER.arn]}, action=action))
    assert (await house.ask(JOB, action)).decision is Decision.IMPLICIT_DENY


async def test_a_role_that_was_made_anew_since_the_decision_is_not_taken(house: House) -> None:
    await house.put(role({"AWS": USER.arn}))
    grant = await house.ask(USER)
    await house.put(role({"AWS": USER.arn}, unique_id="AROANAMESAKE"))
    with pytest.raises(AccessDenied):
        await take(house, grant)


async def test_a_session_of_a_role_has_the_roles_id_and_its_own_name(house: House) -> None:
    await house.put(role({"AWS": USER.arn}))
    issued = await take(house, await house.ask(USER))
    caller = issued.caller
    assert isinstance(caller, RoleSession)
    assert (caller.unique_id, caller.session.name, caller.session.made_by) == ("AROAROLE", "build", "AKIA")
    assert caller.access_key_id.startswith("ASIA")
    assert len(caller.access_key_id) == 20
    assert len(issued.secret) == 40
    assert issued.secret not in repr(issued)
    assert issued.session_token not in repr(issued)


async def take(house: House, grant: Grant) -> IssuedSession:
    return await house.sts.assume_role(
        grant,
        session_name="build",
        duration_seconds=None,
        source_identity=None,
        asked=SessionParameters(),
    )


async def test_the_audiences_of_a_provider_are_the_accounts_own(house: House) -> None:
    await house.put(role("*"))

    def add(connection: Connection) -> None:
        for account_id, ids in ((ACCOUNT, '["a","b"]'), (OTHER, "[]")):
            connection.execute(
                ADD_PROVIDER,
                account_id=account_id,
                url="issuer.example",
                client_ids=ids,
                thumbprints="[]",
                created_at=NOW,
            )

    await house.database.write(add)

    def look(connection: Connection) -> list[tuple[str, ...] | None]:
        asked = ((ACCOUNT, "issuer.example"), (OTHER, "issuer.example"), (ACCOUNT, "issuer.example/"))
        return [principals.client_ids(connection, account_id, url) for account_id, url in asked]

    assert await house.database.read(look) == [("a", "b"), (), None]


def test_the_most_that_a_session_may_carry_fits_into_a_header() -> None:
    noise = [f"{pow(3, number * 131, 2**1024):x}"[:256] for number in range(1, 51)]
    tags = [(f"k{number}", value) for number, value in enumerate(noise)]
    checked, count = None, len(tags)
    while checked is None:
        try:
            asked = SessionParameters(tags=tuple(tags[:count]), policy_arns=())
            checked = check(asked, account_id=ACCOUNT, calling=None)
        except PackedPolicyTooLarge:
            count -= 1
    assert count < len(tags)
    assert checked.packed_percent is not None
    assert 90 < checked.packed_percent <= 100
    session = Session(issued_at=NOW, expires_at=NOW, name="n" * 64, tags=checked.tags, made_by="A" * 20)
    caller = RoleSession(
        account_id=ACCOUNT, access_key_id="ASIA", unique_id="AROA", role_name="r" * 64, session=session
    )
    nothing = None
    sessions = Sessions(
        database=nothing,  # type: ignore[arg-type]  # not asked
        keys=MasterKeyRing({1: bytes(32)}),
        clock=MovableClock(NOW),
        carried_seconds=60,
    )
    token = sessions.issue(caller, "s" * 40)
    assert PACKED_MAX_BYTES < len(token) < SESSION_TOKEN_MAX_CHARACTERS / 2
