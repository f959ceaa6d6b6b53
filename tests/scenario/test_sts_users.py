"""Temporary credentials of users, of those whom users stand for, and of docker."""

import json
import time

import pytest

from tests.scenario.drivers import ACCOUNT, authorization
from tests.scenario.sts_house import (
    House,
    User,
    allow,
    allowing,
    key_of,
    refused,
    trusts,
)


def test_a_users_session_is_the_user_and_ends_with_the_key(house: House, user: User) -> None:
    allow(house, ["ecr:*", "iam:*", "sts:*"])
    answer = house.driver.client("sts", key=user.key).get_session_token()
    key = key_of(answer)
    assert 43_190 < answer["Credentials"]["Expiration"].timestamp() - time.time() <= 43_200
    sts, ecr = house.driver.client("sts", key=key), house.driver.client(key=key)

    assert sts.get_caller_identity()["Arn"] == user.arn
    ecr.list_images(repositoryName="app")
    docker = {"authorization": authorization(ecr)}
    assert house.driver.http("GET", "/v2/app/tags/list", headers=docker).status == 200
    user.remove_key()

    assert refused(sts.get_caller_identity)[:2] == ("InvalidClientTokenId", 403)
    assert refused(ecr.list_images, repositoryName="app") == (
        "UnrecognizedClientException",
        400,
        "The security token included in the request is invalid.",
    )
    assert house.driver.http("GET", "/v2/app/tags/list", headers=docker).status == 401


def test_what_a_users_session_may_never_do(house: House, user: User) -> None:
    allow(house, "*")
    key = key_of(house.driver.client("sts", key=user.key).get_session_token(DurationSeconds=900))
    sts = house.driver.client("sts", key=key)
    assert refused(house.driver.client("iam", key=key).list_users) == (
        "InvalidClientTokenId",
        403,
        "The security token included in the request is invalid.",
    )
    assert refused(sts.get_session_token)[2] == "Cannot call GetSessionToken with session credentials"
    assert refused(sts.get_federation_token, Name="fred")[0] == "AccessDenied"
    assert refused(sts.get_access_key_info, AccessKeyId="A" * 20)[0] == "AccessDenied"


def test_what_a_roles_session_may_never_do(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": user.arn}))
    key = key_of(house.driver.client("sts", key=user.key).assume_role(RoleArn=role, RoleSessionName="build"))
    sts = house.driver.client("sts", key=key)
    assert refused(sts.get_session_token)[0] == "AccessDenied"
    assert refused(sts.get_federation_token, Name="fred")[0] == "AccessDenied"
    assert house.driver.client("iam", key=key).list_users()["Users"]


def test_a_roots_session_is_the_root_for_an_hour_at_most(house: House) -> None:
    answer = house.driver.client("sts").get_session_token(DurationSeconds=43_200)
    assert 3590 < answer["Credentials"]["Expiration"].timestamp() - time.time() <= 3600
    key = key_of(answer)
    assert house.driver.client("sts", key=key).get_caller_identity()["Arn"].endswith(":root")
    assert house.driver.client(key=key).describe_repositories()["repositories"]


def test_a_federated_user_may_what_both_may_and_ends_with_the_key(house: House, user: User) -> None:
    allow(house, ["ecr:*", "sts:GetFederationToken"])
    sts = house.driver.client("sts", key=user.key)
    answer = sts.get_federation_token(Name="fred", Policy=json.dumps(allowing("ecr:ListImages", "iam:*")))
    assert answer["FederatedUser"] == {
        "FederatedUserId": f"{ACCOUNT}:fred",
        "Arn": f"arn:aws:sts::{ACCOUNT}:federated-user/fred",
    }
    key = key_of(answer)
    as_fred = house.driver.client("sts", key=key)
    assert as_fred.get_caller_identity()["UserId"] == f"{ACCOUNT}:fred"
    assert house.driver.client(key=key).list_images(repositoryName="app")["imageIds"] == []
    assert refused(house.driver.client(key=key).describe_repositories)[0] == "AccessDeniedException"
    assert refused(house.driver.client("iam", key=key).list_users)[0] == "InvalidClientTokenId"
    role = house.role(trusts("*"))
    assert refused(as_fred.assume_role, RoleArn=role, RoleSessionName="build")[0] == "AccessDenied"
    without = house.driver.client(key=key_of(sts.get_federation_token(Name="fred")))
    assert refused(without.list_images, repositoryName="app")[0] == "AccessDeniedException"
    user.remove_key()

    assert refused(as_fred.get_caller_identity)[:2] == ("InvalidClientTokenId", 403)


def test_a_federated_user_needs_a_policy_of_whom_he_stands_for(house: House, user: User) -> None:
    sts = house.driver.client("sts", key=user.key)
    told = refused(sts.get_federation_token, Name="fred")
    assert told[0] == "AccessDenied"
    assert f"sts:GetFederationToken on resource: arn:aws:sts::{ACCOUNT}:federated-user/fred" in told[2]


def test_whose_a_key_is(house: House, user: User) -> None:
    sts = house.driver.client("sts")
    assert sts.get_access_key_info(AccessKeyId=user.key[0])["Account"] == ACCOUNT
    assert refused(sts.get_access_key_info, AccessKeyId="A" * 19 + "_")[:2] == ("ValidationError", 400)
    as_user = house.driver.client("sts", key=user.key)
    assert refused(as_user.get_access_key_info, AccessKeyId=user.key[0])[0] == "AccessDenied"


def test_a_token_of_another_session_opens_nothing(house: House, user: User) -> None:
    sts = house.driver.client("sts", key=user.key)
    one, other = key_of(sts.get_session_token()), key_of(sts.get_session_token())
    for key in ((*one[:2], other[2]), one[:2], (*user.key, one[2]), (*one[:2], one[2][:-4] + "AAAA")):
        assert refused(house.driver.client("sts", key=key).get_caller_identity)[:2] == (
            "InvalidClientTokenId",
            403,
        )


# --- docker ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many_tags", [False, True], ids=["small", "large"])
def test_docker_with_a_roles_session(house: House, user: User, many_tags: bool) -> None:
    condition = {"StringEquals": {"aws:PrincipalTag/team": "registry"}}
    policy = allowing("ecr:*")
    policy["Statement"] = [policy["Statement"] | {"Condition": condition}]  # type: ignore[operator]  # it is a dict
    role = house.role(trusts({"AWS": user.arn}, actions="sts:*"), policy=policy)
    sts = house.driver.client("sts", key=user.key)
    extra = [
        {"Key": f"k{number}", "Value": f"{number * 7919:x}" * 12} for number in range(40 if many_tags else 0)
    ]
    tags = [{"Key": "team", "Value": "registry"}, *extra]
    answer = sts.assume_role(RoleArn=role, RoleSessionName="build", Tags=tags)
    ecr = house.driver.client(key=key_of(answer))
    docker = authorization(ecr)

    assert len(docker) < 2_800
    assert house.driver.http("GET", "/v2/", headers={"authorization": docker}).status == 200
    assert house.driver.http("GET", "/v2/app/tags/list", headers={"authorization": docker}).status == 200
    untagged = house.driver.client(key=key_of(sts.assume_role(RoleArn=role, RoleSessionName="b2")))
    assert refused(untagged.get_authorization_token)[0] == "AccessDeniedException"
    house.remove_role(role)

    assert house.driver.http("GET", "/v2/", headers={"authorization": docker}).status == 401
    assert refused(ecr.describe_repositories)[0] == "UnrecognizedClientException"
