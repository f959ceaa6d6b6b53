"""Repositories through the AWS API."""

from typing import Any

import pytest

from openecr.testing.aws import AwsClient
from tests.unit.web.aws.conftest import ACCOUNT, OTHER_ACCOUNT, OTHER_REGION, House, refused

NOT_FOUND = "The repository with name '{}' does not exist in the registry with id '000000000000'"


async def test_a_new_repository_has_ecrs_defaults(house: House) -> None:
    created = await house.client().call("create_repository", repositoryName="team/app")

    repository = created["repository"]
    assert repository.pop("createdAt").timestamp() == pytest.approx(house.clock.now() / 1e6)
    assert repository == {
        "repositoryArn": "arn:aws:ecr:us-east-1:000000000000:repository/team/app",
        "registryId": ACCOUNT,
        "repositoryName": "team/app",
        "repositoryUri": "localhost:5050/team/app",
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": False},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }


async def test_every_setting_is_kept_and_told_again(house: House) -> None:
    client = house.client()
    given: dict[str, Any] = {
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "dev-*-*"}],
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }
    created = await client.call("create_repository", repositoryName="app", **given)

    described = await client.call("describe_repositories", repositoryNames=["app"])
    deleted = await client.call("delete_repository", repositoryName="app")

    assert {name: created["repository"][name] for name in given} == given
    assert described["repositories"] == [created["repository"]] == [deleted["repository"]]


async def test_a_registry_other_than_the_default_has_its_full_name(house: House) -> None:
    created = await house.client(region=OTHER_REGION).call("create_repository", repositoryName="app")

    assert created["repository"]["repositoryUri"] == "000000000000.dkr.ecr.eu-west-1.localhost:5050/app"
    assert created["repository"]["repositoryArn"] == "arn:aws:ecr:eu-west-1:000000000000:repository/app"


async def test_a_name_is_taken_once_in_each_region(ecr: AwsClient, house: House) -> None:
    again = await refused(ecr, "create_repository", repositoryName="app")
    await house.client(region=OTHER_REGION).call("create_repository", repositoryName="app")

    assert again == (
        "RepositoryAlreadyExistsException",
        "The repository with name 'app' already exists in the registry with id '000000000000'",
    )


@pytest.mark.parametrize("name", ["a", "App", "a//b", "/a", "a/", "a..b", "a___b", "a" * 257, "a\n", "ü1"])
async def test_a_malformed_name_is_refused(house: House, name: str) -> None:
    code, message = await refused(house.client(), "create_repository", repositoryName=name)

    assert code == "InvalidParameterException"
    assert message.startswith("Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must ")


@pytest.mark.parametrize(
    ("given", "constraint"),
    [
        (
            {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"},
            (
                "ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as "
                "IMMUTABLE_WITH_EXCLUSION"
            ),
        ),
        (
            {"imageTagMutability": "IMMUTABLE", "filters": ["a*"]},
            "ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as IMMUTABLE",
        ),
        (
            {"imageTagMutability": "MUTABLE_WITH_EXCLUSION", "filters": ["a*b*c*"]},
            "ImageTagMutabilityExclusionFilters can have at most 2 wildcards in each filter",
        ),
    ],
)
@pytest.mark.parametrize("operation", ["create_repository", "put_image_tag_mutability"])
async def test_mode_and_filters_must_fit(
    ecr: AwsClient, operation: str, given: dict[str, Any], constraint: str
) -> None:
    parameters = dict(given)
    if "filters" in parameters:
        parameters["imageTagMutabilityExclusionFilters"] = [
            {"filterType": "WILDCARD", "filter": each} for each in parameters.pop("filters")
        ]
    name = "new" if operation == "create_repository" else "app"

    answer = await refused(ecr, operation, repositoryName=name, **parameters)

    assert answer == (
        "InvalidParameterException",
        (
            "Invalid parameter at 'imageTagMutabilityExclusionFilters' "
            f"failed to satisfy constraint: '{constraint}'"
        ),
    )


@pytest.mark.parametrize("filters", [[], [{"filterType": "WILDCARD", "filter": "x"}] * 6])
async def test_there_are_one_to_five_filters(ecr: AwsClient, filters: list[dict[str, str]]) -> None:
    code, message = await refused(
        ecr,
        "put_image_tag_mutability",
        repositoryName="app",
        imageTagMutability="MUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=filters,
    )

    assert code == "InvalidParameterException"
    assert "at 'imageTagMutabilityExclusionFilters'" in message


async def test_mutability_replaces_mode_and_filters_together(ecr: AwsClient) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "v*"}]
    first = await ecr.call(
        "put_image_tag_mutability",
        repositoryName="app",
        imageTagMutability="MUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=filters,
    )
    second = await ecr.call("put_image_tag_mutability", repositoryName="app", imageTagMutability="IMMUTABLE")
    described = await ecr.call("describe_repositories", repositoryNames=["app"])

    assert first["imageTagMutabilityExclusionFilters"] == filters
    assert first["imageTagMutability"] == "MUTABLE_WITH_EXCLUSION"
    assert second["imageTagMutability"] == "IMMUTABLE"
    for told in (second, described["repositories"][0]):
        assert "imageTagMutabilityExclusionFilters" not in told
    assert described["repositories"][0]["imageTagMutability"] == "IMMUTABLE"


async def test_the_scanning_setting_is_stored_and_echoed(ecr: AwsClient) -> None:
    put = await ecr.call(
        "put_image_scanning_configuration",
        repositoryName="app",
        imageScanningConfiguration={"scanOnPush": True},
    )
    described = await ecr.call("describe_repositories", repositoryNames=["app"])

    assert put["registryId"] == ACCOUNT
    assert put["repositoryName"] == "app"
    assert put["imageScanningConfiguration"] == {"scanOnPush": True}
    assert described["repositories"][0]["imageScanningConfiguration"] == {"scanOnPush": True}


async def test_a_key_makes_no_sense_where_there_is_none(house: House) -> None:
    encryption = {"encryptionType": "AES256", "kmsKey": "alias/mine"}
    code, message = await refused(
        house.client(), "create_repository", repositoryName="app", encryptionConfiguration=encryption
    )

    assert code == "InvalidParameterException"
    assert "at 'encryptionConfiguration'" in message


async def test_describing_names_each_once_and_fails_for_the_first_that_is_missing(ecr: AwsClient) -> None:
    await ecr.call("create_repository", repositoryName="other")
    named = await ecr.call("describe_repositories", repositoryNames=["other", "app", "other"])

    missing = await refused(ecr, "describe_repositories", repositoryNames=["app", "gone", "lost"])

    assert [each["repositoryName"] for each in named["repositories"]] == ["other", "app"]
    assert missing == ("RepositoryNotFoundException", NOT_FOUND.format("gone"))


@pytest.mark.parametrize("paging", [{"maxResults": 5}, {"nextToken": "x"}])
async def test_names_and_paging_exclude_each_other(ecr: AwsClient, paging: dict[str, Any]) -> None:
    code, message = await refused(ecr, "describe_repositories", repositoryNames=["app"], **paging)

    assert code == "InvalidParameterException"
    assert message.startswith(f"Invalid parameter at '{next(iter(paging))}'")


async def test_pages_concatenate_to_the_list(house: House) -> None:
    client = house.client()
    names = [f"r{number:02}" for number in range(7)]
    for name in reversed(names):
        await client.call("create_repository", repositoryName=name)

    found: list[str] = []
    paging: dict[str, Any] = {"maxResults": 3}
    while True:
        page = await client.call("describe_repositories", **paging)
        found += [each["repositoryName"] for each in page["repositories"]]
        if "nextToken" not in page:
            break
        paging["nextToken"] = page["nextToken"]

    assert found == names


async def test_a_repository_with_an_image_is_deleted_only_by_force(ecr: AwsClient) -> None:
    await ecr.call("put_image", repositoryName="app", imageManifest=empty_index(), imageTag="v1")

    kept = await refused(ecr, "delete_repository", repositoryName="app")
    await ecr.call("delete_repository", repositoryName="app", force=True)

    assert kept == (
        "RepositoryNotEmptyException",
        (
            "The repository with name 'app' in registry with id '000000000000' "
            "cannot be deleted because it still contains images"
        ),
    )
    assert await refused(ecr, "delete_repository", repositoryName="app") == (
        "RepositoryNotFoundException",
        NOT_FOUND.format("app"),
    )


async def test_the_quota_of_repositories_is_ecrs_limit(house: House) -> None:
    client = house.client()
    for number in range(20):
        await client.call("create_repository", repositoryName=f"r{number}")

    assert await refused(client, "create_repository", repositoryName="more") == (
        "LimitExceededException",
        "The registry with id '000000000000' already has the maximum allowed number of repositories which is '20'",
    )


@pytest.mark.parametrize("name", ["app", "missing"])
@pytest.mark.parametrize("registry", [ACCOUNT, "999999999999"])
async def test_a_denied_caller_learns_nothing_about_existence(
    ecr: AwsClient, house: House, name: str, registry: str
) -> None:
    answer = await refused(house.stranger(), "delete_repository", repositoryName=name, registryId=registry)

    assert answer == (
        "AccessDeniedException",
        (
            f"User: arn:aws:iam::{OTHER_ACCOUNT}:root is not authorized to perform: ecr:DeleteRepository on resource: "
            f"arn:aws:ecr:us-east-1:{registry}:repository/{name} "
            "because no resource-based policy allows the ecr:DeleteRepository action"
        ),
    )


async def test_another_account_has_repositories_of_its_own(ecr: AwsClient, house: House) -> None:
    stranger = house.stranger()

    before = await stranger.call("describe_repositories")
    await stranger.call("create_repository", repositoryName="app", registryId=OTHER_ACCOUNT)
    after = await stranger.call("describe_repositories")

    assert before["repositories"] == []
    assert [each["registryId"] for each in after["repositories"]] == [OTHER_ACCOUNT]


def empty_index() -> str:
    return '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
