"""An account's IAM as a whole, on both databases."""

import pytest
from sqlalchemy import Table, bindparam, insert, update

from openecr.application.iam.account_details import Section
from openecr.application.iam.aws_policies import AwsPolicy
from openecr.domain.iam import Entity, IamRole
from openecr.domain.iam_details import PolicyDetails
from openecr.domain.iam_errors import IamValidationError, NoSuchEntity
from openecr.domain.pages import PageRequest
from openecr.store.iam_tables import ATTACHMENTS, MANAGED_POLICIES, POLICY_VERSIONS, PRINCIPALS
from openecr.store.statements import Statement
from tests.contract.databases import Databases
from tests.contract.iam_houses import ACCOUNT, NOW, OTHER_ACCOUNT, IamHouse

PULL_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
OWN = f"arn:aws:iam::{ACCOUNT}:policy/push"
EVERYTHING = frozenset(Section)
SET_BOUNDARY = Statement(
    update(PRINCIPALS).where(PRINCIPALS.c.id == bindparam("the_id")).values(boundary_arn=bindparam("arn"))
)
DOCUMENT = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}'


async def put(house: IamHouse, table: Table, **columns: object) -> None:
    """Add a row behind the use cases' back."""
    statement = Statement(insert(table), columns=list(columns))
    await house.database.write(lambda connection: connection.execute(statement, **columns))


def policy_columns(account_id: str, name: str) -> dict[str, object]:
    """A managed policy whose first version is its default one."""
    return {
        "id": f"ANPA{name}",
        "account_id": account_id,
        "name": name,
        "name_key": name,
        "path": "/",
        "arn": f"arn:aws:iam::{account_id}:policy/{name}",
        "created_at": NOW,
        "updated_at": NOW,
        "default_version": 1,
        "newest_version": 2,
    }


@pytest.fixture
async def house(databases: Databases) -> IamHouse:
    """An account with one of everything, and a stranger's."""
    house = await IamHouse(databases).open()
    alice, role = await house.make_user("alice"), await house.make_role("ci")
    group = await house.make_group("builders")
    await house.iam.groups.add_user(await house.on_group("builders"), "alice")
    await house.iam.inline_policies.put(await house.on_role("ci"), "own", DOCUMENT)
    await put(house, MANAGED_POLICIES, **policy_columns(ACCOUNT, "push"))
    for version in (1, 2):
        await put(
            house,
            POLICY_VERSIONS,
            policy_id="ANPApush",
            version=version,
            document=DOCUMENT,
            created_at=NOW + version,
        )
    for entity, arn in ((alice, OWN), (role, OWN), (group, PULL_ONLY)):
        await put(house, ATTACHMENTS, principal_id=entity.unique_id, policy_arn=arn)
    await house.database.write(
        lambda connection: connection.execute(SET_BOUNDARY, the_id=alice.unique_id, arn=OWN)
    )
    stranger = await house.make_user("stranger", account_id=OTHER_ACCOUNT)
    await put(house, ATTACHMENTS, principal_id=stranger.unique_id, policy_arn=PULL_ONLY)
    await put(house, MANAGED_POLICIES, **policy_columns(OTHER_ACCOUNT, "strange"))
    return house


async def test_the_list_has_everything_of_the_account_and_nothing_else(house: IamHouse) -> None:
    details = await house.iam.account_details.list(await house.grant(), PageRequest(limit=1_000), EVERYTHING)
    alice, builders, ci, push, pull_only = details.page.items

    assert isinstance(alice, Entity)
    assert isinstance(builders, Entity)
    assert isinstance(ci, IamRole)
    assert isinstance(push, PolicyDetails)
    assert isinstance(pull_only, AwsPolicy)
    assert (alice.name, builders.name, ci.name) == ("alice", "builders", "ci")
    assert (push.name, pull_only.arn, details.page.after) == ("push", PULL_ONLY, None)
    assert [version.number for version in push.versions] == [2, 1]
    hanging = details.attachables
    assert hanging.group_names[alice.unique_id] == ["builders"]
    assert hanging.attached_arns[builders.unique_id] == [PULL_ONLY]
    assert hanging.inline[ci.unique_id] == [("own", DOCUMENT)]
    assert details.attachment_counts == {OWN: 2, PULL_ONLY: 1}
    assert details.boundary_counts == {OWN: 1}


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_pages_of_any_length_make_up_the_list(house: IamHouse, limit: int) -> None:
    names: list[str] = []
    after: str | None = None
    for _ in range(10):
        details = await house.iam.account_details.list(
            await house.grant(), PageRequest(limit=limit, after=after), EVERYTHING
        )
        assert len(details.page.items) <= limit
        names += [item.name for item in details.page.items]
        after = details.page.after
        if after is None:
            break

    assert names == ["alice", "builders", "ci", "push", "AmazonEC2ContainerRegistryPullOnly"]


async def test_sections_are_left_out_and_foreign_markers_refused(house: IamHouse) -> None:
    grant = await house.grant()
    roles = await house.iam.account_details.list(grant, PageRequest(limit=9), {Section.ROLES})
    for after in ("", "alice", "5/alice", "-1/alice", "\u0660/alice"):
        with pytest.raises(IamValidationError, match="Invalid Marker"):
            await house.iam.account_details.list(grant, PageRequest(limit=9, after=after), EVERYTHING)

    assert [item.name for item in roles.page.items] == ["ci"]


async def test_the_summary_counts_the_same(house: IamHouse) -> None:
    await house.iam.access_keys.create(await house.on_user("alice"))
    found = await house.iam.account_summary.get(await house.grant())
    stranger = await house.iam.account_summary.get(await house.grant(account_id=OTHER_ACCOUNT))

    counted = ("Users", "Groups", "Roles", "Policies", "PolicyVersionsInUse", "Providers")
    assert [found[name] for name in counted] == [1, 1, 1, 1, 2, 0]
    assert [stranger[name] for name in counted] == [1, 0, 0, 1, 1, 0]
    assert found["AccountAccessKeysPresent"] == 1


async def test_the_boundary_of_a_new_user_is_a_policy_of_its_account_or_of_aws(house: IamHouse) -> None:
    grant = await house.grant()
    for number, arn in enumerate((OWN, PULL_ONLY)):
        made = await house.iam.users.create(grant, f"u{number}", path="/", tags={}, boundary_arn=arn)
        assert made.user.boundary_arn == arn
    strange = f"arn:aws:iam::{OTHER_ACCOUNT}:policy/strange"
    for arn in (strange, f"{OWN}er", f"{OWN}\0", "push", f"arn:aws:iam::{ACCOUNT}:user/alice"):
        with pytest.raises(NoSuchEntity, match="does not exist or is not attachable"):
            await house.iam.users.create(grant, "bob", path="/", tags={}, boundary_arn=arn)
