"""Roles, and those of services, on both databases."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from openecr.application.iam import tags
from openecr.application.iam.roles import DescribedRole
from openecr.domain.iam_errors import (
    ConcurrentModification,
    DeleteConflict,
    EntityAlreadyExists,
    IamLimitExceeded,
    InvalidInput,
    NoSuchEntity,
    UnmodifiableEntity,
)
from tests.contract.databases import Databases
from tests.contract.iam_houses import ACCOUNT, OTHER_ACCOUNT, PAGE, IamHouse
from tests.contract.trusting_roles import OWN, make, principal_of

REPLICATION = "replication.ecr.amazonaws.com"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"


@pytest.fixture
async def house(databases: Databases) -> IamHouse:
    return await IamHouse(databases, roles_per_account=4).open()


async def test_a_role_is_what_it_was_made_as(house: IamHouse) -> None:
    text = json.dumps(json.loads(OWN), indent=3) + "\n"
    made = await make(house, document=text, max_session_seconds=43_200, boundary_arn=READ_ONLY)
    found = await house.iam.roles.get(await house.on_role("CI"))
    assert found == made
    assert found.trust_policy == text
    assert found.role.arn == f"arn:aws:iam::{ACCOUNT}:role/jobs/ci"
    assert (found.role.max_session_seconds, found.role.boundary_arn) == (43_200, READ_ONLY)
    assert (found.role.description, found.tags) == ("builds", {"Team": "a"})
    assert found.role.unique_id.startswith("AROA")


async def test_no_two_names_differ_by_letter_case_alone(house: IamHouse) -> None:
    await make(house)
    with pytest.raises(EntityAlreadyExists, match="Role with name CI already exists"):
        await make(house, "CI")


async def test_an_account_has_so_many_roles(house: IamHouse) -> None:
    for number in range(4):
        await make(house, f"role{number}")
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for RolesPerAccount: 4"):
        await make(house, "role4")


async def test_roles_are_listed_by_name_below_a_path(house: IamHouse) -> None:
    for name, path in (("b", "/"), ("A", "/jobs/"), ("c", "/jobs/deep/")):
        await make(house, name, path=path)
    everything = await house.iam.roles.list(await house.grant(), PAGE, path_prefix="/")
    assert [role.name for role in everything.items] == ["A", "b", "c"]
    below = await house.iam.roles.list(await house.grant(), PAGE, path_prefix="/jobs/")
    assert [role.name for role in below.items] == ["A", "c"]
    others = await house.grant(account_id=OTHER_ACCOUNT)
    assert (await house.iam.roles.list(others, PAGE, path_prefix="/")).items == ()


async def test_what_is_not_given_stays_as_it_was(house: IamHouse) -> None:
    await make(house)
    grant = await house.on_role("ci")
    changed = await house.iam.roles.change(grant, description="", max_session_seconds=None)
    assert (changed.role.description, changed.role.max_session_seconds) == ("", 3_600)
    changed = await house.iam.roles.change(grant, description=None, max_session_seconds=7_200)
    assert (changed.role.description, changed.role.max_session_seconds) == ("", 7_200)


async def test_a_role_with_policies_is_not_deleted(house: IamHouse) -> None:
    await make(house)
    grant = await house.on_role("ci")
    await house.iam.attachments.attach(grant, READ_ONLY)
    with pytest.raises(DeleteConflict, match="must detach all policies first"):
        await house.iam.roles.delete(grant)
    await house.iam.attachments.detach(grant, READ_ONLY)
    await house.iam.inline_policies.put(
        grant,
        "p",
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}',
    )
    with pytest.raises(DeleteConflict, match="must delete policies first"):
        await house.iam.roles.delete(grant)
    await house.iam.inline_policies.delete(grant, "p")
    await house.iam.roles.delete(grant)
    with pytest.raises(NoSuchEntity, match="The role with name ci cannot be found"):
        await house.iam.roles.get(await house.on_role("ci"))


async def test_a_role_that_was_made_anew_is_another_one(house: IamHouse) -> None:
    first = await make(house)
    grant = await house.on_role("ci")
    await house.iam.roles.delete(grant)
    second = await make(house, tags={})
    assert second.role.unique_id != first.role.unique_id
    for act in (
        house.iam.roles.delete(grant),
        house.iam.roles.set_trust(grant, OWN),
        house.iam.roles.change(grant, description="x", max_session_seconds=None),
    ):
        with pytest.raises(ConcurrentModification):
            await act
    assert (await house.iam.roles.get(await house.on_role("ci"))).tags == {}


async def _service(house: IamHouse, service: str = REPLICATION) -> DescribedRole:
    return await house.iam.roles.create_service_linked(await house.grant(), service, None)


CHANGES: dict[str, Callable[[IamHouse], Awaitable[object]]] = {
    "CreateRole": lambda house: make(house, "other"),
    "UpdateRole": lambda house: _on(
        house, lambda grant: house.iam.roles.change(grant, description="x", max_session_seconds=None)
    ),
    "UpdateAssumeRolePolicy": lambda house: _on(house, lambda grant: house.iam.roles.set_trust(grant, OWN)),
    "TagRole": lambda house: _on(house, lambda grant: house.iam.tags.put(grant, tags.of_entity, {"a": "b"})),
    "UntagRole": lambda house: _on(
        house, lambda grant: house.iam.tags.remove(grant, tags.of_entity, ["Team"])
    ),
    "DeleteRole": lambda house: _on(house, house.iam.roles.delete),
    "CreateServiceLinkedRole": _service,
    "DeleteServiceLinkedRole": lambda house: _on(
        house, house.iam.roles.delete_service_linked, "AWSServiceRoleForECRTemplate"
    ),
}


async def _on(house: IamHouse, act: Callable[[Any], Awaitable[object]], name: str = "ci") -> None:
    await act(await house.on_role(name))


@pytest.mark.parametrize("change", CHANGES)
async def test_every_change_makes_every_cache_look_again(house: IamHouse, change: str) -> None:
    await make(house)
    await _service(house, "ecr.amazonaws.com")
    before, elsewhere = await house.epoch(), await house.epoch(OTHER_ACCOUNT)
    await CHANGES[change](house)
    assert before is not None
    assert (await house.epoch() or 0) > before
    assert await house.epoch(OTHER_ACCOUNT) == elsewhere


# --- roles of services -----------------------------------------------------------------------------------------------


async def test_the_role_of_a_service_comes_with_its_policy(house: IamHouse) -> None:
    made = await _service(house)
    assert made.role.arn == (
        f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{REPLICATION}/AWSServiceRoleForECRReplication"
    )
    grant = await house.on_role(made.role.name)
    attached = await house.iam.attachments.list(grant, PAGE)
    assert attached.items == ("arn:aws:iam::aws:policy/aws-service-role/ECRReplicationServiceRolePolicy",)
    assert await principal_of(house, made.role.name) == {"Service": [REPLICATION]}


async def test_a_service_has_one_role(house: IamHouse) -> None:
    await _service(house)
    with pytest.raises(InvalidInput) as refused:
        await _service(house)
    assert str(refused.value) == (
        "Service role name AWSServiceRoleForECRReplication has been taken in this account, "
        "please try a different suffix."
    )
    with pytest.raises(InvalidInput, match="AWS service principal is invalid"):
        await _service(house, "ec2.amazonaws.com")


async def test_the_role_of_a_service_is_its_services_alone(house: IamHouse) -> None:
    made = await _service(house)
    grant = await house.on_role(made.role.name)
    for act in (
        house.iam.roles.delete(grant),
        house.iam.roles.change(grant, description="x", max_session_seconds=None),
        house.iam.roles.set_trust(grant, OWN),
        house.iam.attachments.attach(grant, READ_ONLY),
        house.iam.attachments.detach(grant, (await house.iam.attachments.list(grant, PAGE)).items[0]),
        house.iam.attachments.set_boundary(grant, READ_ONLY),
    ):
        with pytest.raises(UnmodifiableEntity):
            await act
    with pytest.raises(InvalidInput, match="can only be used for AWS Service linked Roles"):
        await make(house, "mine", path=f"/aws-service-role/{REPLICATION}/")
    assert await house.iam.roles.delete_service_linked(grant) == made.role
    with pytest.raises(NoSuchEntity):
        await house.iam.roles.get(await house.on_role(made.role.name))


async def test_who_may_delete_roles_of_services_deletes_no_other(house: IamHouse) -> None:
    await make(house)
    grant = await house.on_role("ci")
    await house.iam.attachments.attach(grant, READ_ONLY)
    with pytest.raises(NoSuchEntity, match="The role with name ci cannot be found"):
        await house.iam.roles.delete_service_linked(grant)
    assert (await house.iam.attachments.list(grant, PAGE)).items == (READ_ONLY,)


async def test_of_two_roles_of_one_name_that_come_at_once_one_is_made(house: IamHouse) -> None:
    made = await asyncio.gather(*(make(house, name) for name in ("ci", "CI", "ci")), return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == [
        "DescribedRole",
        "EntityAlreadyExists",
        "EntityAlreadyExists",
    ]
