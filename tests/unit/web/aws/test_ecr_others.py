"""Authorization tokens, resource tags and account settings through the AWS API."""

import base64
from typing import Any

import pytest

from openecr.testing.aws import AwsClient
from tests.unit.web.aws.conftest import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, House, refused

ARN = "arn:aws:ecr:us-east-1:000000000000:repository/app"


# --- authorization tokens --------------------------------------------------------------------------------------------


async def test_a_token_is_what_docker_and_the_cli_expect(house: House) -> None:
    (given,) = (await house.client().call("get_authorization_token"))["authorizationData"]

    user, password = base64.b64decode(given["authorizationToken"], validate=True).decode().split(":")
    assert user == "AWS"
    assert len(password) <= 2_000
    assert given["proxyEndpoint"] == "http://localhost:5050"
    assert given["expiresAt"].timestamp() == pytest.approx(house.clock.now() / 1e6 + 12 * 60 * 60)


async def test_one_token_serves_every_registry_that_is_asked_for(house: House) -> None:
    given = await house.client(region=OTHER_REGION).call(
        "get_authorization_token", registryIds=[OTHER_ACCOUNT, ACCOUNT, OTHER_ACCOUNT]
    )
    data = given["authorizationData"]

    assert [each["proxyEndpoint"] for each in data] == [
        f"http://{OTHER_ACCOUNT}.dkr.ecr.eu-west-1.localhost:5050",
        f"http://{ACCOUNT}.dkr.ecr.eu-west-1.localhost:5050",
    ]
    assert data[0]["authorizationToken"] == data[1]["authorizationToken"]


async def test_a_malformed_registry_id_is_told_in_ecrs_words(house: House) -> None:
    answer = await refused(house.client(), "get_authorization_token", registryIds=["x"])

    assert answer == (
        "InvalidParameterException",
        (
            "Invalid parameter at 'registryIds' failed to satisfy constraint: 'Member must satisfy constraint: "
            "[Member must satisfy regular expression pattern: [0-9]{12}]'"
        ),
    )


# --- resource tags ---------------------------------------------------------------------------------------------------


def as_tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


async def listed(ecr: AwsClient) -> dict[str, str]:
    answer = await ecr.call("list_tags_for_resource", resourceArn=ARN)
    return {tag["Key"]: tag["Value"] for tag in answer["tags"]}


async def test_tags_are_merged_and_removed(ecr: AwsClient) -> None:
    assert await listed(ecr) == {}

    await ecr.call("tag_resource", resourceArn=ARN, tags=as_tags({"team": "a", "stage": "dev"}))
    await ecr.call("tag_resource", resourceArn=ARN, tags=as_tags({"stage": "prod", "größe": ""}))
    assert await listed(ecr) == {"team": "a", "stage": "prod", "größe": ""}

    await ecr.call("untag_resource", resourceArn=ARN, tagKeys=["team", "unknown"])
    assert await listed(ecr) == {"stage": "prod", "größe": ""}


async def test_a_repository_is_created_with_its_tags_or_not_at_all(house: House) -> None:
    client = house.client()
    refusals = [
        await refused(client, "create_repository", repositoryName="app", tags=tags)
        for tags in (
            as_tags({"aws:reserved": "x"}),
            as_tags({"a": "1"}) * 2,
            as_tags({f"k{number}": "" for number in range(6)}),
        )
    ]
    before = await client.call("describe_repositories")
    await client.call("create_repository", repositoryName="app", tags=as_tags({"team": "a"}))

    assert [code for code, _ in refusals] == [
        "InvalidTagParameterException",
        "InvalidTagParameterException",
        "TooManyTagsException",
    ]
    assert before["repositories"] == []
    assert await listed(client) == {"team": "a"}


@pytest.mark.parametrize(
    "tags",
    [
        as_tags({"k" * 129: ""}),
        as_tags({"": ""}),
        as_tags({"k": "v" * 257}),
        as_tags({"AWS:x": ""}),
        as_tags({"k": "a\0b"}),
    ],
)
async def test_a_tag_that_is_none_is_refused(ecr: AwsClient, tags: list[dict[str, str]]) -> None:
    code, _ = await refused(ecr, "tag_resource", resourceArn=ARN, tags=tags)

    assert code == "InvalidTagParameterException"


@pytest.mark.parametrize(
    "arn",
    [
        "app",
        "",
        "arn:aws:ecr:us-east-1:000000000000:repository/",
        "arn:aws:ecr:us-east-1:000000000000:repository/App",
        "arn:aws:ecr:us-east-1:000000000000:repository/*",
        "arn:aws:ecr:us-east-1:000000000000:app",
        "arn:aws:s3:us-east-1:000000000000:repository/app",
        "arn:aws-cn:ecr:us-east-1:000000000000:repository/app",
        "arn:aws:ecr:eu-west-1:000000000000:repository/app",
        ARN + "\n",
    ],
)
@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("list_tags_for_resource", {}),
        ("tag_resource", {"tags": []}),
        ("untag_resource", {"tagKeys": []}),
    ],
)
async def test_what_is_no_repositorys_arn_is_invalid(
    ecr: AwsClient, operation: str, parameters: dict[str, Any], arn: str
) -> None:
    assert await refused(ecr, operation, resourceArn=arn, **parameters) == (
        "InvalidParameterException",
        "Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'",
    )


async def test_an_arn_of_nothing_is_not_found_and_of_another_account_is_denied(house: House) -> None:
    missing = await refused(house.client(), "list_tags_for_resource", resourceArn=ARN)
    strange = await refused(house.stranger(), "list_tags_for_resource", resourceArn=ARN)

    assert missing[0] == "RepositoryNotFoundException"
    assert strange[0] == "AccessDeniedException"


# --- account settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE"),
        ("REGISTRY_POLICY_SCOPE", "V2"),
        ("BLOB_MOUNTING", "DISABLED"),
    ],
)
async def test_settings_have_ecrs_defaults(house: House, name: str, default: str) -> None:
    answer = await house.client().call("get_account_setting", name=name)

    assert (answer["name"], answer["value"]) == (name, default)


async def test_a_setting_is_of_one_region(house: House) -> None:
    put = await house.client().call("put_account_setting", name="BLOB_MOUNTING", value="ENABLED")
    here = await house.client().call("get_account_setting", name="BLOB_MOUNTING")
    there = await house.client(region=OTHER_REGION).call("get_account_setting", name="BLOB_MOUNTING")

    assert put["value"] == here["value"] == "ENABLED"
    assert there["value"] == "DISABLED"


async def test_an_unknown_setting_and_an_unknown_value_differ(house: House) -> None:
    client = house.client()

    unknown = await refused(client, "get_account_setting", name="NOTHING")
    value = await refused(client, "put_account_setting", name="BLOB_MOUNTING", value="MAYBE")

    assert unknown == ("ValidationException", "The account setting 'NOTHING' does not exist")
    assert value == (
        "InvalidParameterException",
        (
            "Invalid parameter at 'value' failed to satisfy constraint: "
            "'Member must satisfy enum value set: [DISABLED, ENABLED]'"
        ),
    )
