"""What is remembered of a decision serves nobody once something has changed, whichever process changed it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from openecr.application.account_settings import AccountSettings
from openecr.application.authorization import Authorizer
from openecr.application.limits import Limits
from openecr.application.registry_policies import RegistryPolicies
from openecr.application.repositories import Repositories
from openecr.application.repository_policies import RepositoryPolicies
from openecr.domain.callers import RequestContext, User
from openecr.domain.decisions import Decision, Grant, Requirement, Verdict
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import RepositorySettings
from tests.contract.databases import Databases
from tests.contract.galleries import grant_for
from tests.contract.iam_houses import ACCOUNT, CONTEXT, IamHouse

REGISTRY = RegistryId(account_id=ACCOUNT, region="us-east-1")
PULL = Requirement(actions=("ecr:BatchGetImage",), registry=REGISTRY, repository_name="app")
ARN = f"arn:aws:iam::{ACCOUNT}:user/alice"


def policy(effect: str = "Allow", **more: Any) -> str:
    statement = {"Effect": effect, "Action": "ecr:BatchGetImage", "Resource": "*", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def of_resource(effect: str = "Allow", **more: Any) -> str:
    statement = {"Effect": effect, "Principal": {"AWS": ARN}, "Action": "ecr:BatchGetImage", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Town:
    """Alice, her group, a repository, and two processes that decide about her."""

    def __init__(self, databases: Databases) -> None:
        database = databases.metadata
        self.house = IamHouse(databases)
        self.here, self.there = Authorizer(database=database), Authorizer(database=database)
        self.repositories = Repositories(database=database, clock=self.house.clock, limits=Limits())
        self.repository_policies = RepositoryPolicies(database=database, authorizer=self.here)
        self.registry_policies = RegistryPolicies(database=database)
        self.settings = AccountSettings(database=database)

    async def open(self) -> "Town":
        await self.house.open()
        alice = await self.house.make_user("alice")
        await self.house.make_group("pullers")
        self.caller = User(
            account_id=ACCOUNT, access_key_id="AKIAALICE", unique_id=alice.unique_id, name="alice"
        )
        self.repository = await self.repositories.create(grant_for("app"), RepositorySettings(), {})
        self.grant = grant_for("app", self.repository)
        return self

    async def decisions(self, context: RequestContext = CONTEXT) -> set[Decision]:
        """What both processes decide."""
        asked = [await each.decide(self.caller, context, PULL) for each in (self.here, self.there)]
        return {grant.decision for grant in asked}

    def on_account(self) -> Grant:
        """Root's grant on what has no resource."""
        return Grant(
            caller=self.grant.caller,
            context=CONTEXT,
            requirement=Requirement(actions=("ecr:Test",), registry=REGISTRY),
            verdict=Verdict(decision=Decision.ALLOW),
        )

    async def allow_alice(self) -> None:
        """By a policy of her own."""
        await self.house.iam.inline_policies.put(await self.house.on_user("alice"), "own", policy())


@pytest.fixture
async def town(databases: Databases) -> Town:
    return await Town(databases).open()


async def _own_policy(town: Town) -> None:
    await town.allow_alice()


async def _policy_of_her_group(town: Town) -> None:
    await town.house.iam.inline_policies.put(await town.house.on_group("pullers"), "pull", policy())
    await town.house.iam.groups.add_user(await town.house.on_group("pullers"), "alice")


async def _policy_of_the_repository(town: Town) -> None:
    await town.repository_policies.put(town.grant, of_resource(), force=False)


async def _policy_of_the_registry(town: Town) -> None:
    await town.registry_policies.put(town.on_account(), of_resource(Resource="*"))


@pytest.mark.parametrize(
    "change", [_own_policy, _policy_of_her_group, _policy_of_the_repository, _policy_of_the_registry]
)
async def test_what_allows_is_seen_by_the_next_request_of_every_process(
    town: Town, change: Callable[[Town], Awaitable[None]]
) -> None:
    assert await town.decisions() == {Decision.IMPLICIT_DENY}
    await change(town)
    assert await town.decisions() == {Decision.ALLOW}
    assert await town.decisions() == {Decision.ALLOW}


async def _deny_of_the_repository(town: Town) -> None:
    await town.repository_policies.put(town.grant, of_resource("Deny"), force=False)


async def _own_policy_goes(town: Town) -> None:
    await town.house.iam.inline_policies.delete(await town.house.on_user("alice"), "own")


@pytest.mark.parametrize("change", [_deny_of_the_repository, _own_policy_goes])
async def test_what_denies_is_seen_by_the_next_request_of_every_process(
    town: Town, change: Callable[[Town], Awaitable[None]]
) -> None:
    await town.allow_alice()
    assert await town.decisions() == {Decision.ALLOW}
    await change(town)
    assert Decision.ALLOW not in await town.decisions()


async def test_tags_of_the_repository_are_seen_by_the_next_request(town: Town) -> None:
    condition = {"StringEquals": {"aws:ResourceTag/env": "prod"}}
    document = policy(Condition=condition)
    await town.house.iam.inline_policies.put(await town.house.on_user("alice"), "own", document)
    assert await town.decisions() == {Decision.IMPLICIT_DENY}
    await town.repositories.tag_resource(town.grant, {"env": "prod"})
    assert await town.decisions() == {Decision.ALLOW}
    await town.repositories.untag_resource(town.grant, ["env"])
    assert await town.decisions() == {Decision.IMPLICIT_DENY}


async def test_a_repository_that_is_made_again_has_no_policy(town: Town) -> None:
    await _policy_of_the_repository(town)
    assert await town.decisions() == {Decision.ALLOW}
    await town.repositories.delete(town.grant, force=True)
    assert await town.decisions() == {Decision.IMPLICIT_DENY}
    await town.repositories.create(grant_for("app"), RepositorySettings(), {})
    assert await town.decisions() == {Decision.IMPLICIT_DENY}


async def test_the_scope_of_the_registrys_policy_is_seen_by_the_next_request(town: Town) -> None:
    await _policy_of_the_registry(town)
    assert await town.decisions() == {Decision.ALLOW}
    await town.settings.put(town.on_account(), "REGISTRY_POLICY_SCOPE", "V1")
    assert await town.decisions() == {Decision.IMPLICIT_DENY}


async def test_what_depends_on_the_request_is_decided_for_each(town: Town) -> None:
    document = policy(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
    await town.house.iam.inline_policies.put(await town.house.on_user("alice"), "own", document)

    def from_address(address: str) -> RequestContext:
        return RequestContext(
            requested_at=CONTEXT.requested_at,
            request_id="0",
            region="us-east-1",
            source_address=address,
            is_secure_transport=False,
            user_agent="",
        )

    for _ in range(2):
        assert await town.decisions(from_address("10.1.2.3")) == {Decision.ALLOW}
        assert await town.decisions(from_address("192.168.0.1")) == {Decision.IMPLICIT_DENY}


async def test_the_policy_of_one_regions_registry_says_nothing_in_another(town: Town) -> None:
    document = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Deny", "Principal": "*", "Action": "ecr:PutAccountSetting", "Resource": "*"}
            ],
        }
    )
    await town.registry_policies.put(town.on_account(), document)
    everything = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    own = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    await town.house.iam.inline_policies.put(await town.house.on_user("alice"), "own", own)
    for region, expected in (
        ("eu-west-1", Decision.ALLOW),
        ("us-east-1", Decision.EXPLICIT_DENY),
        ("eu-west-1", Decision.ALLOW),
    ):
        wanted = Requirement(
            actions=("ecr:PutAccountSetting",), registry=RegistryId(account_id=ACCOUNT, region=region)
        )
        assert (await town.here.decide(town.caller, CONTEXT, wanted)).decision is expected
