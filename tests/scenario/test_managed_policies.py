"""Managed policies as boto3 and docker meet them: what they let a user do, and how they are listed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, REGION, Driver, authorization
from tests.scenario.images import Registry, SmallImage, error_of

POWER_USER = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}
)


@pytest.fixture
def iam(driver: Driver) -> Any:
    return driver.client("iam")


@pytest.fixture
def alice(iam: Any) -> Iterator[tuple[str, str]]:
    """A user with nothing; gives the key."""
    iam.create_user(UserName="alice")
    made = iam.create_access_key(UserName="alice")["AccessKey"]
    yield made["AccessKeyId"], made["SecretAccessKey"]
    iam.delete_access_key(UserName="alice", AccessKeyId=made["AccessKeyId"])
    for policy in iam.list_attached_user_policies(UserName="alice")["AttachedPolicies"]:
        iam.detach_user_policy(UserName="alice", PolicyArn=policy["PolicyArn"])
    for name in iam.list_user_policies(UserName="alice")["PolicyNames"]:
        iam.delete_user_policy(UserName="alice", PolicyName=name)
    iam.delete_user(UserName="alice")


@pytest.fixture
def policies(iam: Any) -> Iterator[list[str]]:
    """The ARNs of three policies, in the order of lists."""
    arns = [
        iam.create_policy(PolicyName=name, PolicyDocument=DOCUMENT, Path=path)["Policy"]["Arn"]
        for name, path in (("a", "/team/"), ("b", "/"), ("c", "/team/"))
    ]
    yield arns
    for arn in arns:
        iam.delete_policy(PolicyArn=arn)


def told(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    found: Any = error.value.response
    return found["Error"]["Code"], found["Error"]["Message"]


def test_a_power_user_pushes_until_the_policy_is_detached(
    driver: Driver, iam: Any, alice: tuple[str, str]
) -> None:
    driver.client("ecr").create_repository(repositoryName="power/app")
    iam.attach_user_policy(UserName="alice", PolicyArn=POWER_USER)
    ecr = driver.client("ecr", key=alice)
    registry = Registry(driver, authorization(ecr), "power/app")
    digest = registry.push(SmallImage.named("of a power user"), "v1")
    found = ecr.batch_get_image(repositoryName="power/app", imageIds=[{"imageTag": "v1"}])["images"]
    iam.detach_user_policy(UserName="alice", PolicyArn=POWER_USER)
    with pytest.raises(ClientError) as denied:
        ecr.initiate_layer_upload(repositoryName="power/app")
    by_docker = error_of(registry.call("POST", "/blobs/uploads/"))

    sentence = (
        f"User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: ecr:InitiateLayerUpload on "
        f"resource: arn:aws:ecr:{REGION}:{ACCOUNT}:repository/power/app "
        "because no identity-based policy allows the ecr:InitiateLayerUpload action"
    )
    assert [image["imageId"]["imageDigest"] for image in found] == [digest]
    assert told(denied) == ("AccessDeniedException", sentence)
    assert by_docker == (403, "DENIED", sentence)


def test_which_policies_may_be_attached_is_a_condition(
    driver: Driver, iam: Any, alice: tuple[str, str]
) -> None:
    key = {"ArnEquals": {"iam:PolicyARN": POWER_USER}}
    bound = {"StringEquals": {"iam:PermissionsBoundary": POWER_USER}}
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["iam:AttachUserPolicy", "iam:DetachUserPolicy"],
                "Resource": "*",
                "Condition": key,
            },
            {
                "Effect": "Allow",
                "Action": "iam:PutUserPermissionsBoundary",
                "Resource": "*",
                "Condition": bound,
            },
        ],
    }
    iam.put_user_policy(UserName="alice", PolicyName="p", PolicyDocument=json.dumps(document))
    as_alice = driver.client("iam", key=alice)
    as_alice.attach_user_policy(UserName="alice", PolicyArn=POWER_USER)
    as_alice.detach_user_policy(UserName="alice", PolicyArn=POWER_USER)
    as_alice.put_user_permissions_boundary(UserName="alice", PermissionsBoundary=POWER_USER)
    iam.delete_user_permissions_boundary(UserName="alice")
    refused: list[tuple[Any, dict[str, str]]] = [
        (as_alice.attach_user_policy, {"PolicyArn": ADMINISTRATOR}),
        (as_alice.put_user_permissions_boundary, {"PermissionsBoundary": ADMINISTRATOR}),
        (as_alice.delete_user_permissions_boundary, {}),
    ]
    for operation, given in refused:
        with pytest.raises(ClientError) as denied:
            operation(UserName="alice", **given)
        assert told(denied)[0] == "AccessDenied"

    assert iam.list_attached_user_policies(UserName="alice")["AttachedPolicies"] == []


def test_policies_are_listed_page_by_page(iam: Any, policies: list[str]) -> None:
    def listed(size: int, **given: Any) -> list[str]:
        pages = iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": size}, **given)
        found = [page["Policies"] for page in pages]
        assert all(len(page) <= size for page in found)
        return [policy["Arn"] for page in found for policy in page]

    everything = listed(1)
    assert listed(2, Scope="Local") == policies
    assert everything[:3] == policies
    assert set(everything[3:]) == set(listed(100, Scope="AWS"))
    assert listed(1, Scope="Local", PathPrefix="/team/") == [policies[0], policies[2]]
    assert listed(1, PathPrefix="/aws-service-role/") == listed(
        5, Scope="AWS", PathPrefix="/aws-service-role/"
    )
    assert listed(2, OnlyAttached=True) == []
    with pytest.raises(ClientError) as malformed:
        iam.list_policies(Marker="OS9h")
    assert told(malformed) == ("ValidationError", "Invalid Marker.")


def test_who_uses_a_policy_is_listed(iam: Any, alice: tuple[str, str], policies: list[str]) -> None:
    del alice
    arn = policies[0]
    iam.create_group(GroupName="builders", Path="/team/")
    iam.attach_group_policy(GroupName="builders", PolicyArn=arn)
    iam.put_user_permissions_boundary(UserName="alice", PermissionsBoundary=arn)

    def users_of(**given: Any) -> tuple[list[str], list[str]]:
        found = iam.list_entities_for_policy(PolicyArn=arn, **given)
        assert (found["PolicyRoles"], found["IsTruncated"]) == ([], False)
        return [each["UserName"] for each in found["PolicyUsers"]], [
            each["GroupName"] for each in found["PolicyGroups"]
        ]

    assert users_of() == (["alice"], ["builders"])
    assert users_of(PolicyUsageFilter="PermissionsPolicy") == ([], ["builders"])
    assert users_of(PolicyUsageFilter="PermissionsBoundary") == (["alice"], [])
    assert users_of(EntityFilter="User") == (["alice"], [])
    assert users_of(PathPrefix="/team/") == ([], ["builders"])
    pages = iam.get_paginator("list_entities_for_policy").paginate(
        PolicyArn=arn, PaginationConfig={"PageSize": 1}
    )
    assert [len(page["PolicyUsers"]) + len(page["PolicyGroups"]) for page in pages] == [1, 1]
    shown = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (shown["AttachmentCount"], shown["PermissionsBoundaryUsageCount"]) == (1, 1)
    bounding = iam.list_policies(PolicyUsageFilter="PermissionsBoundary")["Policies"]
    assert [each["Arn"] for each in bounding] == [arn]
    iam.detach_group_policy(GroupName="builders", PolicyArn=arn)
    iam.delete_group(GroupName="builders")
    iam.delete_user_permissions_boundary(UserName="alice")


def test_versions_are_listed_page_by_page(iam: Any, policies: list[str]) -> None:
    for _ in range(2):
        iam.create_policy_version(PolicyArn=policies[0], PolicyDocument=DOCUMENT)
    pages = iam.get_paginator("list_policy_versions").paginate(
        PolicyArn=policies[0], PaginationConfig={"PageSize": 2}
    )
    found = [[each["VersionId"] for each in page["Versions"]] for page in pages]
    for version in ("v2", "v3"):
        iam.delete_policy_version(PolicyArn=policies[0], VersionId=version)

    assert found == [["v3", "v2"], ["v1"]]


def test_what_names_no_policy_is_refused(iam: Any, policies: list[str]) -> None:
    with pytest.raises(ClientError) as malformed:
        iam.get_policy(PolicyArn="a policy of this account")
    with pytest.raises(ClientError) as missing:
        iam.get_policy_version(PolicyArn=policies[0], VersionId="v9")

    assert told(malformed) == ("ValidationError", "Invalid ARN:  Could not be parsed!")
    assert told(missing) == (
        "NoSuchEntity",
        f"Policy {policies[0]} version v9 does not exist or is not attachable.",
    )


def test_the_account_counts_its_policies(iam: Any, policies: list[str]) -> None:
    summary = iam.get_account_summary()["SummaryMap"]

    assert summary["Policies"] == len(policies)
    assert (summary["PoliciesQuota"], summary["VersionsPerPolicyQuota"]) == (1_500, 5)
    assert summary["AttachedPoliciesPerUserQuota"] == summary["AttachedPoliciesPerRoleQuota"]
