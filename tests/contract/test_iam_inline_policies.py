"""Inline policies of users, groups and roles, on both databases."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from openecr.domain.decisions import Grant
from openecr.domain.iam_errors import (
    DeleteConflict,
    IamLimitExceeded,
    MalformedPolicyDocument,
    NoSuchEntity,
    UnmodifiableEntity,
)
from openecr.domain.pages import PageRequest
from tests.contract.databases import Databases
from tests.contract.iam_houses import PAGE, IamHouse

KINDS = ("user", "group", "role")
LIMITS = {"user": 2_048, "group": 5_120, "role": 10_240}


@pytest.fixture
async def house(databases: Databases) -> IamHouse:
    return await IamHouse(databases).open()


def policy(*, characters: int | None = None, indent: int | None = None) -> str:
    """A policy, filled up with a resource's name to so many characters that count."""
    statement = {"Effect": "Allow", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    if characters is not None:
        missing = characters - len(json.dumps(document, separators=(",", ":")))
        statement["Resource"] += "a" * missing
    return json.dumps(document, indent=indent, separators=(",", ":"))


async def owner(house: IamHouse, kind: str, name: str) -> Callable[[], Awaitable[Grant]]:
    """Make a user, group or role, and return how to get a grant on it."""
    make, on = {
        "user": (house.make_user, house.on_user),
        "group": (house.make_group, house.on_group),
        "role": (house.make_role, house.on_role),
    }[kind]
    await make(name)
    return lambda: on(name)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_document_is_kept_as_it_was_given_and_replaced(house: IamHouse, kind: str) -> None:
    on, text = await owner(house, kind, "x"), policy(indent=3) + "\n"
    await house.iam.inline_policies.put(await on(), "push", text)
    first = await house.iam.inline_policies.get(await on(), "push")
    await house.iam.inline_policies.put(await on(), "push", policy())
    await house.iam.inline_policies.put(await on(), "Push", policy())

    assert first == ("x", text)
    assert await house.iam.inline_policies.get(await on(), "push") == ("x", policy())
    page = await house.iam.inline_policies.list(await on(), PageRequest(limit=1))
    rest = await house.iam.inline_policies.list(await on(), PageRequest(limit=1, after=page.after))
    assert [*page.items, *rest.items] == ["Push", "push"]
    await house.iam.inline_policies.delete(await on(), "push")
    for missing in (house.iam.inline_policies.get, house.iam.inline_policies.delete):
        with pytest.raises(NoSuchEntity, match=f"The {kind} policy with name push cannot be found"):
            await missing(await on(), "push")
    assert (await house.iam.inline_policies.list(await on(), PAGE)).items == ("Push",)


@pytest.mark.parametrize("kind", KINDS)
async def test_all_documents_of_an_owner_together_have_a_size(house: IamHouse, kind: str) -> None:
    on, limit = await owner(house, kind, "x"), LIMITS[kind]
    await house.iam.inline_policies.put(await on(), "a", policy(characters=1_000))
    await house.iam.inline_policies.put(await on(), "b", policy(characters=limit - 1_000, indent=4))
    too_large = f"Maximum policy size of {limit} bytes exceeded for {kind} x"
    with pytest.raises(IamLimitExceeded, match=too_large):
        await house.iam.inline_policies.put(await on(), "c", policy())
    with pytest.raises(IamLimitExceeded, match=too_large):
        await house.iam.inline_policies.put(await on(), "a", policy(characters=1_001))
    await house.iam.inline_policies.put(await on(), "a", policy(characters=1_000))


async def test_what_is_no_policy_is_refused(house: IamHouse) -> None:
    await house.make_user("alice")
    for text in ("", "{", "[]", '{"Version": "2012-10-17"}', policy().replace("Allow", "allow")):
        with pytest.raises(MalformedPolicyDocument):
            await house.iam.inline_policies.put(await house.on_user("alice"), "p", text)

    assert (await house.iam.inline_policies.list(await house.on_user("alice"), PAGE)).items == ()


async def test_an_owner_with_policies_is_not_deleted(house: IamHouse) -> None:
    for kind, delete in (("user", house.iam.users.delete), ("group", house.iam.groups.delete)):
        on = await owner(house, kind, "x")
        await house.iam.inline_policies.put(await on(), "p", policy())
        with pytest.raises(DeleteConflict, match="must delete policies first"):
            await delete(await on())
        await house.iam.inline_policies.delete(await on(), "p")
        await delete(await on())


async def test_what_is_put_at_once_is_no_larger_together(house: IamHouse) -> None:
    on = await owner(house, "user", "alice")
    grant = await on()
    ended = await asyncio.gather(
        *(house.iam.inline_policies.put(grant, f"p{number}", policy(characters=900)) for number in range(4)),
        return_exceptions=True,
    )

    assert sum(isinstance(each, IamLimitExceeded) for each in ended) == 2
    assert len((await house.iam.inline_policies.list(await on(), PAGE)).items) == 2


async def test_each_change_raises_the_epoch(house: IamHouse) -> None:
    on = await owner(house, "group", "builders")
    epochs = [await house.epoch()]
    await house.iam.inline_policies.put(await on(), "p", policy())
    epochs.append(await house.epoch())
    await house.iam.inline_policies.delete(await on(), "p")
    epochs.append(await house.epoch())

    assert len(set(epochs)) == 3


async def test_the_policies_of_a_service_linked_role_are_its_services_alone(house: IamHouse) -> None:
    await house.make_role("AWSServiceRoleForX", path="/aws-service-role/x.amazonaws.com/")
    grant = await house.on_role("AWSServiceRoleForX")
    with pytest.raises(UnmodifiableEntity, match="the protected role 'AWSServiceRoleForX' - this role"):
        await house.iam.inline_policies.put(grant, "p", policy())
    with pytest.raises(UnmodifiableEntity):
        await house.iam.inline_policies.delete(grant, "p")
