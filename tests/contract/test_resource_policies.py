"""Policies of repositories and registries, on both databases: whom they name, how they are shown, when they end."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from openecr.application.account_settings import AccountSettings
from openecr.application.authorization import Authorizer
from openecr.application.limits import Limits
from openecr.application.registry_policies import RegistryPolicies
from openecr.application.repositories import Repositories
from openecr.application.repository_policies import RepositoryPolicies
from openecr.domain.callers import Caller, Root, User
from openecr.domain.decisions import Decision, Grant, Requirement, Verdict
from openecr.domain.errors import (
    InvalidParameter,
    RegistryPolicyNotFound,
    RepositoryNotFound,
    RepositoryPolicyNotFound,
)
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import Repository, RepositorySettings
from openecr.store import purging
from openecr.store.iam_tables import REPOSITORY_POLICIES
from openecr.store.statements import Statement
from tests.contract.databases import Databases
from tests.contract.galleries import grant_for
from tests.contract.iam_houses import ACCOUNT, CONTEXT, OTHER_ACCOUNT, IamHouse

REGISTRY = RegistryId(account_id=ACCOUNT, region="us-east-1")
ALICE = f"arn:aws:iam::{ACCOUNT}:user/team/alice"
ALL_POLICIES = Statement(select(REPOSITORY_POLICIES.c.repository_id))
PRINCIPAL_NOT_FOUND = "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Principal not found'"


def policy(principal: object, effect: str = "Allow", action: str = "ecr:*", **more: Any) -> str:
    """A policy of a repository."""
    statement = {"Effect": effect, "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def principal_of(text: str) -> Any:
    """Whom the first statement names."""
    return json.loads(text)["Statement"][0]["Principal"]


class Street:
    """A repository and those who care for its policy."""

    def __init__(self, databases: Databases) -> None:
        self.database = databases.metadata
        self.house = IamHouse(databases)
        self.repositories = Repositories(database=self.database, clock=self.house.clock, limits=Limits())
        self.authorizer = Authorizer(database=self.database)
        self.policies = RepositoryPolicies(database=self.database, authorizer=self.authorizer)
        self.registry_policies = RegistryPolicies(database=self.database)
        self.settings = AccountSettings(database=self.database)
        self.alice = User(account_id=ACCOUNT, access_key_id="AKIAALICE", unique_id="", name="alice")

    async def open(self) -> "Street":
        await self.house.open()
        made = await self.house.make_user("alice", path="/team/")
        self.alice = User(
            account_id=ACCOUNT,
            access_key_id="AKIAALICE",
            unique_id=made.unique_id,
            name="alice",
            path="/team/",
        )
        self.grant = grant_for("app", await self.make())
        return self

    async def make(self) -> Repository:
        """The repository, for the first time or again."""
        return await self.repositories.create(grant_for("app"), RepositorySettings(), {})

    async def asked(self, caller: Caller, action: str) -> Grant:
        """What is decided about somebody."""
        requirement = Requirement(actions=(action,), registry=REGISTRY, repository_name="app")
        return await self.authorizer.decide(caller, CONTEXT, requirement)

    def on_registry(self) -> Grant:
        """Root's grant on the registry."""
        return Grant(
            caller=self.grant.caller,
            context=CONTEXT,
            requirement=Requirement(actions=("ecr:Test",), registry=REGISTRY),
            verdict=Verdict(decision=Decision.ALLOW),
        )

    async def delete_alice(self) -> None:
        """For good."""
        await self.house.iam.users.delete(await self.house.on_user("alice"))


@pytest.fixture
async def street(databases: Databases) -> Street:
    return await Street(databases).open()


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": "foo"},
        {"AWS": "foo.bar"},
        {"AWS": "**"},
        {"AWS": "AIDA234567ABCDEFGHIJK"},
        {"AWS": "AROA234567ABCDEFGHIJK"},
        {"AWS": "999999999999"},
        {"AWS": "arn:aws:iam::999999999999:root"},
        {"AWS": f"arn:aws-cn:iam::{ACCOUNT}:root"},
        {"AWS": f"arn:aws:iam:us-east-1:{ACCOUNT}:root"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/alice"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/team/Alice"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/*"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:role/team/alice"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:group/pullers"},
        {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/nobody/run"},
        {"AWS": [ALICE, f"arn:aws:iam::{ACCOUNT}:user/bob"]},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:oidc-provider/ci.example.com"},
        {"Federated": f"arn:aws:iam::{ACCOUNT}:saml-provider/x"},
        {"CanonicalUser": "x"},
    ],
    ids=str,
)
async def test_only_whoever_exists_can_be_named(street: Street, principal: object) -> None:
    for element in ("Principal", "NotPrincipal"):
        text = policy("*").replace('"Principal": "*"', f'"{element}": {json.dumps(principal)}')
        with pytest.raises(InvalidParameter) as refused:
            await street.policies.put(street.grant, text, force=False)
        assert str(refused.value) == PRINCIPAL_NOT_FOUND
    with pytest.raises(RepositoryPolicyNotFound):
        await street.policies.get(street.grant)


async def test_users_roles_sessions_accounts_and_services_can_be_named(street: Street) -> None:
    role = await street.house.make_role("ci", path="/jobs/")
    named = {
        "AWS": [
            ALICE,
            street.alice.unique_id,
            f"arn:aws:iam::{ACCOUNT}:role/jobs/ci",
            role.unique_id,
            f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/run",
            f"arn:aws:sts::{ACCOUNT}:federated-user/fred",
            f"arn:aws:iam::{OTHER_ACCOUNT}:root",
            "*",
        ],
        "Service": "lambda.amazonaws.com",
    }
    put = await street.policies.put(street.grant, policy(named), force=False)
    assert principal_of(put) == named
    assert await street.policies.get(street.grant) == put


async def test_who_is_gone_is_shown_by_his_id_and_nothing_else_changes(street: Street) -> None:
    condition = {"StringNotEquals": {"aws:PrincipalArn": ALICE}}
    text = policy({"AWS": [ALICE, OTHER_ACCOUNT]}, Condition=condition, Sid=ALICE)
    put = await street.policies.put(street.grant, text, force=False)
    registry_text = policy({"AWS": ALICE}, Resource="*")
    await street.registry_policies.put(street.on_registry(), registry_text)
    await street.delete_alice()

    shown = await street.policies.get(street.grant)
    statement = json.loads(shown)["Statement"][0]
    gone = street.alice.unique_id
    assert statement["Principal"]["AWS"] == [gone, f"arn:aws:iam::{OTHER_ACCOUNT}:root"]
    assert (statement["Condition"], statement["Sid"]) == (condition, ALICE)
    assert shown.splitlines()[0] == put.splitlines()[0]
    assert shown.count(" : ") == put.count(" : ")
    assert principal_of(await street.registry_policies.get(street.on_registry())) == {"AWS": gone}
    with pytest.raises(InvalidParameter):  # what means nobody any more cannot be set again
        await street.policies.put(street.grant, shown, force=False)
    assert principal_of(await street.policies.delete(street.grant))["AWS"][0] == gone


async def test_an_id_names_its_user(street: Street) -> None:
    await street.policies.put(street.grant, policy({"AWS": street.alice.unique_id}), force=False)
    assert (await street.asked(street.alice, "ecr:PutImage")).decision is Decision.ALLOW


DENY = policy("*", "Deny", "ecr:SetRepositoryPolicy")


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param(
            policy({"AWS": ALICE}), policy("*", action="ecr:BatchGetImage"), id="says nothing of her"
        ),
        pytest.param(policy({"AWS": ALICE}), DENY, id="denies everybody"),
        pytest.param(
            policy({"AWS": ALICE}),
            policy({"AWS": ACCOUNT}),
            id="leaves it to her policies, of which there are none",
        ),
        pytest.param(
            policy({"AWS": ALICE}),
            policy({"AWS": ALICE}, Condition={"StringEquals": {"aws:SourceIp": "192.0.2.1"}}),
            id="lets her in from elsewhere",
        ),
    ],
)
async def test_who_would_lose_the_right_to_set_the_policy_has_to_insist(
    street: Street, first: str, then: str
) -> None:
    kept = await street.policies.put(street.grant, first, force=False)
    grant = await street.asked(street.alice, "ecr:SetRepositoryPolicy")
    assert grant.decision is Decision.ALLOW
    with pytest.raises(InvalidParameter, match="use force"):
        await street.policies.put(grant, then, force=False)
    assert await street.policies.get(street.grant) == kept

    await street.policies.put(grant, then, force=True)
    assert (await street.asked(street.alice, "ecr:SetRepositoryPolicy")).decision is not Decision.ALLOW


async def test_another_accounts_root_has_to_insist_as_well(street: Street) -> None:
    stranger = Root(account_id=OTHER_ACCOUNT, access_key_id="AKIASTRANGER")
    await street.policies.put(street.grant, policy({"AWS": OTHER_ACCOUNT}), force=False)
    grant = await street.asked(stranger, "ecr:SetRepositoryPolicy")
    with pytest.raises(InvalidParameter, match="use force"):
        await street.policies.put(grant, policy("*", action="ecr:BatchGetImage"), force=False)
    await street.policies.put(grant, policy({"AWS": OTHER_ACCOUNT}, action="ecr:Set*"), force=False)


async def test_who_is_allowed_by_his_own_policies_need_not_be_named(street: Street) -> None:
    statement = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    own = json.dumps({"Version": "2012-10-17", "Statement": statement})
    await street.house.iam.inline_policies.put(await street.house.on_user("alice"), "own", own)
    grant = await street.asked(street.alice, "ecr:SetRepositoryPolicy")
    await street.policies.put(grant, policy("*", action="ecr:BatchGetImage"), force=False)
    with pytest.raises(InvalidParameter, match="use force"):
        await street.policies.put(grant, DENY, force=False)


async def test_root_can_always_mend_its_own_repository(street: Street) -> None:
    root = Root(account_id=ACCOUNT, access_key_id="AKIAROOT")
    grant = await street.asked(root, "ecr:SetRepositoryPolicy")
    await street.policies.put(grant, policy("*", "Deny"), force=False)
    assert (await street.asked(root, "ecr:PutImage")).decision is Decision.EXPLICIT_DENY
    mended = await street.asked(root, "ecr:SetRepositoryPolicy")
    await street.policies.put(mended, policy({"AWS": ALICE}), force=False)


async def test_a_repositorys_policy_ends_with_it(street: Street) -> None:
    await street.policies.put(street.grant, policy({"AWS": ALICE}), force=False)
    await street.repositories.delete(street.grant, force=False)
    gone = await street.asked(street.alice, "ecr:BatchGetImage")
    assert gone.decision is Decision.IMPLICIT_DENY
    for change in (
        street.policies.put(street.grant, policy("*"), force=True),
        street.policies.delete(street.grant),
    ):
        with pytest.raises(RepositoryNotFound):
            await change

    again = grant_for("app", await street.make())
    with pytest.raises(RepositoryPolicyNotFound):
        await street.policies.get(again)
    assert (await street.asked(street.alice, "ecr:BatchGetImage")).decision is Decision.IMPLICIT_DENY
    assert len(await street.database.read(lambda connection: connection.fetch_all(ALL_POLICIES))) == 1
    assert await street.database.write(
        lambda connection: purging.purge_rest(connection, now=0, late=0, limit=10)
    )
    assert await street.database.read(lambda connection: connection.fetch_all(ALL_POLICIES)) == []


async def test_a_policy_is_not_read_through_a_repository_that_is_deleted(street: Street) -> None:
    await street.policies.put(street.grant, policy("*"), force=False)
    await street.repositories.delete(street.grant, force=False)
    with pytest.raises(RepositoryNotFound):
        await street.policies.get(street.grant)


async def test_each_change_raises_the_epoch_of_the_owner(street: Street) -> None:
    registry = street.on_registry()
    stranger = await street.house.epoch(OTHER_ACCOUNT)
    for change in (
        lambda: street.policies.put(street.grant, policy({"AWS": OTHER_ACCOUNT}), force=False),
        lambda: street.policies.delete(street.grant),
        lambda: street.registry_policies.put(registry, policy("*", Resource="*")),
        lambda: street.settings.put(registry, "REGISTRY_POLICY_SCOPE", "V1"),
        lambda: street.registry_policies.delete(registry),
    ):
        before = await street.house.epoch() or 0
        await change()
        assert (await street.house.epoch() or 0) > before
    assert await street.house.epoch(OTHER_ACCOUNT) == stranger


async def test_scope_v1_takes_its_three_actions_in_any_letter_case(street: Street) -> None:
    registry = street.on_registry()
    await street.settings.put(registry, "REGISTRY_POLICY_SCOPE", "V1")
    await street.registry_policies.put(registry, policy("*", action="ecr:replicateimage", Resource="*"))
    for action in ("ecr:*", "ecr:PutImage", "*", "ecr:Replicate*"):
        with pytest.raises(InvalidParameter, match="Invalid registry policy provided"):
            await street.registry_policies.put(registry, policy("*", action=action, Resource="*"))


async def test_a_registrys_policy_keeps_people_from_logging_in_and_lets_nobody(street: Street) -> None:
    login = Requirement(actions=("ecr:GetAuthorizationToken",), registry=REGISTRY)
    root = Root(account_id=ACCOUNT, access_key_id="AKIAROOT")

    async def decisions() -> tuple[Decision, ...]:
        asked = [await street.authorizer.decide(each, CONTEXT, login) for each in (root, street.alice)]
        return tuple(grant.decision for grant in asked)

    assert await decisions() == (Decision.ALLOW, Decision.IMPLICIT_DENY)
    registry = street.on_registry()
    await street.registry_policies.put(registry, policy({"AWS": ALICE}, Resource="*"))
    assert await decisions() == (Decision.ALLOW, Decision.IMPLICIT_DENY)
    await street.registry_policies.put(registry, policy("*", "Deny", Resource="*"))
    assert await decisions() == (Decision.EXPLICIT_DENY, Decision.EXPLICIT_DENY)
    await street.settings.put(registry, "REGISTRY_POLICY_SCOPE", "V1")
    assert await decisions() == (Decision.ALLOW, Decision.IMPLICIT_DENY)


async def test_a_registry_has_one_policy(street: Street) -> None:
    registry = street.on_registry()
    with pytest.raises(RegistryPolicyNotFound):
        await street.registry_policies.get(registry)
    await street.registry_policies.put(registry, policy("*", Resource="*"))
    await street.registry_policies.put(registry, policy({"AWS": ALICE}, Resource="*"))
    assert principal_of(await street.registry_policies.get(registry)) == {"AWS": ALICE}
    await street.registry_policies.delete(registry)
    with pytest.raises(RegistryPolicyNotFound):
        await street.registry_policies.delete(registry)
