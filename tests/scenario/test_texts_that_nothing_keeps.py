"""The character NUL, which PostgreSQL keeps in no text, is bad input in each protocol's own words on every storage."""

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, Driver, authorization

_NUL = "a\0b"
_ARN = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/texts/app"

_CALLS: list[tuple[str, str, dict[str, Any], str]] = [
    ("kms", "create_key", {"Description": _NUL}, "ValidationException"),
    ("kms", "update_key_description", {"KeyId": "x", "Description": _NUL}, "ValidationException"),
    (
        "kms",
        "create_grant",
        {"KeyId": "x", "GranteePrincipal": _NUL, "Operations": ["Encrypt"]},
        "ValidationException",
    ),
    ("ecr", "untag_resource", {"resourceArn": _ARN, "tagKeys": ["b", _NUL]}, "InvalidParameterException"),
    ("ecr", "list_images", {"repositoryName": "texts/app", "nextToken": _NUL}, "InvalidParameterException"),
    ("iam", "get_user", {"UserName": _NUL}, "ValidationError"),
    (
        "iam",
        "create_policy",
        {"PolicyName": "p", "PolicyDocument": "{}", "Description": _NUL},
        "ValidationError",
    ),
    ("sts", "get_access_key_info", {"AccessKeyId": f"AKIAIOSFODNN7EXAMPL{_NUL}"}, "ValidationError"),
]


@pytest.fixture(scope="module", autouse=True)
def key_id(driver: Driver) -> str:
    driver.client().create_repository(repositoryName="texts/app")
    return str(driver.client("kms").create_key()["KeyMetadata"]["KeyId"])


@pytest.mark.parametrize(("service", "operation", "parameters", "code"), _CALLS)
def test_aws(
    driver: Driver, key_id: str, service: str, operation: str, parameters: dict[str, Any], code: str
) -> None:
    if "KeyId" in parameters:
        parameters = {**parameters, "KeyId": key_id}
    client = driver.client(service)
    with pytest.raises(ClientError) as refusal:
        getattr(client, operation)(**parameters)
    assert refusal.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("after", [_NUL, "\ud800"])
def test_a_token_that_no_list_gave_is_bad_input(driver: Driver, after: str) -> None:
    """Tokens are no secrets: whoever has read one can write another, which names a place that no list has."""
    ecr = driver.client()
    if not ecr.describe_repositories(maxResults=1).get("nextToken"):
        ecr.create_repository(repositoryName="texts/other")
    given = ecr.describe_repositories(maxResults=1)["nextToken"]
    token = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    same, forged = (
        base64.urlsafe_b64encode(json.dumps([*token[:-1], each]).encode()).decode().rstrip("=")
        for each in (token[-1], after)
    )
    assert ecr.describe_repositories(maxResults=1, nextToken=same)["repositories"] != []

    with pytest.raises(ClientError) as refusal:
        ecr.describe_repositories(maxResults=1, nextToken=forged)
    assert refusal.value.response["Error"]["Code"] == "InvalidParameterException"


def test_registry(driver: Driver) -> None:
    path = f"/v2/texts/app/referrers/sha256:{'0' * 64}?artifactType=a%00b"
    answer = driver.http("GET", path, headers={"Authorization": authorization(driver.client())})
    assert answer.status == 400
    assert b"NUL" in answer.body


@pytest.mark.parametrize(
    "path", ["/v2/texts/app/manifests/a%00b", "/v2/a%00b/tags/list", "/v2/texts/app/blobs/uploads/a%00"]
)
def test_paths(driver: Driver, path: str) -> None:
    answer = driver.http("GET", path, headers={"Authorization": authorization(driver.client())})
    assert 400 <= answer.status < 500
