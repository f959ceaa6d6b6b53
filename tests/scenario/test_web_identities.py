"""CI jobs prove who they are by a token of their provider, and need no secret of the server."""

import time
from typing import Any

from tests.issuers import AUDIENCE, SUBJECT, rsa_key
from tests.scenario.drivers import ACCOUNT, authorization
from tests.scenario.sts_house import OTHER, House, User, allowing, key_of, refused, trusts


def web_role(house: House, subject: str = SUBJECT, **more: Any) -> str:
    provider = house.issuer.provider
    equals = {f"{provider}:sub": subject, f"{provider}:aud": AUDIENCE}
    principal = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{provider}"}
    actions = ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"]
    return house.role(trusts(principal, actions=actions, StringEquals=equals), **more)


def test_a_ci_job_needs_no_secret(house: House) -> None:
    role = web_role(house, policy=allowing("ecr:*"))
    sts = house.driver.client("sts", key=("nobody", "nothing"))
    answer = sts.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="job-7", WebIdentityToken=house.issuer.token()
    )
    assert (answer["SubjectFromWebIdentityToken"], answer["Audience"], answer["Provider"]) == (
        SUBJECT,
        AUDIENCE,
        house.issuer.url,
    )
    key = key_of(answer)
    assert house.driver.client("sts", key=key).get_caller_identity()["Arn"].endswith("/job-7")
    docker = {"authorization": authorization(house.driver.client(key=key))}
    assert house.driver.http("GET", "/v2/app/tags/list", headers=docker).status == 200


def test_tokens_that_open_nothing(house: House) -> None:
    role = web_role(house)
    sts = house.driver.client("sts")

    def told(token: str, arn: str = role) -> tuple[str, int, str]:
        return refused(
            sts.assume_role_with_web_identity, RoleArn=arn, RoleSessionName="job-7", WebIdentityToken=token
        )

    issuer, now = house.issuer, int(time.time())
    forbidden = ("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    assert told(issuer.token(sub="repo:evil/app")) == forbidden
    assert told(issuer.token(), f"arn:aws:iam::{ACCOUNT}:role/nobody") == forbidden
    assert told(issuer.token(aud="other")) == forbidden
    assert told(issuer.token(), house.role(trusts({"AWS": "*"}))) == forbidden
    assert told(issuer.token(aud="nobody")) == ("InvalidIdentityToken", 400, "Incorrect token audience")
    assert told(issuer.token(azp="nobody"))[2] == "Incorrect token audience"
    assert told(issuer.token(exp=now - 600))[:2] == ("ExpiredTokenException", 400)
    changes: tuple[tuple[str, Any], ...] = (
        ("exp", None),
        ("iat", None),
        ("exp", str(now + 60)),
        ("exp", now + 60.5),
        ("exp", True),
        ("iat", now + 600),
        ("nbf", now + 600),
        ("sub", None),
        ("sub", "s" * 256),
        ("aud", 5),
        ("iss", "http://x"),
    )
    for name, value in changes:
        change: dict[str, Any] = {name: value}
        assert told(issuer.token(**change))[:2] == ("InvalidIdentityToken", 400)
    for text in ("abcd", "a.b.c", issuer.token()[:-8], issuer.token(key=rsa_key("unknown"))):
        assert told(text)[:2] == ("InvalidIdentityToken", 400)
    elsewhere = "https://evil.example.com"
    assert told(issuer.token(iss=elsewhere))[2] == (
        f"No OpenIDConnect provider found in your account for {elsewhere}"
    )
    there = f"arn:aws:iam::{OTHER}:role/any"
    assert told(issuer.token(), there)[2].startswith("No OpenIDConnect provider found")


def test_the_operator_has_to_name_the_issuer_too(house: House) -> None:
    role = web_role(house)
    unnamed = house.issuer.url.replace("localhost", "127.0.0.1")
    iam = house.roots[ACCOUNT]
    made = iam.create_open_id_connect_provider(Url=unnamed, ClientIDList=[AUDIENCE])
    asked = dict(house.issuer.requests)
    told = refused(
        house.driver.client("sts").assume_role_with_web_identity,
        RoleArn=role,
        RoleSessionName="job-7",
        WebIdentityToken=house.issuer.token(iss=unnamed),
    )
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=made["OpenIDConnectProviderArn"])

    assert told == (
        "InvalidIdentityToken",
        400,
        f"No OpenIDConnect provider found in your account for {unnamed}",
    )
    assert house.issuer.requests == asked


def test_what_a_provider_says_of_a_session(house: House) -> None:
    condition = {"StringEquals": {"aws:PrincipalTag/team": "registry", "aws:SourceIdentity": "ana"}}
    policy = allowing("ecr:ListImages")
    policy["Statement"] = [policy["Statement"] | {"Condition": condition}]  # type: ignore[operator]  # it is a dict
    role = web_role(house, policy=policy)
    sts = house.driver.client("sts")
    tags = {"principal_tags": {"team": ["registry"]}, "transitive_tag_keys": ["team"]}
    said: dict[str, Any] = {
        "https://aws.amazon.com/tags": tags,
        "https://aws.amazon.com/source_identity": "ana",
    }
    asked = {"RoleArn": role, "RoleSessionName": "job-7"}
    answer = sts.assume_role_with_web_identity(WebIdentityToken=house.issuer.token(**said), **asked)
    assert answer["SourceIdentity"] == "ana"
    assert house.driver.client(key=key_of(answer)).list_images(repositoryName="app")["imageIds"] == []
    claims: tuple[tuple[str, Any], ...] = (
        ("tags", {"principal_tags": {"team": ["a", "b"]}}),
        ("tags", "x"),
        ("source_identity", "a b"),
        ("tags", {"principal_tags": {}, "transitive_tag_keys": ["x"]}),
    )
    for name, value in claims:
        bad: dict[str, Any] = {f"https://aws.amazon.com/{name}": value}
        told = refused(sts.assume_role_with_web_identity, WebIdentityToken=house.issuer.token(**bad), **asked)
        assert told[:2] == ("IDPRejectedClaim", 403)


def test_nothing_else_goes_without_a_signature(house: House) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    for body in (
        b"Action=GetCallerIdentity&Version=2011-06-15",
        b"Action=ListUsers&Version=2010-05-08",
        b"Action=Nothing&Version=2011-06-15",
        b"",
        b"%ff=%ff",
        b"A" * 70_000,
    ):
        answer = house.driver.http("POST", "/", headers=form, body=body)
        assert (answer.status, b"MissingAuthenticationToken" in answer.body) == (403, True)
    answer = house.driver.http(
        "POST", "/", headers=form, body=b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
    )
    assert (answer.status, b"ValidationError" in answer.body) == (400, True)


def test_who_am_i_by_a_presigned_url(house: House, user: User) -> None:
    role = house.role(trusts({"AWS": user.arn}))
    key = key_of(house.driver.client("sts", key=user.key).assume_role(RoleArn=role, RoleSessionName="build"))
    sts = house.driver.client("sts", key=key)
    url: str = sts.generate_presigned_url("get_caller_identity", HttpMethod="GET")
    host, _, path = url.removeprefix("http://").partition("/")
    answer = house.driver.http("GET", f"/{path}", headers={"host": host})
    assert answer.status == 200
    assert b"/build</Arn>" in answer.body
