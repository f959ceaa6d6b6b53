"""Users, their keys and their groups, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from openecr.application.access_key_uses import NOTES_MAX, AccessKeyUses
from openecr.application.iam.access_keys import NewKey
from openecr.domain.accounts import KeyOwner, KeyStatus, KeyUse
from openecr.domain.callers import User
from openecr.domain.decisions import Grant, Outcome
from openecr.domain.iam import AccessKeyOwner, account_of_access_key
from openecr.domain.iam_errors import (
    ConcurrentModification,
    DeleteConflict,
    EntityAlreadyExists,
    IamLimitExceeded,
    NoSuchEntity,
)
from openecr.domain.pages import PageRequest
from openecr.store import iam_tags
from tests.contract.databases import Databases
from tests.contract.iam_houses import ACCOUNT, CONTEXT, NOW, OTHER_ACCOUNT, PAGE, IamHouse


@pytest.fixture
async def house(databases: Databases) -> IamHouse:
    return await IamHouse(databases).open()


async def new_key(house: IamHouse, name: str) -> NewKey:
    return await house.iam.access_keys.create(await house.on_user(name))


async def owner_of(house: IamHouse, key: NewKey) -> KeyOwner | None:
    return await house.owner_of(key.owned.key.access_key_id, key.secret)


# --- users -----------------------------------------------------------------------------------------------------------


async def test_names_are_unique_in_an_account_whatever_their_case(house: IamHouse) -> None:
    made = await house.make_user("Alice", path="/team/")
    stranger = await house.make_user("alice", account_id=OTHER_ACCOUNT)
    with pytest.raises(EntityAlreadyExists, match="User with name ALICE already exists"):
        await house.make_user("ALICE")
    await house.make_group("Alice")
    found = await house.iam.users.get(await house.on_user("aLICE"))

    assert found.user == made
    assert found.user.arn == f"arn:aws:iam::{ACCOUNT}:user/team/Alice"
    assert stranger.unique_id != made.unique_id


async def test_a_user_made_again_under_the_same_name_is_another_one(house: IamHouse) -> None:
    first = await house.make_user("alice")
    grant = await house.on_user("alice")
    await house.iam.users.delete(grant)
    with pytest.raises(NoSuchEntity, match="The user with name alice cannot be found"):
        await house.iam.users.get(grant)
    second = await house.make_user("alice")

    assert first.unique_id != second.unique_id
    with pytest.raises(ConcurrentModification):
        await house.iam.users.get(grant)
    with pytest.raises(ConcurrentModification):
        await house.iam.users.delete(grant)


async def test_a_grant_on_one_path_is_none_on_another(house: IamHouse) -> None:
    await house.make_user("alice", path="/open/")
    grant = await house.on_user("alice")
    moving = await house.on_user("alice", new_path="/closed/")
    await house.iam.users.rename((grant, moving), name=None, path="/closed/")

    with pytest.raises(ConcurrentModification):
        await house.iam.access_keys.create(grant)
    assert moving.located is not None
    assert moving.located.arn == f"arn:aws:iam::{ACCOUNT}:user/closed/alice"


async def test_two_who_take_one_name_at_once_do_not_both_get_it(house: IamHouse) -> None:
    ended = await asyncio.gather(*(house.make_user("alice") for _ in range(4)), return_exceptions=True)

    assert sum(isinstance(each, EntityAlreadyExists) for each in ended) == 3


async def test_a_name_changes_its_case_but_not_to_anothers(house: IamHouse) -> None:
    await house.make_user("alice")
    await house.make_user("bob")
    await house.iam.users.rename((await house.on_user("alice"),), name="ALICE", path=None)
    with pytest.raises(EntityAlreadyExists):
        await house.iam.users.rename((await house.on_user("alice"),), name="Bob", path=None)

    page = await house.iam.users.list(await house.grant(), PAGE, path_prefix="/")
    assert [user.name for user in page.items] == ["ALICE", "bob"]


async def test_pages_of_users_make_up_the_list(house: IamHouse) -> None:
    for name in ("b", "A", "c", "D", "e"):
        await house.make_user(name, path="/x/" if name in "bce" else "/")
    await house.make_user("zoe", account_id=OTHER_ACCOUNT)
    grant = await house.grant()
    first = await house.iam.users.list(grant, PageRequest(limit=2), path_prefix="/")
    second = await house.iam.users.list(grant, PageRequest(limit=3, after=first.after), path_prefix="/")
    below = await house.iam.users.list(grant, PAGE, path_prefix="/x/")

    assert [user.name for user in (*first.items, *second.items)] == ["A", "b", "c", "D", "e"]
    assert (first.after, second.after) == ("b", None)
    assert [user.name for user in below.items] == ["b", "c", "e"]


async def test_there_are_so_many_users_and_no_more(databases: Databases) -> None:
    house = await IamHouse(databases, users_per_account=2, groups_per_account=1).open()
    for name in ("a", "b"):
        await house.make_user(name)
    await house.make_group("g")
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for UsersPerAccount: 2"):
        await house.make_user("c")
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for GroupsPerAccount: 1"):
        await house.make_group("h")
    await house.make_user("c", account_id=OTHER_ACCOUNT)


async def test_a_deleted_user_leaves_no_tags(house: IamHouse) -> None:
    made = await house.iam.users.create(await house.grant(), "alice", path="/", tags={"Team": "a"})
    assert (await house.iam.users.get(await house.on_user("alice"))).tags == {"Team": "a"}
    await house.iam.users.delete(await house.on_user("alice"))

    left = await house.database.read(lambda connection: iam_tags.list_of(connection, made.user.unique_id))
    assert left == {}


# --- access keys -----------------------------------------------------------------------------------------------------


async def test_a_key_leads_to_its_user_while_it_is_active(house: IamHouse) -> None:
    user = await house.make_user("alice", path="/team/")
    key = await new_key(house, "alice")
    key_id, grant = key.owned.key.access_key_id, await house.on_user("alice")
    expected = KeyOwner(
        access_key_id=key_id,
        account_id=ACCOUNT,
        principal_id=user.unique_id,
        user=("alice", "/team/"),
    )

    assert account_of_access_key(key_id) == ACCOUNT
    assert key.secret not in repr(key)
    assert await owner_of(house, key) == expected
    await house.iam.access_keys.set_status(grant, key_id, KeyStatus.INACTIVE)
    assert await owner_of(house, key) is None
    await house.iam.access_keys.set_status(grant, key_id, KeyStatus.ACTIVE)
    assert await owner_of(house, key) == expected
    await house.iam.users.rename((grant,), name="alicia", path=None)
    assert await owner_of(house, key) == replace(expected, user=("alicia", "/team/"))
    await house.iam.access_keys.delete(await house.on_user("alicia"), key_id)
    assert await owner_of(house, key) is None


async def test_nobody_touches_a_key_in_the_name_of_another(house: IamHouse) -> None:
    await house.make_user("alice")
    await house.make_user("mallory")
    key = await new_key(house, "alice")
    key_id = key.owned.key.access_key_id
    strangers = await house.grant(account_id=OTHER_ACCOUNT)
    for grant in (await house.on_user("mallory"), await house.grant(), strangers):
        with pytest.raises(NoSuchEntity, match=f"The Access Key with id {key_id} cannot be found"):
            await house.iam.access_keys.delete(grant, key_id)
        with pytest.raises(NoSuchEntity):
            await house.iam.access_keys.set_status(grant, key_id, KeyStatus.INACTIVE)
    foreign = await house.grant(AccessKeyOwner(access_key_id=key_id), account_id=OTHER_ACCOUNT)
    assert foreign.located is None
    with pytest.raises(NoSuchEntity):
        await house.iam.access_keys.last_used(foreign, key_id)

    assert await owner_of(house, key) is not None


async def test_a_principal_has_two_keys_the_root_included(house: IamHouse) -> None:
    await house.make_user("alice")
    for _ in range(2):
        await new_key(house, "alice")
    root = await house.grant()
    own = await house.iam.access_keys.create(root)
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for AccessKeysPerUser: 2"):
        await new_key(house, "alice")
    with pytest.raises(IamLimitExceeded):
        await house.iam.access_keys.create(root)

    name, page = await house.iam.access_keys.list(await house.on_user("alice"), PageRequest(limit=1))
    _, rest = await house.iam.access_keys.list(
        await house.on_user("alice"), PageRequest(limit=1, after=page.after)
    )
    assert name == "alice"
    assert len({key.access_key_id for key in (*page.items, *rest.items)}) == 2
    assert rest.after is None
    assert own.owned.user_name is None
    _, keys = await house.iam.access_keys.list(root, PAGE)
    assert own.owned.key in keys.items


async def test_two_who_make_the_last_key_at_once_do_not_both_get_it(house: IamHouse) -> None:
    await house.make_user("alice")
    ended = await asyncio.gather(*(new_key(house, "alice") for _ in range(4)), return_exceptions=True)

    assert sum(isinstance(each, NewKey) for each in ended) == 2
    assert sum(isinstance(each, IamLimitExceeded) for each in ended) == 2


# --- the use of keys -------------------------------------------------------------------------------------------------


def outcome(key: NewKey, door: str, *, at: int = NOW) -> Outcome:
    made: Any = Outcome.__new__(Outcome)  # of which only what is asked for is there
    made.door, made.caller = (
        door,
        User(account_id=ACCOUNT, access_key_id=key.owned.key.access_key_id, unique_id="AIDA", name="alice"),
    )
    made.context = (
        CONTEXT
        if at == NOW
        else type(CONTEXT)(
            requested_at=at,
            request_id="0",
            region="eu-west-1",
            source_address="",
            is_secure_transport=True,
            user_agent="",
        )
    )
    found: Outcome = made
    return found


async def test_the_last_use_is_told_before_and_after_it_is_written(house: IamHouse) -> None:
    await house.make_user("alice")
    key = await new_key(house, "alice")
    key_id = key.owned.key.access_key_id
    grant = await house.grant(AccessKeyOwner(access_key_id=key_id))
    assert await house.iam.access_keys.last_used(grant, key_id) == ("alice", None)
    house.uses.record(outcome(key, "sts:GetCallerIdentity"))
    expected = ("alice", KeyUse(used_at=NOW, service="sts", region="us-east-1"))
    assert await house.iam.access_keys.last_used(grant, key_id) == expected
    await house.uses.flush()
    assert await house.iam.access_keys.last_used(grant, key_id) == expected
    house.uses.record(outcome(key, "GET /v2/<name>/manifests/<reference>", at=NOW + 1))
    for _ in range(2):
        assert await house.iam.access_keys.last_used(grant, key_id) == (
            "alice",
            KeyUse(used_at=NOW + 1, service="ecr", region="eu-west-1"),
        )
        await house.uses.flush()


async def test_a_use_during_a_flush_is_not_lost(house: IamHouse) -> None:
    await house.make_user("alice")
    key = await new_key(house, "alice")
    house.uses.record(outcome(key, "sts:GetCallerIdentity"))
    flush = asyncio.create_task(house.uses.flush())
    await asyncio.sleep(0)
    house.uses.record(outcome(key, "ecr:PutImage", at=NOW + 1))
    await flush

    found = await house.uses.find(key.owned.key.access_key_id)
    assert found == KeyUse(used_at=NOW + 1, service="ecr", region="eu-west-1")


async def test_the_latest_use_counts_whichever_process_writes_last(house: IamHouse) -> None:
    await house.make_user("alice")
    key = await new_key(house, "alice")
    key_id = key.owned.key.access_key_id
    other = AccessKeyUses(database=house.activity)
    house.uses.record(outcome(key, "sts:GetCallerIdentity"))
    other.record(outcome(key, "ecr:PutImage", at=NOW + 1))
    await other.flush()
    expected = KeyUse(used_at=NOW + 1, service="ecr", region="eu-west-1")
    assert await house.uses.find(key_id) == expected
    await house.uses.flush()
    assert await house.uses.find(key_id) == expected


async def test_the_use_of_a_deleted_key_is_forgotten(house: IamHouse) -> None:
    await house.make_user("alice")
    for _ in range(2):
        key = await new_key(house, "alice")
        key_id = key.owned.key.access_key_id
        house.uses.record(outcome(key, "iam:GetUser"))
        await house.uses.flush()
        house.uses.record(outcome(key, "iam:GetUser"))
        await house.iam.access_keys.delete(await house.on_user("alice"), key_id)
        assert await house.uses.find(key_id) is None


async def test_what_is_noted_is_bounded_and_sessions_are_not_noted(house: IamHouse) -> None:
    await house.make_user("alice")
    made: Any = outcome(await new_key(house, "alice"), "ecr:PutImage")
    for key_id in (*(f"AKIA{number}" for number in range(NOTES_MAX + 1)), "ASIA1"):
        made.caller = User(account_id=ACCOUNT, access_key_id=key_id, unique_id="AIDA", name="alice")
        house.uses.record(made)

    assert await house.uses.find(f"AKIA{NOTES_MAX - 1}") is not None
    assert await house.uses.find(f"AKIA{NOTES_MAX}") is None
    assert await house.uses.find("ASIA1") is None


# --- groups ----------------------------------------------------------------------------------------------------------


async def test_users_come_and_go(house: IamHouse) -> None:
    for name in ("bob", "Alice"):
        await house.make_user(name)
    group = await house.make_group("builders")
    await house.iam.groups.add_user(await house.on_group("builders"), "BOB")
    await house.iam.groups.add_user(await house.on_group("builders"), "alice")
    epoch = await house.epoch()
    await house.iam.groups.add_user(await house.on_group("builders"), "alice")
    found, page = await house.iam.groups.get(await house.on_group("builders"), PageRequest(limit=1))
    _, rest = await house.iam.groups.get(
        await house.on_group("builders"), PageRequest(limit=1, after=page.after)
    )
    groups = await house.iam.groups.list_of_user(await house.on_user("bob"), PAGE)
    with pytest.raises(NoSuchEntity, match="The user with name eve cannot be found"):
        await house.iam.groups.add_user(await house.on_group("builders"), "eve")
    with pytest.raises(NoSuchEntity, match="The group with name nothing cannot be found"):
        await house.iam.groups.add_user(await house.on_group("nothing"), "bob")
    await house.iam.groups.remove_user(await house.on_group("builders"), "bob")
    with pytest.raises(NoSuchEntity):
        await house.iam.groups.remove_user(await house.on_group("builders"), "bob")

    assert found == group
    assert [user.name for user in (*page.items, *rest.items)] == ["Alice", "bob"]
    assert list(groups.items) == [group]
    assert epoch is not None
    assert (await house.epoch() or 0) > epoch, "nothing changed when a member was added again"


async def test_a_user_is_in_so_many_groups_and_no_more(databases: Databases) -> None:
    house = await IamHouse(databases, groups_per_user=2).open()
    await house.make_user("alice")
    for name in ("a", "b", "c"):
        await house.make_group(name)
    for name in ("a", "b", "b"):
        await house.iam.groups.add_user(await house.on_group(name), "alice")
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for GroupsPerUser: 2"):
        await house.iam.groups.add_user(await house.on_group("c"), "alice")

    found = await house.iam.groups.list_of_user(await house.on_user("alice"), PAGE)
    assert [group.name for group in found.items] == ["a", "b"]


async def test_nothing_is_deleted_that_something_hangs_on(house: IamHouse) -> None:
    await house.make_user("alice")
    await house.make_group("builders")
    await house.iam.groups.add_user(await house.on_group("builders"), "alice")
    key = await new_key(house, "alice")
    with pytest.raises(DeleteConflict, match="must remove users from group first"):
        await house.iam.groups.delete(await house.on_group("builders"))
    with pytest.raises(DeleteConflict, match="must delete access keys first"):
        await house.iam.users.delete(await house.on_user("alice"))
    await house.iam.access_keys.delete(await house.on_user("alice"), key.owned.key.access_key_id)
    with pytest.raises(DeleteConflict, match="must remove users from group first"):
        await house.iam.users.delete(await house.on_user("alice"))
    await house.iam.groups.remove_user(await house.on_group("builders"), "alice")
    await house.iam.groups.delete(await house.on_group("builders"))
    await house.iam.users.delete(await house.on_user("alice"))


# --- every change is seen --------------------------------------------------------------------------------------------


async def test_every_change_raises_the_epoch_of_its_account_and_no_other(house: IamHouse) -> None:
    iam = house.iam
    await house.make_user("alice")
    await house.make_group("g")
    key_id = (await new_key(house, "alice")).owned.key.access_key_id

    async def on_user(use: Callable[[Grant], Awaitable[object]]) -> None:
        await use(await house.on_user("alice"))

    async def on_group(use: Callable[[Grant], Awaitable[object]]) -> None:
        await use(await house.on_group("g"))

    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: house.make_user("bob"),
        lambda: on_user(iam.access_keys.create),
        lambda: on_user(lambda grant: iam.access_keys.set_status(grant, key_id, KeyStatus.INACTIVE)),
        lambda: on_user(lambda grant: iam.access_keys.delete(grant, key_id)),
        lambda: on_user(lambda grant: iam.users.rename((grant,), name=None, path="/x/")),
        lambda: on_group(lambda grant: iam.groups.add_user(grant, "bob")),
        lambda: on_group(lambda grant: iam.groups.rename((grant,), name="G", path=None)),
        lambda: on_group(lambda grant: iam.groups.remove_user(grant, "bob")),
        lambda: on_group(iam.groups.delete),
        lambda: house.make_group("other"),
    ]
    stranger = await house.epoch(OTHER_ACCOUNT)
    epochs = [await house.epoch()]
    for change in changes:
        await change()
        epochs.append(await house.epoch())

    assert len(set(epochs)) == len(changes) + 1, epochs
    assert await house.epoch(OTHER_ACCOUNT) == stranger
