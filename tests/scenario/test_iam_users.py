"""A root makes users, gives them keys and takes them away, as boto3 and Terraform do it."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, Driver, authorization


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int, str]:
    """What a client is told: code, status and sentence."""
    told: Any = error.value.response
    return told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Message"]


@pytest.fixture
def iam(driver: Driver) -> Iterator[Any]:
    """A client of the root, in an account that is left without users and groups."""
    client = driver.client("iam")
    yield client
    for user in client.list_users()["Users"]:
        purge(client, user["UserName"])
    for group in client.list_groups()["Groups"]:
        name = group["GroupName"]
        for policy in client.list_group_policies(GroupName=name)["PolicyNames"]:
            client.delete_group_policy(GroupName=name, PolicyName=policy)
        client.delete_group(GroupName=name)


def purge(iam: Any, name: str) -> None:
    """Delete a user in the order in which Terraform's force_destroy does it."""
    for group in iam.list_groups_for_user(UserName=name)["Groups"]:
        iam.remove_user_from_group(UserName=name, GroupName=group["GroupName"])
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    assert iam.list_ssh_public_keys(UserName=name)["SSHPublicKeys"] == []
    assert iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"] == []
    assert iam.list_mfa_devices(UserName=name)["MFADevices"] == []
    with pytest.raises(ClientError) as missing:
        iam.delete_login_profile(UserName=name)
    assert code_of(missing)[:2] == ("NoSuchEntity", 404)
    assert iam.list_signing_certificates(UserName=name)["Certificates"] == []
    assert iam.list_service_specific_credentials(UserName=name)["ServiceSpecificCredentials"] == []
    for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
        iam.delete_user_policy(UserName=name, PolicyName=policy)
    iam.delete_user(UserName=name)


def key_of(made: Any) -> tuple[str, str]:
    return made["AccessKey"]["AccessKeyId"], made["AccessKey"]["SecretAccessKey"]


def test_a_user_is_known_by_its_key_until_the_key_is_taken_away(driver: Driver, iam: Any) -> None:
    user = iam.create_user(UserName="alice", Path="/team/")["User"]
    key = key_of(iam.create_access_key(UserName="alice"))
    as_alice = driver.client("sts", key=key)

    assert user["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/team/alice"
    assert re.fullmatch("AIDA[A-Z2-7]{17}", user["UserId"])
    told = as_alice.get_caller_identity()
    assert (told["UserId"], told["Account"], told["Arn"]) == (user["UserId"], ACCOUNT, user["Arn"])

    iam.update_access_key(UserName="alice", AccessKeyId=key[0], Status="Inactive")
    with pytest.raises(ClientError) as inactive:
        as_alice.get_caller_identity()
    iam.update_access_key(UserName="alice", AccessKeyId=key[0], Status="Active")
    as_alice.get_caller_identity()
    iam.delete_access_key(UserName="alice", AccessKeyId=key[0])
    with pytest.raises(ClientError) as deleted:
        as_alice.get_caller_identity()

    assert code_of(inactive) == code_of(deleted)
    assert code_of(deleted)[:2] == ("InvalidClientTokenId", 403)


def test_a_new_user_may_do_nothing(driver: Driver, iam: Any) -> None:
    iam.create_user(UserName="alice", Path="/team/")
    key = key_of(iam.create_access_key(UserName="alice"))

    with pytest.raises(ClientError) as denied:
        driver.client("iam", key=key).get_user()
    with pytest.raises(ClientError) as denied_ecr:
        driver.client("ecr", key=key).get_authorization_token()
    with pytest.raises(ClientError) as denied_missing:
        driver.client("iam", key=key).get_user(UserName="bob")

    who = f"User: arn:aws:iam::{ACCOUNT}:user/team/alice is not authorized to perform:"
    assert code_of(denied) == (
        "AccessDenied",
        403,
        (
            f"{who} iam:GetUser on resource: arn:aws:iam::{ACCOUNT}:user/alice because no identity-based policy "
            "allows the iam:GetUser action"
        ),
    )
    assert code_of(denied_ecr)[:2] == ("AccessDeniedException", 400)
    assert code_of(denied_missing)[2] == code_of(denied)[2].replace("user/alice", "user/bob")


def test_a_key_that_is_made_anew_tells_when_and_for_what_it_was_used(driver: Driver, iam: Any) -> None:
    iam.create_user(UserName="alice")
    key = key_of(iam.create_access_key(UserName="alice"))
    before = iam.get_access_key_last_used(AccessKeyId=key[0])
    driver.client("sts", region="eu-west-1", key=key).get_caller_identity()
    after = iam.get_access_key_last_used(AccessKeyId=key[0])

    assert before["UserName"] == after["UserName"] == "alice"
    assert (before["AccessKeyLastUsed"]["ServiceName"], before["AccessKeyLastUsed"]["Region"]) == (
        "N/A",
        "N/A",
    )
    assert (after["AccessKeyLastUsed"]["ServiceName"], after["AccessKeyLastUsed"]["Region"]) == (
        "sts",
        "eu-west-1",
    )
    assert after["AccessKeyLastUsed"]["LastUsedDate"].year > 2000
    with pytest.raises(ClientError) as missing:
        iam.get_access_key_last_used(AccessKeyId="AKIAQAAAAAAAAAAAAAAA")
    assert code_of(missing) == (
        "NoSuchEntity",
        404,
        "The Access Key with id AKIAQAAAAAAAAAAAAAAA cannot be found.",
    )


def test_a_root_looks_at_itself_and_its_keys(iam: Any) -> None:
    user = iam.get_user()["User"]
    keys = iam.list_access_keys()["AccessKeyMetadata"]

    assert (user["Arn"], user["UserId"]) == (f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
    assert user["CreateDate"].year > 2000
    assert "UserName" not in user
    assert [key["Status"] for key in keys] == ["Active"]


def test_a_user_is_deleted_only_when_nothing_hangs_on_it(iam: Any) -> None:
    iam.create_user(UserName="alice")
    iam.create_group(GroupName="builders")
    iam.add_user_to_group(GroupName="builders", UserName="alice")
    key_id = iam.create_access_key(UserName="alice")["AccessKey"]["AccessKeyId"]
    sentences: list[str] = []
    unhooks: tuple[Callable[[], Any], ...] = (
        lambda: iam.delete_access_key(UserName="alice", AccessKeyId=key_id),
        lambda: iam.remove_user_from_group(GroupName="builders", UserName="alice"),
    )
    for unhook in unhooks:
        with pytest.raises(ClientError) as conflict:
            iam.delete_user(UserName="alice")
        assert code_of(conflict)[:2] == ("DeleteConflict", 409)
        sentences.append(code_of(conflict)[2])
        unhook()
    iam.delete_user(UserName="alice")

    assert sentences == [
        "Cannot delete entity, must delete access keys first.",
        "Cannot delete entity, must remove users from group first.",
    ]
    with pytest.raises(ClientError) as missing:
        iam.get_user(UserName="alice")
    assert code_of(missing) == ("NoSuchEntity", 404, "The user with name alice cannot be found.")


def test_a_renamed_user_keeps_its_id_and_its_keys(driver: Driver, iam: Any) -> None:
    before = iam.create_user(UserName="alice")["User"]
    key = key_of(iam.create_access_key(UserName="alice"))
    iam.create_user(UserName="bob")
    with pytest.raises(ClientError) as taken:
        iam.update_user(UserName="alice", NewUserName="BOB")
    iam.update_user(UserName="alice", NewUserName="Alice", NewPath="/team/")

    assert code_of(taken) == ("EntityAlreadyExists", 409, "User with name BOB already exists.")
    after = iam.get_user(UserName="ALICE")["User"]
    assert (after["UserId"], after["Arn"]) == (before["UserId"], f"arn:aws:iam::{ACCOUNT}:user/team/Alice")
    assert driver.client("sts", key=key).get_caller_identity()["Arn"] == after["Arn"]


def test_lists_are_paged_and_go_by_path(iam: Any) -> None:
    for number in range(5):
        iam.create_user(UserName=f"user-{number}", Path="/even/" if number % 2 == 0 else "/odd/")
    pages = list(iam.get_paginator("list_users").paginate(PaginationConfig={"PageSize": 2}))
    even = iam.list_users(PathPrefix="/even/")["Users"]
    with pytest.raises(ClientError) as malformed:
        iam.list_users(Marker="no marker")

    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert [user["UserName"] for page in pages for user in page["Users"]] == [
        f"user-{number}" for number in range(5)
    ]
    assert [user["UserName"] for user in even] == ["user-0", "user-2", "user-4"]
    assert code_of(malformed)[:2] == ("ValidationError", 400)


def test_groups_have_users_and_users_have_groups(iam: Any) -> None:
    group = iam.create_group(GroupName="builders", Path="/team/")["Group"]
    for name in ("bob", "alice"):
        iam.create_user(UserName=name)
        iam.add_user_to_group(GroupName="builders", UserName=name)
        iam.add_user_to_group(GroupName="builders", UserName=name)
    found = iam.get_group(GroupName="builders")
    with pytest.raises(ClientError) as in_use:
        iam.delete_group(GroupName="builders")
    iam.remove_user_from_group(GroupName="builders", UserName="bob")
    with pytest.raises(ClientError) as twice:
        iam.remove_user_from_group(GroupName="builders", UserName="bob")
    iam.update_group(GroupName="builders", NewGroupName="makers", NewPath="/")

    assert group["Arn"] == f"arn:aws:iam::{ACCOUNT}:group/team/builders"
    assert re.fullmatch("AGPA[A-Z2-7]{17}", group["GroupId"])
    assert (found["Group"]["GroupId"], found["IsTruncated"]) == (group["GroupId"], False)
    assert [user["UserName"] for user in found["Users"]] == ["alice", "bob"]
    assert code_of(in_use)[0] == "DeleteConflict"
    assert code_of(twice)[0] == "NoSuchEntity"
    assert [each["Arn"] for each in iam.list_groups_for_user(UserName="alice")["Groups"]] == [
        f"arn:aws:iam::{ACCOUNT}:group/makers"
    ]
    assert iam.list_groups_for_user(UserName="bob")["Groups"] == []


def test_what_a_user_cannot_have_is_told_as_missing(iam: Any) -> None:
    iam.create_user(UserName="alice")
    with pytest.raises(ClientError) as no_profile:
        iam.get_login_profile(UserName="alice")
    with pytest.raises(ClientError) as nobody:
        iam.list_mfa_devices(UserName="nobody")
    for _ in range(2):
        iam.create_access_key(UserName="alice")
    with pytest.raises(ClientError) as too_many:
        iam.create_access_key(UserName="alice")

    assert code_of(no_profile) == ("NoSuchEntity", 404, "Login Profile for User alice cannot be found.")
    assert code_of(nobody) == ("NoSuchEntity", 404, "The user with name nobody cannot be found.")
    assert code_of(too_many) == ("LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2")
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_inline_policies_come_back_as_they_went_in(iam: Any) -> None:
    text = """{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/100%25 <&> \u00e9+*"}]
}
"""
    iam.create_user(UserName="alice")
    iam.create_group(GroupName="builders")
    iam.put_user_policy(UserName="alice", PolicyName="push", PolicyDocument=text)
    iam.put_group_policy(GroupName="builders", PolicyName="push", PolicyDocument=text)
    with pytest.raises(ClientError) as malformed:
        iam.put_user_policy(UserName="alice", PolicyName="bad", PolicyDocument='{"Version": "2012-10-17"')
    with pytest.raises(ClientError) as too_large:
        iam.put_user_policy(
            UserName="alice", PolicyName="large", PolicyDocument=text.replace("100", "1" * 3_000)
        )
    with pytest.raises(ClientError) as missing:
        iam.get_user_policy(UserName="alice", PolicyName="pull")
    with pytest.raises(ClientError) as in_use:
        iam.delete_user(UserName="alice")

    document = json.loads(text)
    told = iam.get_user_policy(UserName="alice", PolicyName="push")
    assert (told["UserName"], told["PolicyName"], told["PolicyDocument"]) == ("alice", "push", document)
    told = iam.get_group_policy(GroupName="builders", PolicyName="push")
    assert (told["GroupName"], told["PolicyDocument"]) == ("builders", document)
    assert iam.list_user_policies(UserName="alice")["PolicyNames"] == ["push"]
    assert code_of(malformed)[:2] == ("MalformedPolicyDocument", 400)
    assert code_of(too_large) == (
        "LimitExceeded",
        409,
        "Maximum policy size of 2048 bytes exceeded for user alice",
    )
    assert code_of(missing) == ("NoSuchEntity", 404, "The user policy with name pull cannot be found.")
    assert code_of(in_use)[2] == "Cannot delete entity, must delete policies first."


def test_an_account_is_summed_up(iam: Any) -> None:
    before = iam.get_account_summary()["SummaryMap"]
    iam.create_user(UserName="alice")
    iam.create_group(GroupName="builders")
    after = iam.get_account_summary()["SummaryMap"]

    assert (before["Users"], before["Groups"]) == (0, 0)
    assert (after["Users"], after["Groups"], after["AccessKeysPerUserQuota"]) == (1, 1, 2)
    assert after["AccountAccessKeysPresent"] == 1


def test_a_user_is_made_with_tags_whose_keys_differ_by_more_than_case(iam: Any) -> None:
    tags = [{"Key": "Stage", "Value": ""}, {"Key": "team", "Value": "é b"}]
    made = iam.create_user(UserName="alice", Tags=tags)["User"]
    for keys in (("team", "Team"), ("aws:team",)):
        with pytest.raises(ClientError) as refused:
            iam.create_user(UserName="bob", Tags=[{"Key": key, "Value": "x"} for key in keys])
        assert code_of(refused)[:2] == ("InvalidInput", 400)

    assert made["Tags"] == tags
    assert iam.get_user(UserName="alice")["User"]["Tags"] == tags
    assert [user["UserName"] for user in iam.list_users()["Users"]] == ["alice"]


def test_an_account_is_told_whole_page_by_page(iam: Any) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}],
    }
    for name in ("alice", "bob"):
        iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": "a"}])
    iam.create_group(GroupName="builders")
    iam.add_user_to_group(GroupName="builders", UserName="alice")
    iam.put_group_policy(GroupName="builders", PolicyName="push", PolicyDocument=json.dumps(document))
    found: dict[str, list[str]] = {"User": [], "Group": []}
    for page in iam.get_paginator("get_account_authorization_details").paginate(
        PaginationConfig={"PageSize": 1}
    ):
        for noun, names in found.items():
            names += [each[f"{noun}Name"] for each in page[f"{noun}DetailList"]]
    (group,) = iam.get_account_authorization_details(Filter=["Group"])["GroupDetailList"]
    users = iam.get_account_authorization_details(Filter=["User"])
    with pytest.raises(ClientError) as malformed:
        iam.get_account_authorization_details(Marker="OS9h")

    assert found == {"User": ["alice", "bob"], "Group": ["builders"]}
    assert group["GroupPolicyList"] == [{"PolicyName": "push", "PolicyDocument": document}]
    assert [(each["UserName"], each["GroupList"]) for each in users["UserDetailList"]] == [
        ("alice", ["builders"]),
        ("bob", []),
    ]
    assert users["UserDetailList"][0]["Tags"] == [{"Key": "team", "Value": "a"}]
    assert users["GroupDetailList"] == []
    assert code_of(malformed)[:2] == ("ValidationError", 400)


def test_a_docker_token_ends_with_the_key_that_it_was_given_to(driver: Driver, iam: Any) -> None:
    iam.create_user(UserName="alice")
    statement = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="alice", PolicyName="all", PolicyDocument=document)
    key = key_of(iam.create_access_key(UserName="alice"))
    headers = {"authorization": authorization(driver.client("ecr", key=key))}

    def status() -> int:
        return driver.http("GET", "/v2/nothing/tags/list", headers=headers).status

    statuses = [status()]
    iam.update_access_key(UserName="alice", AccessKeyId=key[0], Status="Inactive")
    statuses.append(status())
    iam.update_access_key(UserName="alice", AccessKeyId=key[0], Status="Active")
    statuses.append(status())
    iam.delete_user_policy(UserName="alice", PolicyName="all")
    statuses.append(status())
    iam.delete_access_key(UserName="alice", AccessKeyId=key[0])
    statuses.append(status())

    assert statuses == [404, 401, 404, 403, 401]


def test_policies_of_users_and_groups_take_effect_with_the_next_request(driver: Driver, iam: Any) -> None:
    iam.create_user(UserName="alice", Path="/team/")
    iam.create_user(UserName="bob")
    iam.create_group(GroupName="readers")
    as_alice = driver.client("iam", key=key_of(iam.create_access_key(UserName="alice")))
    statement = {
        "Effect": "Allow",
        "Action": "iam:GetUser",
        "Resource": f"arn:aws:iam::{ACCOUNT}:user/team/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def what_alice_sees() -> list[str]:
        seen: list[str] = []
        for name in ("alice", "Alice", "bob", "nobody"):
            try:
                seen.append(as_alice.get_user(UserName=name)["User"]["UserName"])
            except ClientError as error:
                told: Any = error.response
                seen.append(told["Error"]["Code"])
        return seen

    nothing, the_team = ["AccessDenied"] * 4, ["alice", "alice", "AccessDenied", "AccessDenied"]
    assert what_alice_sees() == nothing
    iam.put_user_policy(UserName="alice", PolicyName="see", PolicyDocument=document)
    assert what_alice_sees() == the_team
    iam.delete_user_policy(UserName="alice", PolicyName="see")
    iam.put_group_policy(GroupName="readers", PolicyName="see", PolicyDocument=document)
    assert what_alice_sees() == nothing
    iam.add_user_to_group(GroupName="readers", UserName="alice")
    assert what_alice_sees() == the_team
    iam.update_user(UserName="alice", NewPath="/")
    assert what_alice_sees() == nothing
    iam.update_user(UserName="alice", NewPath="/team/")
    assert what_alice_sees() == the_team
    iam.remove_user_from_group(GroupName="readers", UserName="alice")
    assert what_alice_sees() == nothing


def test_a_user_with_a_policy_may_rename_only_within_it(driver: Driver, iam: Any) -> None:
    iam.create_user(UserName="alice", Path="/team/")
    iam.create_user(UserName="ops")
    statement = {
        "Effect": "Allow",
        "Action": "iam:UpdateUser",
        "Resource": f"arn:aws:iam::{ACCOUNT}:user/team/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="ops", PolicyName="p", PolicyDocument=document)
    as_ops = driver.client("iam", key=key_of(iam.create_access_key(UserName="ops")))
    as_ops.update_user(UserName="alice", NewUserName="alicia")
    with pytest.raises(ClientError) as moved:
        as_ops.update_user(UserName="alicia", NewPath="/admins/")
    as_ops.update_user(UserName="alicia", NewPath="/team/a/")

    assert code_of(moved)[:2] == ("AccessDenied", 403)
    assert iam.get_user(UserName="alicia")["User"]["Path"] == "/team/a/"
