"""Roles are taken by whom they trust, as boto3 does it, for as long and as much as they are asked for."""

import json
import time
from typing import Any

from tests.scenario.drivers import ACCOUNT
from tests.scenario.sts_house import (
    CONFLICT,
    OTHER,
    House,
    User,
    allow,
    allowing,
    denied,
    key_of,
    refused,
    trusts,
)


def test_a_role_that_trusts_the_account_is_taken_by_whom_a_policy_lets(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": ACCOUNT}), path="/ci/")
    sts = house.driver.client("sts", key=user.key)
    assert refused(sts.assume_role, RoleArn=role, RoleSessionName="build") == denied(
        user.arn, "sts:AssumeRole", role
    )
    allow(house, "sts:AssumeRole", role)

    answer = sts.assume_role(RoleArn=role, RoleSessionName="build")

    key = key_of(answer)
    assert key[0].startswith("ASIA")
    assert 3590 < answer["Credentials"]["Expiration"].timestamp() - time.time() <= 3600
    session_arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/build"
    assert answer["AssumedRoleUser"]["Arn"] == session_arn
    assert "PackedPolicySize" not in answer
    told = house.driver.client("sts", key=key).get_caller_identity()
    assert (told["Arn"], told["UserId"]) == (session_arn, answer["AssumedRoleUser"]["AssumedRoleId"])
    assert told["UserId"].startswith("AROA")
    assert told["UserId"].endswith(":build")


def test_a_role_that_trusts_a_user_needs_no_more(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": user.arn}))
    assert key_of(house.driver.client("sts", key=user.key).assume_role(RoleArn=role, RoleSessionName="build"))


def test_a_policy_is_not_enough_where_the_role_trusts_nobody(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": OTHER}))
    allow(house, "*")
    sts = house.driver.client("sts", key=user.key)
    assert refused(sts.assume_role, RoleArn=role, RoleSessionName="build") == denied(
        user.arn, "sts:AssumeRole", role
    )


def test_a_role_that_is_missing_is_as_forbidden_as_one_that_is_not(house: House, user: User) -> None:
    there = house.role(trusts({"AWS": ACCOUNT}), path="/ci/")
    name = there.rpartition("/")[2]
    sts = house.driver.client("sts", key=user.key)
    for role in (
        there,
        f"arn:aws:iam::{ACCOUNT}:role/nobody",
        f"arn:aws:iam::{OTHER}:role/nobody",
        "arn:aws:iam::123412341234:role/nobody",
    ):
        assert refused(sts.assume_role, RoleArn=role, RoleSessionName="build") == denied(
            user.arn, "sts:AssumeRole", role
        )
    allow(house, "*")
    for role in (f"arn:aws:iam::{ACCOUNT}:role/{name}", there.lower().replace("role1", "ROLE1") + "x"):
        assert refused(sts.assume_role, RoleArn=role, RoleSessionName="build") == denied(
            user.arn, "sts:AssumeRole", role
        )


def test_another_accounts_role_needs_both(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}), account_id=OTHER)
    direct = house.role(trusts({"AWS": user.arn}), account_id=OTHER)
    sts = house.driver.client("sts", key=user.key)
    for arn in (role, direct):
        assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="build")[0] == "AccessDenied"
    allow(house, "sts:*")
    for arn in (role, direct):
        key = key_of(sts.assume_role(RoleArn=arn, RoleSessionName="build"))
        assert house.driver.client("sts", key=key).get_caller_identity()["Account"] == OTHER


def test_a_root_takes_no_role(house: House) -> None:
    role = house.role(trusts("*"))
    assert refused(house.driver.client("sts").assume_role, RoleArn=role, RoleSessionName="build") == (
        "AccessDenied",
        403,
        "Roles may not be assumed by root accounts.",
    )


def test_conditions_of_trust(house: House, user: User) -> None:
    equals = {"sts:ExternalId": "contract-1", "sts:RoleSessionName": "build"}
    role = house.role(trusts({"AWS": user.arn}, StringEquals=equals))
    sts = house.driver.client("sts", key=user.key)
    assert sts.assume_role(RoleArn=role, RoleSessionName="build", ExternalId="contract-1")
    for changes in ({"ExternalId": "contract-2"}, {}, {"RoleSessionName": "b2", "ExternalId": "contract-1"}):
        assert refused(sts.assume_role, **({"RoleArn": role, "RoleSessionName": "build"} | changes))[0] == (
            "AccessDenied"
        )


def test_a_second_factor_is_neither_there_nor_believed(house: House, user: User) -> None:
    strict = house.role(trusts({"AWS": user.arn}, Bool={"aws:MultiFactorAuthPresent": "true"}))
    easy = house.role(trusts({"AWS": user.arn}))
    sts = house.driver.client("sts", key=user.key)
    key = key_of(sts.get_session_token())
    with_session = house.driver.client("sts", key=key)
    assert refused(with_session.assume_role, RoleArn=strict, RoleSessionName="build")[0] == "AccessDenied"
    factor = {"SerialNumber": f"arn:aws:iam::{ACCOUNT}:mfa/ana", "TokenCode": "123456"}
    for told in (
        refused(sts.assume_role, RoleArn=easy, RoleSessionName="build", **factor),
        refused(sts.get_session_token, **factor),
    ):
        assert told == (
            "AccessDenied",
            403,
            "MultiFactorAuthentication failed with invalid MFA one time pass code.",
        )


def test_how_long_a_session_lasts(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": [user.arn, ACCOUNT]}), max_seconds=7200)
    sts = house.driver.client("sts", key=user.key)
    long = sts.assume_role(RoleArn=role, RoleSessionName="build", DurationSeconds=7200)
    assert 7190 < long["Credentials"]["Expiration"].timestamp() - time.time() <= 7200
    assert refused(sts.assume_role, RoleArn=role, RoleSessionName="build", DurationSeconds=7201) == (
        "ValidationError",
        400,
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )
    told = refused(sts.assume_role, RoleArn=role, RoleSessionName="build", DurationSeconds=43_201)
    assert told[:2] == ("ValidationError", 400)
    assert "'durationSeconds'" in told[2]
    for key in (key_of(long), key_of(sts.get_session_token())):
        chained = house.driver.client("sts", key=key)
        assert chained.assume_role(RoleArn=role, RoleSessionName="build", DurationSeconds=3600)
        assert refused(chained.assume_role, RoleArn=role, RoleSessionName="build", DurationSeconds=3601) == (
            "ValidationError",
            400,
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        )


def test_what_is_no_role_is_told(house: House, user: User) -> None:
    sts = house.driver.client("sts", key=user.key)
    for arn in (
        "arn:aws:iam::1:role/some-role-name",
        user.arn,
        f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/build",
        "x" * 20,
    ):
        assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="build") == (
            "ValidationError",
            400,
            f"{arn} is invalid",
        )
    role = house.role(trusts({"AWS": user.arn}))
    told = refused(sts.assume_role, RoleArn=role, RoleSessionName="a:b")
    assert told[:2] == ("ValidationError", 400)
    assert "1 validation error detected: Value 'a:b' at 'roleSessionName'" in told[2]


# --- what a session carries ------------------------------------------------------------------------------------------


def test_tags_are_allowed_apart_and_go_down_the_chain(house: House, user: User) -> None:
    plain = house.role(trusts({"AWS": user.arn}))
    first = house.role(trusts({"AWS": user.arn}, actions=["sts:AssumeRole", "sts:TagSession"]))
    equals = {"aws:PrincipalTag/team": "registry"}
    second = house.role(
        trusts({"AWS": ACCOUNT}, actions=["sts:AssumeRole", "sts:TagSession"], StringEquals=equals)
    )
    third = house.role(trusts({"AWS": ACCOUNT}))
    tags = [{"Key": "team", "Value": "registry"}, {"Key": "stage", "Value": "test"}]
    tagged: dict[str, Any] = {"RoleSessionName": "build", "Tags": tags, "TransitiveTagKeys": ["TEAM"]}
    sts = house.driver.client("sts", key=user.key)

    assert refused(sts.assume_role, RoleArn=plain, **tagged) == denied(user.arn, "sts:TagSession", plain)
    answer = sts.assume_role(RoleArn=first, **tagged)
    assert 0 < answer["PackedPolicySize"] < 10
    as_first = house.driver.client("sts", key=key_of(answer))
    as_second = house.driver.client(
        "sts", key=key_of(as_first.assume_role(RoleArn=second, RoleSessionName="b2"))
    )
    again = as_second.assume_role(RoleArn=second, RoleSessionName="b3")

    assert again["PackedPolicySize"] > 0
    assert refused(as_second.assume_role, RoleArn=third, RoleSessionName="b4")[2].count("sts:TagSession") == 1
    assert refused(as_first.assume_role, RoleArn=second, RoleSessionName="b5", Tags=tags[:1]) == (
        "InvalidParameterValue",
        400,
        CONFLICT,
    )


def test_tags_that_contradict_each_other(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": user.arn}, actions="sts:*"))
    sts = house.driver.client("sts", key=user.key)
    twice = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    assert refused(sts.assume_role, RoleArn=role, RoleSessionName="build", Tags=twice) == (
        "InvalidParameterValue",
        400,
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    )
    told = refused(
        sts.assume_role, RoleArn=role, RoleSessionName="build", Tags=twice[:1], TransitiveTagKeys=["b"]
    )
    assert told == (
        "InvalidParameterValue",
        400,
        "The specified transitive tag key must be included in the requested tags.",
    )
    reserved = [{"Key": "aws:x", "Value": "1"}]
    assert refused(sts.assume_role, RoleArn=role, RoleSessionName="build", Tags=reserved)[0] == (
        "InvalidParameterValue"
    )


def test_who_is_behind_a_session_stays_said(house: House, user: User) -> None:
    plain = house.role(trusts({"AWS": user.arn}))
    role = house.role(
        trusts({"AWS": [user.arn, ACCOUNT]}, actions=["sts:AssumeRole", "sts:SetSourceIdentity"])
    )
    sts = house.driver.client("sts", key=user.key)
    named = {"RoleSessionName": "build", "SourceIdentity": "ana@acme"}
    assert refused(sts.assume_role, RoleArn=plain, **named) == denied(
        user.arn, "sts:SetSourceIdentity", plain
    )
    answer = sts.assume_role(RoleArn=role, **named)
    assert answer["SourceIdentity"] == "ana@acme"
    chained = house.driver.client("sts", key=key_of(answer))
    assert chained.assume_role(RoleArn=role, RoleSessionName="b2")["SourceIdentity"] == "ana@acme"
    told = refused(chained.assume_role, RoleArn=role, RoleSessionName="b3", SourceIdentity="bob")
    assert told[0] == "AccessDenied"


def test_session_policies_only_take_away(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": user.arn}), policy=allowing("ecr:ListImages", "ecr:DescribeImages"))
    sts = house.driver.client("sts", key=user.key)
    less = json.dumps(allowing("ecr:ListImages", "ecr:DescribeRepositories"))
    answer = sts.assume_role(RoleArn=role, RoleSessionName="build", Policy=less)
    assert answer["PackedPolicySize"] > 0
    ecr = house.driver.client(key=key_of(answer))

    assert ecr.list_images(repositoryName="app")["imageIds"] == []
    for call in (ecr.describe_images, ecr.describe_repositories):
        parameters = {"repositoryName": "app"} if call == ecr.describe_images else {}
        assert refused(call, **parameters)[0] == "AccessDeniedException"
    read_only = [{"arn": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"}]
    managed = sts.assume_role(RoleArn=role, RoleSessionName="build", PolicyArns=read_only)
    with_managed = house.driver.client(key=key_of(managed))
    assert with_managed.list_images(repositoryName="app")["imageIds"] == []
    gone = [{"arn": f"arn:aws:iam::{ACCOUNT}:policy/nowhere"}]
    nothing = house.driver.client(
        key=key_of(sts.assume_role(RoleArn=role, RoleSessionName="b2", PolicyArns=gone))
    )
    assert refused(nothing.list_images, repositoryName="app")[0] == "AccessDeniedException"


def test_session_policies_that_are_not_taken(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": user.arn}))
    sts = house.driver.client("sts", key=user.key)
    asked: dict[str, Any] = {"RoleArn": role, "RoleSessionName": "build"}
    assert refused(sts.assume_role, Policy="{}", **asked)[:2] == ("MalformedPolicyDocument", 400)
    long = json.dumps(allowing(*("ecr:ListImages" for _ in range(130))))
    assert refused(sts.assume_role, Policy=long, **asked)[:2] == ("PackedPolicyTooLarge", 400)
    foreign = [{"arn": f"arn:aws:iam::{OTHER}:policy/theirs"}]
    assert refused(sts.assume_role, PolicyArns=foreign, **asked)[:2] == ("ValidationError", 400)
    many = [{"arn": f"arn:aws:iam::{ACCOUNT}:policy/p{number}"} for number in range(11)]
    assert refused(sts.assume_role, PolicyArns=many, **asked)[:2] == ("ValidationError", 400)
