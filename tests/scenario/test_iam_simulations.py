"""The policy simulator, as boto3 and Terraform ask it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, Driver

POWER_USER = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
PULL_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/team/alice"
APP = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app"
FOREIGN = "arn:aws:ecr:us-east-1:111122223333:repository/app"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=1)


def statement(effect: str, action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def decisions(told: Any) -> dict[str, str]:
    return {each["EvalActionName"]: each["EvalDecision"] for each in told["EvaluationResults"]}


@pytest.fixture
def iam(driver: Driver) -> Iterator[Any]:
    """A client of the root; there is a user alice in a group readers, for whom all hangs on policies."""
    client = driver.client("iam")
    client.create_user(UserName="alice", Path="/team/", Tags=[{"Key": "Team", "Value": "a"}])
    client.create_group(GroupName="readers")
    client.add_user_to_group(GroupName="readers", UserName="alice")
    yield client
    client.remove_user_from_group(GroupName="readers", UserName="alice")
    for name in client.list_user_policies(UserName="alice")["PolicyNames"]:
        client.delete_user_policy(UserName="alice", PolicyName=name)
    for policy in client.list_attached_user_policies(UserName="alice")["AttachedPolicies"]:
        client.detach_user_policy(UserName="alice", PolicyArn=policy["PolicyArn"])
    for policy in client.list_attached_group_policies(GroupName="readers")["AttachedPolicies"]:
        client.detach_group_policy(GroupName="readers", PolicyArn=policy["PolicyArn"])
    client.delete_user(UserName="alice")
    client.delete_group(GroupName="readers")


def test_what_a_user_may_is_told_of_all_that_he_has(iam: Any) -> None:
    iam.attach_group_policy(GroupName="readers", PolicyArn=POWER_USER)
    iam.put_user_policy(
        UserName="alice",
        PolicyName="no-app",
        PolicyDocument=document(statement("Deny", "ecr:PutImage", APP)),
    )
    told = iam.simulate_principal_policy(
        PolicySourceArn=ALICE,
        ActionNames=["ecr:PutImage", "ecr:BatchGetImage", "ecr:DeleteRepository"],
        ResourceArns=[APP, f"{APP}2"],
    )
    put, get, delete = told["EvaluationResults"]

    assert decisions(told) == {
        "ecr:PutImage": "explicitDeny",
        "ecr:BatchGetImage": "allowed",
        "ecr:DeleteRepository": "implicitDeny",
    }
    assert [each["EvalResourceDecision"] for each in put["ResourceSpecificResults"]] == [
        "explicitDeny",
        "allowed",
    ]
    (denied,) = put["ResourceSpecificResults"][0]["MatchedStatements"]
    assert denied == {
        "SourcePolicyId": "user_alice_no-app",
        "SourcePolicyType": "user",
        "StartPosition": {"Line": 4, "Column": 3},
        "EndPosition": {"Line": 8, "Column": 3},
    }
    (allowed,) = get["MatchedStatements"]
    assert (allowed["SourcePolicyId"], allowed["SourcePolicyType"]) == (
        "AmazonEC2ContainerRegistryPowerUser",
        "aws-managed",
    )
    assert delete["MatchedStatements"] == []
    group = iam.simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:group/readers", ActionNames=["ecr:PutImage"]
    )
    assert decisions(group) == {"ecr:PutImage": "allowed"}


def test_policies_may_be_added_and_left_out(iam: Any) -> None:
    iam.attach_user_policy(UserName="alice", PolicyArn=POWER_USER)
    iam.put_user_permissions_boundary(UserName="alice", PermissionsBoundary=PULL_ONLY)

    def put_image(**more: Any) -> Any:
        told = iam.simulate_principal_policy(PolicySourceArn=ALICE, ActionNames=["ecr:PutImage"], **more)
        return told["EvaluationResults"][0]

    bounded = put_image()
    assert (bounded["EvalDecision"], bounded["PermissionsBoundaryDecisionDetail"]) == (
        "implicitDeny",
        {"AllowedByPermissionsBoundary": False},
    )
    unbounded = put_image(PolicyExclusionList=[{"PolicyType": "permission-boundary"}])
    assert unbounded["EvalDecision"] == "allowed"
    assert "PermissionsBoundaryDecisionDetail" not in unbounded
    wide = document(statement("Allow", "*"))
    assert put_image(PermissionsBoundaryPolicyInputList=[wide])["EvalDecision"] == "allowed"
    without = put_image(
        PermissionsBoundaryPolicyInputList=[wide],
        PolicyExclusionList=[{"PolicyArn": "arn:aws:iam::aws:policy/Amazon*User"}],
    )
    assert without["EvalDecision"] == "implicitDeny"
    denied = put_image(PolicyInputList=[document(statement("Deny", "ecr:Put*"))])
    assert denied["MatchedStatements"][0]["SourcePolicyId"] == "PolicyInputList.1"


def test_keys_are_those_given_and_those_of_the_user(iam: Any) -> None:
    about = {
        "StringEquals": {"aws:PrincipalTag/Team": "a", "aws:username": "alice"},
        "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
    }
    iam.put_user_policy(
        UserName="alice",
        PolicyName="p",
        PolicyDocument=document(statement("Allow", "ecr:*", Condition=about)),
    )

    def simulate(**more: Any) -> Any:
        told = iam.simulate_principal_policy(PolicySourceArn=ALICE, ActionNames=["ecr:PutImage"], **more)
        return told["EvaluationResults"][0]

    def source(address: str, kind: str = "ip") -> list[dict[str, Any]]:
        return [
            {"ContextKeyName": "aws:sourceip", "ContextKeyValues": [address], "ContextKeyType": kind},
        ]

    silent = simulate()
    assert (silent["EvalDecision"], silent["MissingContextValues"]) == ("implicitDeny", ["aws:SourceIp"])
    assert simulate(ContextEntries=source("10.1.2.3"))["EvalDecision"] == "allowed"
    assert simulate(ContextEntries=source("11.1.2.3"))["EvalDecision"] == "implicitDeny"
    with pytest.raises(ClientError, match="InvalidInput"):
        simulate(ContextEntries=source("nowhere"))
    with pytest.raises(ClientError, match="InvalidInput"):
        simulate(ContextEntries=source("1", "boolean"))


def test_documents_alone_are_simulated(iam: Any) -> None:
    def simulate(**more: Any) -> Any:
        told = iam.simulate_custom_policy(
            **{
                "ActionNames": ["ecr:PutImage"],
                "PolicyInputList": [document(statement("Allow", "ecr:*"))],
                **more,
            }
        )
        return told["EvaluationResults"][0]

    let_alice = document(
        {"Effect": "Allow", "Principal": {"AWS": ALICE}, "Action": "ecr:PutImage", "Resource": FOREIGN}
    )
    across = {"ResourceArns": [FOREIGN], "CallerArn": ALICE}
    assert simulate()["EvalDecision"] == "allowed"
    (told,) = simulate(**across)["ResourceSpecificResults"]
    assert (told["EvalResourceDecision"], told["EvalDecisionDetails"]) == (
        "implicitDeny",
        {"IAM Policy": "allowed", "Resource Policy": "implicitDeny"},
    )
    assert simulate(**across, ResourcePolicy=let_alice)["EvalDecision"] == "allowed"
    levels = [
        {"ServiceControlPolicyInputList": [document(statement("Allow", "*"))]},
        {"ServiceControlPolicyInputList": [document(statement("Allow", "s3:*"))]},
    ]
    organized = simulate(OrderedOrganizationPolicyInputList=levels)
    assert (organized["EvalDecision"], organized["OrganizationsDecisionDetail"]) == (
        "implicitDeny",
        {"AllowedByOrganizations": False},
    )
    pages = iam.get_paginator("simulate_custom_policy").paginate(
        PolicyInputList=[document(statement("Allow", "ecr:*"))],
        ActionNames=["ecr:A", "ecr:B", "s3:C"],
        PaginationConfig={"PageSize": 2},
    )
    assert [len(page["EvaluationResults"]) for page in pages] == [2, 1]


@pytest.mark.parametrize(
    "given",
    [
        {"ActionNames": ["PutImage"]},
        {"ActionNames": ["ecr:*"]},
        {"PolicyInputList": ["{}"]},
        {"ResourceArns": ["app"]},
        {"CallerArn": f"arn:aws:sts::{ACCOUNT}:assumed-role/a/b"},
        {"CallerArn": f"arn:aws:iam::{ACCOUNT}:role/a", "ResourcePolicy": "{}"},
        {"ResourcePolicy": document()},
        {"ResourceOwner": "somebody"},
        {"PermissionsBoundaryPolicyInputList": [document(statement("Allow", "*"))] * 2},
        {"ResourceArns": [f"{APP}{number}" for number in range(1_001)]},
        {"PolicyInputList": [document(statement("Allow", "ecr:*", "*" + "?" * 90_000))] * 3},
    ],
)
def test_what_cannot_be_simulated_is_refused(driver: Driver, given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {
        "ActionNames": ["ecr:PutImage"],
        "PolicyInputList": [document(statement("Allow", "ecr:*"))],
    }
    with pytest.raises(ClientError) as refused:
        driver.client("iam").simulate_custom_policy(**{**usual, **given})
    told: Any = refused.value.response
    assert told["Error"]["Code"] == "InvalidInput"


def test_who_is_not_there_is_not_simulated(iam: Any) -> None:
    for arn, code in (
        (f"arn:aws:iam::{ACCOUNT}:user/alice", "NoSuchEntity"),  # the path is missing
        (f"arn:aws:iam::{ACCOUNT}:role/team/alice", "NoSuchEntity"),
        ("arn:aws:iam::111122223333:user/team/alice", "NoSuchEntity"),
        (f"arn:aws:iam::{ACCOUNT}:root", "InvalidInput"),
        ("a" * 20, "InvalidInput"),
    ):
        with pytest.raises(ClientError) as refused:
            iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["ecr:PutImage"])
        told: Any = refused.value.response
        assert told["Error"]["Code"] == code


def test_a_simulation_says_what_the_door_says(driver: Driver, iam: Any) -> None:
    iam.attach_user_policy(UserName="alice", PolicyArn=POWER_USER)
    made = iam.create_access_key(UserName="alice")["AccessKey"]
    ecr = driver.client("ecr", key=(made["AccessKeyId"], made["SecretAccessKey"]))
    actions = {
        "ecr:DescribeRepositories": ecr.describe_repositories,
        "ecr:DescribeRegistry": ecr.describe_registry,
    }
    said = decisions(iam.simulate_principal_policy(PolicySourceArn=ALICE, ActionNames=list(actions)))
    found: dict[str, str] = {}
    for action, call in actions.items():
        try:
            call()
            found[action] = "allowed"
        except ClientError:
            found[action] = "implicitDeny"
    iam.delete_access_key(UserName="alice", AccessKeyId=made["AccessKeyId"])

    assert said == found
    assert set(found.values()) == {"allowed", "implicitDeny"}
