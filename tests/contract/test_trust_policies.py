"""Whom roles may trust, and how their trust policies are kept and shown, on both databases."""

import json
from typing import Any

import pytest

from openecr.application.iam.account_details import Section
from openecr.domain.iam import IamRole
from openecr.domain.iam_errors import IamLimitExceeded, MalformedPolicyDocument
from tests.contract.databases import Databases
from tests.contract.iam_houses import ACCOUNT, OTHER_ACCOUNT, PAGE, IamHouse
from tests.contract.trusting_roles import OWN, make, principal_of, trust

GITHUB = "token.actions.githubusercontent.com"
WITH_TOKEN = "sts:AssumeRoleWithWebIdentity"
SUBJECT = {f"{GITHUB}:sub": "repo:octo/app:*"}


@pytest.fixture
async def house(databases: Databases) -> IamHouse:
    return await IamHouse(databases).open()


def shared(issuer: str = GITHUB, **condition: Any) -> str:
    """A trust policy for the tokens of an issuer."""
    more = {"Condition": condition} if condition else {}
    return trust({"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"}, WITH_TOKEN, **more)


# --- whom a trust policy names ---------------------------------------------------------------------------------------


async def test_principals_are_kept_by_their_ids(house: IamHouse) -> None:
    ana = await house.make_user("ana", path="/team/")
    other = await house.make_user("bo", account_id=OTHER_ACCOUNT)
    made = await make(house, document=trust({"AWS": [ana.arn, other.arn, "*", OTHER_ACCOUNT]}))
    assert json.loads(made.role.trust_principals) == {ana.arn: ana.unique_id, other.arn: other.unique_id}
    assert (await principal_of(house))["AWS"][0] == ana.arn


async def test_who_is_gone_is_shown_by_his_id_though_another_has_his_name(house: IamHouse) -> None:
    ana = await house.make_user("ana")
    aside = {"StringLike": {"aws:PrincipalArn": ana.arn}}
    await make(house, document=trust({"AWS": ana.arn}, Condition=aside))
    await house.iam.users.delete(await house.on_user("ana"))
    assert await principal_of(house) == {"AWS": ana.unique_id}
    again = await house.make_user("ana")
    assert await principal_of(house) == {"AWS": ana.unique_id}
    found = await house.iam.roles.get(await house.on_role("ci"))
    assert json.loads(found.trust_policy)["Statement"][0]["Condition"] == aside
    listed = await house.iam.roles.list(await house.grant(), PAGE, path_prefix="/")
    details = await house.iam.account_details.list(await house.grant(), PAGE, frozenset(Section))
    for item in (listed.items[0], next(each for each in details.page.items if isinstance(each, IamRole))):
        assert isinstance(item, IamRole)
        assert item.trust_policy == found.trust_policy
    await house.iam.roles.set_trust(await house.on_role("ci"), trust({"AWS": again.arn}))
    assert await principal_of(house) == {"AWS": again.arn}


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:group/all"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"},
        {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/nobody/x"},
        {"AWS": "arn:aws:iam::999999999999:root"},
        {"AWS": "999999999999"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/a\0"},
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/\u00e4"},
        {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/a\u4e00/x"},
        {"Federated": "arn:aws:iam::999999999999:oidc-provider/ci.example.com"},
        {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/ci.example.com\0"},
    ],
    ids=ascii,
)
async def test_who_does_not_exist_is_no_principal(house: IamHouse, principal: object) -> None:
    await make(house)
    with pytest.raises(MalformedPolicyDocument, match='Invalid principal in policy: "AWS":"'):
        await make(house, "never", trust(principal))
    with pytest.raises(MalformedPolicyDocument, match='Invalid principal in policy: "AWS":"'):
        await house.iam.roles.set_trust(await house.on_role("ci"), trust(principal))
    assert await principal_of(house) == {"AWS": ACCOUNT}


async def test_a_trust_policy_is_so_long(house: IamHouse) -> None:
    padding = " " * 4_000  # white space does not count
    await make(house, document=OWN + padding)
    long = trust({"AWS": ACCOUNT}, Sid="x" * 2_048)
    with pytest.raises(IamLimitExceeded, match="Cannot exceed quota for ACLSizePerRole: 2048"):
        await house.iam.roles.set_trust(await house.on_role("ci"), long)


# --- issuers that many share -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        shared(StringLike=SUBJECT),
        shared(StringEquals={f"{GITHUB}:SUB": ["repo:octo/app:ref:refs/heads/main", "repo:octo/b:*"]}),
        shared(GITHUB, **{"ForAnyValue:StringLike": SUBJECT}),
        shared("gitlab.com", StringLike={"gitlab.com:sub": "project_path:octo/*"}),
        shared(f"{GITHUB}/octo", StringLike={f"{GITHUB}/octo:sub": "repo:octo/*"}),
        shared("ci.example.com"),
        shared("gitlab.company.com"),
        shared("gitlab.com.example.org"),
        shared("ci.example.com/gitlab.com"),
        trust("*"),
        trust({"AWS": "*"}, "sts:TagSession"),
        trust({"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"}, "sts:TagSession"),
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    json.loads(shared())["Statement"][0] | {"Effect": "Deny"},
                    json.loads(OWN)["Statement"][0],
                ],
            }
        ),
    ],
    ids=lambda _: None,
)
async def test_a_role_may_trust_whom_it_tells_by_subject_and_private_issuers(
    house: IamHouse, document: str
) -> None:
    assert (await make(house, document=document)).trust_policy == document


@pytest.mark.parametrize(
    "document",
    [
        shared(),
        shared(StringEquals={f"{GITHUB}:aud": "sts.amazonaws.com"}),
        shared(StringLike={f"{GITHUB}:sub": "*"}),
        shared(StringLike={f"{GITHUB}:sub": ["repo:octo/app:*", "?*"]}),
        shared(StringLike={f"{GITHUB}:sub": "repo:*"}),
        shared(StringLike={f"{GITHUB}:sub": "repo:*/*:ref:refs/heads/*"}),
        shared(StringEquals={f"{GITHUB}:sub": f"${{{GITHUB}:sub}}"}),
        shared(StringNotEquals={f"{GITHUB}:sub": "repo:octo/app:*"}),
        shared(Null={f"{GITHUB}:sub": "false"}),
        shared(StringEqualsIfExists={"gitlab.com:sub": "project_path:octo/*"}),
        shared(StringEquals={f"{GITHUB}:repository": "octo/app"}),
        shared("gitlab.com", StringLike={"gitlab.com:sub": "project_path:*"}),
        shared("gitlab.com"),
        shared("GitLab.com"),
        shared("app.terraform.io", StringLike={"app.terraform.io:sub": "organization:*"}),
        shared(f"{GITHUB}/octo", StringLike={f"{GITHUB}/octo:sub": "*"}),
        trust("*", WITH_TOKEN),
        trust({"AWS": "*"}, "sts:*"),
        trust({"AWS": ["*", ACCOUNT]}, "STS:assumerolewith*"),
        trust("*", WITH_TOKEN, Condition={"StringNotLike": SUBJECT}),
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {
                    "Effect": "Allow",
                    "NotPrincipal": {"AWS": ACCOUNT},
                    "NotAction": "sts:AssumeRole",
                },
            }
        ),
    ],
    ids=lambda _: None,
)
async def test_no_role_trusts_everybody_who_has_an_account_at_a_shared_issuer(
    house: IamHouse, document: str
) -> None:
    with pytest.raises(MalformedPolicyDocument, match="sub has to tell whose tokens count"):
        await make(house, document=document)
    await make(house)
    with pytest.raises(MalformedPolicyDocument, match="sub has to tell whose tokens count"):
        await house.iam.roles.set_trust(await house.on_role("ci"), document)
