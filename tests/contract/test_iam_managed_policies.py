"""Managed policies, their versions and attachments, and boundaries, on both databases."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from openecr.application.iam import aws_policies
from openecr.application.iam.managed_policies import DescribedPolicy, Scope, Usage
from openecr.domain.iam import Entity
from openecr.domain.iam_errors import (
    DeleteConflict,
    EntityAlreadyExists,
    IamLimitExceeded,
    IamValidationError,
    MalformedPolicyDocument,
    NoSuchEntity,
    PolicyNotAttachable,
    UnmodifiableEntity,
)
from openecr.domain.pages import Page, PageRequest
from tests.contract.databases import Databases
from tests.contract.iam_houses import ACCOUNT, OTHER_ACCOUNT, PAGE, IamHouse

ALL = frozenset(Scope)
OWN = frozenset({Scope.OWN})
POWER_USER = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
SERVICE_POLICY = "arn:aws:iam::aws:policy/aws-service-role/ECRReplicationServiceRolePolicy"


@pytest.fixture
async def house(databases: Databases) -> IamHouse:
    return await IamHouse(databases, policies_per_account=6, attached_policies=2).open()


def document(resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": "ecr:*", "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


async def make(
    house: IamHouse, name: str, *, path: str = "/", text: str | None = None, account_id: str = ACCOUNT
) -> str:
    """A new policy's ARN."""
    made = await house.iam.managed_policies.create(
        await house.grant(account_id=account_id),
        name,
        text or document(),
        path=path,
        description="what for",
        tags={"Team": "a"},
    )
    return made.policy.arn


async def listed(
    house: IamHouse,
    *,
    limit: int = 100,
    after: str | None = None,
    path_prefix: str = "/",
    scopes: frozenset[Scope] = OWN,
    usage: Usage | None = None,
) -> Page[DescribedPolicy]:
    return await house.iam.managed_policies.list(
        await house.grant(),
        PageRequest(limit=limit, after=after),
        path_prefix=path_prefix,
        scopes=scopes,
        usage=usage or Usage(),
    )


def names(page: Page[DescribedPolicy]) -> list[str]:
    return [each.policy.name for each in page.items]


async def test_a_policy_is_what_it_was_made_as(house: IamHouse) -> None:
    text = json.dumps(json.loads(document()), indent=3) + "\n"
    arn = await make(house, "Push", path="/team/", text=text)
    found = await house.iam.managed_policies.get(await house.grant(), arn)
    version = await house.iam.managed_policies.get_version(await house.grant(), arn, 1)

    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/team/Push"
    assert (found.policy.name, found.policy.path, found.policy.description) == ("Push", "/team/", "what for")
    assert (found.tags, found.uses.attachments, found.uses.boundaries) == ({"Team": "a"}, 0, 0)
    assert found.policy.unique_id.startswith("ANPA")
    assert (version.document, version.is_default) == (text, True)


async def test_names_are_taken_in_any_letter_case_and_path(house: IamHouse) -> None:
    await make(house, "push")
    with pytest.raises(EntityAlreadyExists, match="A policy called Push already exists"):
        await make(house, "Push", path="/team/")
    await make(house, "push", account_id=OTHER_ACCOUNT)


async def test_what_is_no_policy_or_too_large_is_refused(house: IamHouse) -> None:
    for text in ("", "{", document().replace("2012-10-17", "2008-10-17")):
        with pytest.raises(MalformedPolicyDocument):
            await make(house, "bad", text=text or " ")
    fitting = document("arn:aws:ecr:*:*:repository/" + "a" * (6_144 - len(document()) - 26))
    arn = await make(house, "large", text=fitting)
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for PolicySize: 6144"):
        await make(house, "larger", text=fitting.replace("aaa", "aaaa", 1))
    with pytest.raises(IamLimitExceeded):
        await house.iam.managed_policies.create_version(
            await house.grant(), arn, fitting.replace("aaa", "aaaa", 1), becomes_default=True
        )

    assert names(await listed(house)) == ["large"]


async def test_there_are_five_versions_at_most_and_no_number_comes_again(house: IamHouse) -> None:
    arn, policies = await make(house, "push"), house.iam.managed_policies
    for _ in range(4):
        await policies.create_version(await house.grant(), arn, document(), becomes_default=True)
    with pytest.raises(IamLimitExceeded, match="A managed policy can have up to 5 versions"):
        await policies.create_version(await house.grant(), arn, document(), becomes_default=True)
    with pytest.raises(DeleteConflict):
        await policies.delete_version(await house.grant(), arn, 5)
    await policies.set_default_version(await house.grant(), arn, 1)
    await policies.delete_version(await house.grant(), arn, 5)
    made = await policies.create_version(await house.grant(), arn, document(), becomes_default=False)
    found = await policies.list_versions(await house.grant(), arn)

    assert made.number == 6
    assert [(each.number, each.is_default) for each in found] == [
        (6, False),
        (4, False),
        (3, False),
        (2, False),
        (1, True),
    ]
    for missing in (policies.get_version, policies.set_default_version, policies.delete_version):
        with pytest.raises(NoSuchEntity, match="version v5 does not exist or is not attachable"):
            await missing(await house.grant(), arn, 5)


async def test_versions_made_at_once_are_five_together(house: IamHouse) -> None:
    arn, grant = await make(house, "push"), await house.grant()
    ended = await asyncio.gather(
        *(
            house.iam.managed_policies.create_version(grant, arn, document(), becomes_default=True)
            for _ in range(6)
        ),
        return_exceptions=True,
    )
    found = await house.iam.managed_policies.list_versions(grant, arn)

    assert sum(isinstance(each, IamLimitExceeded) for each in ended) == 2
    assert [each.number for each in found] == [5, 4, 3, 2, 1]
    assert sum(each.is_default for each in found) == 1


async def test_an_account_has_a_bound_on_policies(house: IamHouse) -> None:
    for number in range(6):
        await make(house, f"p{number}")
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for PoliciesPerAccount: 6"):
        await make(house, "p6")


async def test_own_policies_are_listed_first_and_those_of_aws_after_them(house: IamHouse) -> None:
    for name, path in (("b", "/"), ("A", "/team/"), ("c", "/team/x/")):
        await make(house, name, path=path)
    await make(house, "foreign", account_id=OTHER_ACCOUNT)
    found: list[str] = []
    page = await listed(house, limit=2, scopes=ALL)
    found += names(page)
    while page.after is not None:
        page = await listed(house, limit=2, after=page.after, scopes=ALL)
        assert len(page.items) <= 2
        found += names(page)

    assert found[:3] == ["A", "b", "c"]
    assert sorted(found[3:]) == sorted(policy.name for policy in aws_policies.POLICIES.values())
    assert names(await listed(house, path_prefix="/team/")) == ["A", "c"]
    assert len((await listed(house, scopes=frozenset({Scope.AWS}))).items) == len(aws_policies.POLICIES)
    with pytest.raises(IamValidationError, match="Invalid Marker"):
        await listed(house, after="b")


async def test_lists_may_be_of_what_is_attached_or_bounds(house: IamHouse) -> None:
    attached, bounding = await make(house, "attached"), await make(house, "bounding")
    await make(house, "unused")
    await house.make_user("alice")
    await house.iam.attachments.attach(await house.on_user("alice"), attached)
    await house.iam.attachments.attach(await house.on_user("alice"), POWER_USER)
    await house.iam.attachments.set_boundary(await house.on_user("alice"), bounding)
    used = await listed(house, scopes=ALL, usage=Usage(must_be_attached=True))

    assert names(used) == ["attached", "AmazonEC2ContainerRegistryPowerUser"]
    assert used.items[0].uses.attachments == 1
    assert names(await listed(house, scopes=ALL, usage=Usage(must_bound=True))) == ["bounding"]


@pytest.mark.parametrize("kind", ["user", "group", "role"])
async def test_policies_are_attached_once_and_detached_once(house: IamHouse, kind: str) -> None:
    makers: dict[str, Callable[[str], Awaitable[Entity]]] = {
        "user": house.make_user,
        "group": house.make_group,
        "role": house.make_role,
    }
    on = {"user": house.on_user, "group": house.on_group, "role": house.on_role}[kind]
    entity, arn = await makers[kind]("x"), await make(house, "push")
    attachments, policies = house.iam.attachments, house.iam.managed_policies
    await attachments.attach(await on("x"), arn)
    epoch = await house.epoch()
    await attachments.attach(await on("x"), arn)
    assert await house.epoch() == epoch  # it had it already
    await attachments.attach(await on("x"), POWER_USER)
    with pytest.raises(IamLimitExceeded, match=f"Cannot exceed quota for PoliciesPer{kind.capitalize()}: 2"):
        await attachments.attach(await on("x"), "arn:aws:iam::aws:policy/AdministratorAccess")

    first = await attachments.list(await on("x"), PageRequest(limit=1))
    rest = await attachments.list(await on("x"), PageRequest(limit=1, after=first.after))
    assert [*first.items, *rest.items] == [arn, POWER_USER]
    entities = await policies.list_entities(
        await house.grant(), arn, PAGE, are_attached=True, are_bounded=True
    )
    assert [each.unique_id for each in entities.items] == [entity.unique_id]
    with pytest.raises(DeleteConflict, match="Cannot delete a policy attached to entities"):
        await policies.delete(await house.grant(), arn)
    await attachments.detach(await on("x"), arn)
    with pytest.raises(NoSuchEntity, match=f"Policy {arn} was not found."):
        await attachments.detach(await on("x"), arn)
    await policies.delete(await house.grant(), arn)
    assert (await attachments.list(await on("x"), PAGE)).items == (POWER_USER,)


async def test_what_cannot_be_attached_is_refused(house: IamHouse) -> None:
    foreign = await make(house, "push", account_id=OTHER_ACCOUNT)
    await house.make_user("alice")
    await house.make_role("AWSServiceRoleForX", path="/aws-service-role/x.amazonaws.com/")
    attach, on_alice = house.iam.attachments.attach, await house.on_user("alice")
    for arn in (foreign, f"arn:aws:iam::{ACCOUNT}:policy/\0", "arn:aws:iam::aws:policy/Nothing"):
        with pytest.raises(NoSuchEntity, match="does not exist or is not attachable"):
            await attach(on_alice, arn)
        with pytest.raises(NoSuchEntity, match="does not exist or is not attachable"):
            await house.iam.attachments.set_boundary(on_alice, arn)
    with pytest.raises(PolicyNotAttachable):
        await attach(on_alice, SERVICE_POLICY)
    with pytest.raises(IamValidationError, match="Invalid ARN:  Could not be parsed!"):
        await attach(on_alice, "x" * 20)
    with pytest.raises(UnmodifiableEntity):
        await attach(await house.on_role("AWSServiceRoleForX"), POWER_USER)
    with pytest.raises(NoSuchEntity):
        await house.iam.managed_policies.get(await house.grant(), foreign)


async def test_a_policy_that_bounds_stays_until_the_boundary_is_gone(house: IamHouse) -> None:
    arn = await make(house, "edge")
    role, attachments, policies = (
        await house.make_role("ci"),
        house.iam.attachments,
        house.iam.managed_policies,
    )
    await attachments.set_boundary(await house.on_role("ci"), arn)

    async def users_of(*, are_attached: bool, are_bounded: bool) -> list[str]:
        page = await policies.list_entities(
            await house.grant(), arn, PAGE, are_attached=are_attached, are_bounded=are_bounded
        )
        return [entity.unique_id for entity in page.items]

    assert await users_of(are_attached=False, are_bounded=True) == [role.unique_id]
    assert await users_of(are_attached=True, are_bounded=True) == [role.unique_id]
    assert await users_of(are_attached=True, are_bounded=False) == []
    with pytest.raises(DeleteConflict):
        await policies.delete(await house.grant(), arn)
    await attachments.set_boundary(await house.on_role("ci"), None)
    with pytest.raises(NoSuchEntity, match="The role with name ci has no permissions boundary"):
        await attachments.set_boundary(await house.on_role("ci"), None)
    await policies.delete(await house.grant(), arn)


async def test_a_policy_goes_with_its_last_version_alone(house: IamHouse) -> None:
    arn, policies = await make(house, "push"), house.iam.managed_policies
    await policies.create_version(await house.grant(), arn, document(), becomes_default=True)
    with pytest.raises(DeleteConflict, match="more than one version"):
        await policies.delete(await house.grant(), arn)
    await policies.delete_version(await house.grant(), arn, 1)
    await policies.delete(await house.grant(), arn)
    again = await make(house, "push", text=document("arn:aws:ecr:*:*:repository/new"))
    found = await policies.list_versions(await house.grant(), again)

    assert [each.number for each in found] == [1]


async def test_nobody_changes_what_is_of_aws(house: IamHouse) -> None:
    policies = house.iam.managed_policies
    shown = await policies.get(await house.grant(), POWER_USER)
    (version,) = await policies.list_versions(await house.grant(), POWER_USER)

    assert "ecr:PutImage" in version.document
    assert version.number == shown.policy.default_version
    for change in (
        policies.delete(await house.grant(), POWER_USER),
        policies.create_version(await house.grant(), POWER_USER, document(), becomes_default=True),
        policies.set_default_version(await house.grant(), POWER_USER, version.number),
        policies.delete_version(await house.grant(), POWER_USER, version.number),
    ):
        with pytest.raises(NoSuchEntity):
            await change


async def test_each_change_raises_the_epoch(house: IamHouse) -> None:
    policies, attachments = house.iam.managed_policies, house.iam.attachments
    await house.make_user("alice")
    epochs = [await house.epoch()]
    arn = await make(house, "push")
    epochs.append(await house.epoch())
    for change in (
        policies.create_version(await house.grant(), arn, document(), becomes_default=False),
        policies.set_default_version(await house.grant(), arn, 2),
        policies.delete_version(await house.grant(), arn, 1),
        attachments.attach(await house.on_user("alice"), arn),
        attachments.detach(await house.on_user("alice"), arn),
        attachments.set_boundary(await house.on_user("alice"), arn),
        attachments.set_boundary(await house.on_user("alice"), None),
        policies.delete(await house.grant(), arn),
    ):
        await change
        epochs.append(await house.epoch())

    assert len(set(epochs)) == len(epochs) == 10
