"""Managed policies, attachments, boundaries, roles and providers, as boto3 and Terraform make and unmake them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, REGION, Driver

POWER_USER = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"


def document(*actions: str, effect: str = "Allow") -> str:
    statement = {"Effect": effect, "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trust(principal: dict[str, Any], action: str = "sts:AssumeRole", **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def told(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    found: Any = error.value.response
    return found["Error"]["Code"], found["Error"]["Message"]


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
    iam.delete_user(UserName="alice")


def may_create(driver: Driver, key: tuple[str, str], name: str) -> str:
    """Tell what becomes of CreateRepository: nothing, or the sentence."""
    try:
        driver.client("ecr", key=key).create_repository(repositoryName=name)
    except ClientError as error:
        return str(error.response.get("Error", {}).get("Message"))
    return ""


def test_an_attached_policy_counts_until_it_is_detached(
    driver: Driver, iam: Any, alice: tuple[str, str]
) -> None:
    resource = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
    ecr = driver.client("ecr", key=alice)

    def described() -> str:
        try:
            ecr.describe_repositories()
        except ClientError as error:
            return str(error.response.get("Error", {}).get("Message"))
        return ""

    denied = (
        f"User: arn:aws:iam::{ACCOUNT}:user/alice is not authorized to perform: ecr:DescribeRepositories on "
        f"resource: {resource}/* because no identity-based policy allows the ecr:DescribeRepositories action"
    )
    assert described() == denied
    iam.attach_user_policy(UserName="alice", PolicyArn=READ_ONLY)
    assert described() == ""
    iam.detach_user_policy(UserName="alice", PolicyArn=READ_ONLY)
    assert described() == denied
    with pytest.raises(ClientError) as missing:
        iam.detach_user_policy(UserName="alice", PolicyArn=READ_ONLY)
    assert told(missing) == ("NoSuchEntity", f"Policy {READ_ONLY} was not found.")
    nowhere = f"arn:aws:iam::{ACCOUNT}:policy/nowhere"
    with pytest.raises(ClientError) as missing:
        iam.attach_user_policy(UserName="alice", PolicyArn=nowhere)
    assert told(missing) == ("NoSuchEntity", f"Policy {nowhere} does not exist or is not attachable.")


def test_the_default_version_of_a_policy_is_what_counts(
    driver: Driver, iam: Any, alice: tuple[str, str]
) -> None:
    made = iam.create_policy(
        PolicyName="make", PolicyDocument=document("ecr:CreateRepository"), Path="/team/"
    )["Policy"]
    arn = made["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/team/make"
    assert (made["DefaultVersionId"], made["AttachmentCount"], made["IsAttachable"]) == ("v1", 0, True)
    iam.attach_user_policy(UserName="alice", PolicyArn=arn)
    assert may_create(driver, alice, "versions/one") == ""
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document("ecr:Nothing"))
    assert may_create(driver, alice, "versions/two") == ""
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert "no identity-based policy allows" in may_create(driver, alice, "versions/three")
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [(each["VersionId"], each["IsDefaultVersion"]) for each in versions] == [
        ("v2", True),
        ("v1", False),
    ]
    found = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    assert found == json.loads(document("ecr:CreateRepository"))
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert [each["UserName"] for each in iam.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"]] == [
        "alice"
    ]
    with pytest.raises(ClientError) as conflict:
        iam.delete_policy(PolicyArn=arn)
    assert told(conflict)[0] == "DeleteConflict"
    with pytest.raises(ClientError) as conflict:
        iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    assert told(conflict)[0] == "DeleteConflict"
    iam.detach_user_policy(UserName="alice", PolicyArn=arn)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy(PolicyArn=arn)
    with pytest.raises(ClientError) as missing:
        iam.get_policy(PolicyArn=arn)
    assert told(missing) == ("NoSuchEntity", f"Policy {arn} was not found.")


def test_aws_own_policies_are_there_and_stay_as_they_are(iam: Any) -> None:
    found = iam.get_policy(PolicyArn=POWER_USER)["Policy"]
    shown = iam.get_policy_version(PolicyArn=POWER_USER, VersionId=found["DefaultVersionId"])
    assert "ecr:PutImage" in shown["PolicyVersion"]["Document"]["Statement"][0]["Action"]
    listed = iam.list_policies(Scope="AWS")["Policies"]
    assert POWER_USER in {each["Arn"] for each in listed}
    with pytest.raises(ClientError) as refused:
        iam.delete_policy(PolicyArn=POWER_USER)
    assert told(refused)[0] == "NoSuchEntity"


def test_a_boundary_holds_a_user_inside(driver: Driver, iam: Any, alice: tuple[str, str]) -> None:
    iam.attach_user_policy(UserName="alice", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    assert may_create(driver, alice, "bounded/one") == ""
    iam.put_user_permissions_boundary(UserName="alice", PermissionsBoundary=READ_ONLY)
    assert may_create(driver, alice, "bounded/two").endswith(
        "because no permissions boundary allows the ecr:CreateRepository action"
    )
    shown = iam.get_user(UserName="alice")["User"]["PermissionsBoundary"]
    assert shown["PermissionsBoundaryArn"] == READ_ONLY
    iam.delete_user_permissions_boundary(UserName="alice")
    assert may_create(driver, alice, "bounded/two") == ""


def test_a_role_is_made_changed_assumed_and_deleted(driver: Driver, iam: Any, alice: tuple[str, str]) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/ci/builder"
    made = iam.create_role(
        RoleName="builder",
        Path="/ci/",
        AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/alice"}),
        Tags=[{"Key": "Team", "Value": "ci"}],
    )["Role"]
    assert made["Arn"] == arn
    assert "MaxSessionDuration" not in made
    iam.attach_role_policy(RoleName="builder", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.update_role(RoleName="builder", MaxSessionDuration=7200, Description="builds")
    found = iam.get_role(RoleName="builder")["Role"]
    assert (found["MaxSessionDuration"], found["Description"], found["Tags"]) == (
        7200,
        "builds",
        [{"Key": "Team", "Value": "ci"}],
    )
    credentials = driver.client("sts", key=alice).assume_role(RoleArn=arn, RoleSessionName="one")
    assert credentials["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/builder/one"
    iam.update_assume_role_policy(RoleName="builder", PolicyDocument=trust({"Service": "ecr.amazonaws.com"}))
    with pytest.raises(ClientError) as denied:
        driver.client("sts", key=alice).assume_role(RoleArn=arn, RoleSessionName="two")
    assert told(denied)[0] == "AccessDenied"
    assert iam.list_instance_profiles_for_role(RoleName="builder")["InstanceProfiles"] == []
    with pytest.raises(ClientError) as conflict:
        iam.delete_role(RoleName="builder")
    assert told(conflict)[0] == "DeleteConflict"
    iam.detach_role_policy(RoleName="builder", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.delete_role(RoleName="builder")
    with pytest.raises(ClientError) as missing:
        iam.get_role(RoleName="builder")
    assert told(missing) == ("NoSuchEntity", "The role with name builder cannot be found.")


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        ("{", "This policy contains invalid Json"),
        (
            trust({"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"}),
            f'Invalid principal in policy: "AWS":"arn:aws:iam::{ACCOUNT}:user/nobody"',
        ),
        (
            trust(
                {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"},
                "sts:AssumeRoleWithWebIdentity",
            ),
            (
                "Missing required condition: token.actions.githubusercontent.com:sub has to tell whose tokens "
                "count, for many share this provider"
            ),
        ),
    ],
)
def test_a_trust_policy_that_is_none_is_refused(iam: Any, policy: str, sentence: str) -> None:
    with pytest.raises(ClientError) as refused:
        iam.create_role(RoleName="never", AssumeRolePolicyDocument=policy)
    assert told(refused) == ("MalformedPolicyDocument", sentence)


def test_a_services_role_is_its_own(iam: Any) -> None:
    made = iam.create_service_linked_role(AWSServiceName="replication.ecr.amazonaws.com")["Role"]
    name = made["RoleName"]
    assert made["Path"] == "/aws-service-role/replication.ecr.amazonaws.com/"
    with pytest.raises(ClientError) as refused:
        iam.delete_role(RoleName=name)
    assert told(refused)[0] == "UnmodifiableEntity"
    with pytest.raises(ClientError) as taken:
        iam.create_service_linked_role(AWSServiceName="replication.ecr.amazonaws.com")
    assert told(taken) == (
        "InvalidInput",
        f"Service role name {name} has been taken in this account, please try a different suffix.",
    )
    with pytest.raises(ClientError) as refused:
        iam.create_service_linked_role(AWSServiceName="replication.ecr.amazonaws.com", CustomSuffix="x")
    assert told(refused) == (
        "InvalidInput",
        "Custom suffix is not allowed for replication.ecr.amazonaws.com",
    )
    task = iam.delete_service_linked_role(RoleName=name)["DeletionTaskId"]
    with pytest.raises(ClientError) as missing:
        iam.get_service_linked_role_deletion_status(DeletionTaskId="task/of/nothing")
    assert told(missing)[0] == "NoSuchEntity"
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    with pytest.raises(ClientError) as unknown:
        iam.create_service_linked_role(AWSServiceName="ec2.amazonaws.com")
    assert told(unknown)[0] == "InvalidInput"


def test_a_provider_is_made_changed_and_deleted(iam: Any) -> None:
    arn = iam.create_open_id_connect_provider(
        Url="https://ci.example.com/realm", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40]
    )["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:oidc-provider/ci.example.com/realm"
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="other")
    iam.remove_client_id_from_open_id_connect_provider(
        OpenIDConnectProviderArn=arn, ClientID="sts.amazonaws.com"
    )
    iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"], found["Tags"]) == (
        "ci.example.com/realm",
        ["other"],
        [{"Key": "a", "Value": "b"}],
    )
    with pytest.raises(ClientError) as taken:
        iam.create_open_id_connect_provider(Url="https://ci.example.com/realm")
    assert told(taken)[0] == "EntityAlreadyExists"
    assert [each["Arn"] for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]] == [
        arn
    ]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    with pytest.raises(ClientError) as missing:
        iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert told(missing)[0] == "NoSuchEntity"


def test_tags_of_users_roles_and_policies(iam: Any, alice: tuple[str, str]) -> None:
    iam.tag_user(UserName="alice", Tags=[{"Key": "Team", "Value": "a"}, {"Key": "b", "Value": "c"}])
    iam.tag_user(UserName="alice", Tags=[{"Key": "team", "Value": "z"}])
    iam.untag_user(UserName="alice", TagKeys=["B"])
    assert iam.list_user_tags(UserName="alice")["Tags"] == [{"Key": "team", "Value": "z"}]
    arn = iam.create_policy(PolicyName="tagged", PolicyDocument=document("ecr:*"))["Policy"]["Arn"]
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "k", "Value": "v"}])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    iam.untag_policy(PolicyArn=arn, TagKeys=["k"])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == []
    iam.delete_policy(PolicyArn=arn)


def test_who_manages_iam_is_managed_by_iam(driver: Driver, iam: Any, alice: tuple[str, str]) -> None:
    as_alice = driver.client("iam", key=alice)
    for call in (
        lambda: as_alice.create_role(RoleName="mine", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT})),
        lambda: as_alice.attach_user_policy(UserName="alice", PolicyArn=POWER_USER),
        lambda: as_alice.get_policy(PolicyArn=POWER_USER),
        as_alice.list_roles,
    ):
        with pytest.raises(ClientError) as denied:
            call()
        assert told(denied)[0] == "AccessDenied"
    iam.put_user_policy(
        UserName="alice",
        PolicyName="attach",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "iam:AttachUserPolicy",
                        "Resource": "*",
                        "Condition": {"ArnEquals": {"iam:PolicyARN": READ_ONLY}},
                    }
                ],
            }
        ),
    )
    as_alice.attach_user_policy(UserName="alice", PolicyArn=READ_ONLY)
    with pytest.raises(ClientError) as denied:
        as_alice.attach_user_policy(UserName="alice", PolicyArn=POWER_USER)
    assert told(denied)[0] == "AccessDenied"
    iam.delete_user_policy(UserName="alice", PolicyName="attach")


def test_tags_of_users_decide_who_may_change_them(driver: Driver, iam: Any, alice: tuple[str, str]) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "iam:GetUser",
        "Resource": "*",
        "Condition": {"StringEquals": {"iam:ResourceTag/Team": "a"}},
    }
    written = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="alice", PolicyName="own", PolicyDocument=written)
    as_alice = driver.client("iam", key=alice)
    with pytest.raises(ClientError) as denied:
        as_alice.get_user(UserName="alice")
    assert told(denied)[0] == "AccessDenied"
    iam.tag_user(UserName="alice", Tags=[{"Key": "team", "Value": "a"}])
    assert as_alice.get_user(UserName="alice")["User"]["UserName"] == "alice"
    iam.delete_user_policy(UserName="alice", PolicyName="own")


def test_who_may_manage_only_what_is_bounded(driver: Driver, iam: Any, alice: tuple[str, str]) -> None:
    """The way in which AWS delegates the making of users and roles."""
    as_alice = driver.client("iam", key=alice)
    bounded = {"Condition": {"StringEquals": {"iam:PermissionsBoundary": READ_ONLY}}}
    statement = {
        "Effect": "Allow",
        "Action": ["iam:CreateRole", "iam:AttachRolePolicy", "iam:PutRolePolicy"],
        "Resource": "*",
    }
    iam.put_user_policy(
        UserName="alice",
        PolicyName="delegated",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement | bounded]}),
    )
    policy = {"PolicyName": "p", "PolicyDocument": document("ecr:*")}
    iam.create_role(RoleName="unbounded", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))
    calls: tuple[Callable[[], Any], ...] = (
        lambda: as_alice.create_role(RoleName="free", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT})),
        lambda: as_alice.attach_role_policy(RoleName="unbounded", PolicyArn=POWER_USER),
        lambda: as_alice.put_role_policy(RoleName="unbounded", **policy),
    )
    for call in calls:
        with pytest.raises(ClientError) as denied:
            call()
        assert told(denied)[0] == "AccessDenied"
    as_alice.create_role(
        RoleName="bounded",
        AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}),
        PermissionsBoundary=READ_ONLY,
    )
    as_alice.attach_role_policy(RoleName="bounded", PolicyArn=POWER_USER)
    as_alice.put_role_policy(RoleName="bounded", **policy)
    iam.delete_role_permissions_boundary(RoleName="bounded")
    with pytest.raises(ClientError) as denied:
        as_alice.put_role_policy(RoleName="bounded", **policy)
    assert told(denied)[0] == "AccessDenied"
    iam.delete_user_policy(UserName="alice", PolicyName="delegated")
    iam.delete_role_policy(RoleName="bounded", PolicyName="p")
    iam.detach_role_policy(RoleName="bounded", PolicyArn=POWER_USER)
    for name in ("bounded", "unbounded"):
        iam.delete_role(RoleName=name)
