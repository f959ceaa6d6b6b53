"""Decisions about single tags, which ECR does not have: who may push or move `v*`, and which tags may be at all."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, REGION, Answer, InProcessDriver, authorization, in_process_driver
from tests.scenario.images import INDEX_TYPE, MANIFEST_TYPE, Registry, SmallImage, digest_of, error_of
from tests.scenario.storages import Flags

ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
EVERYTHING = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
WRITES = ["ecr:PutImage", "ecr:BatchDeleteImage"]
ONLY_RELEASES_TOUCH_VERSIONS = {
    "Effect": "Deny",
    "Action": WRITES,
    "Resource": "*",
    "Condition": {"StringLike": {"openecr:ImageTag": "v*"}},
}
TAGS_MATCH_A_PATTERN = {
    "Effect": "Deny",
    "Action": "ecr:PutImage",
    "Resource": "*",
    "Condition": {
        "StringNotLike": {"openecr:ImageTag": ["v?*", "build-*"]},
        "Null": {"openecr:ImageTag": "false"},
    },
}
Users = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def server(storage: Flags, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessDriver]:
    with in_process_driver(tmp_path_factory.mktemp("tags"), flags=storage) as driver:
        yield driver


@pytest.fixture(scope="module")
def users(server: InProcessDriver) -> Users:
    """Make a user with statements of its own; gives its key."""

    def make(name: str, *statements: dict[str, Any]) -> tuple[str, str]:
        iam = server.client("iam")
        iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    return make


def repository(server: InProcessDriver, name: str, key: tuple[str, str] | None = None) -> Registry:
    """The repository, made if it is not there, as the owner of a key sees it."""
    ecr = server.client()
    if name not in {each["repositoryName"] for each in ecr.describe_repositories()["repositories"]}:
        ecr.create_repository(repositoryName=name)
    return Registry(server, authorization(server.client(key=key)), name)


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    told: Any = error.value.response
    return str(told["Error"]["Code"])


def put(registry: Registry, reference: str, content: bytes, media_type: str = MANIFEST_TYPE) -> Answer:
    return registry.call("PUT", f"/manifests/{reference}", content, content_type=media_type)


def tags_of(server: InProcessDriver, name: str) -> dict[str, str]:
    """Digest by tag, as the owner's root sees it."""
    found = server.client().list_images(repositoryName=name)["imageIds"]
    return {each["imageTag"]: each["imageDigest"] for each in found if "imageTag" in each}


def denied(answer: Answer, user: str, action: str, name: str) -> bool:
    """Tell whether the sentence is AWS's, and names no policy."""
    sentence = (
        f"User: arn:aws:iam::{ACCOUNT}:user/{user} is not authorized to perform: {action} on resource: "
        f"{ARN}/{name} with an explicit deny in an identity-based policy"
    )
    return error_of(answer) == (403, "DENIED", sentence)


def test_only_releases_push_move_and_delete_versions(server: InProcessDriver, users: Users) -> None:
    mine = repository(server, "app", users("builder", EVERYTHING, ONLY_RELEASES_TOUCH_VERSIONS))
    releases = repository(server, "app", users("releases", EVERYTHING))
    old, new = SmallImage.named("old"), SmallImage.named("new")
    released = releases.push(old, "v1")
    digest = mine.push(new, "build-1")
    assert denied(put(mine, "v1", new.manifest()), "builder", "ecr:PutImage", "app")
    assert denied(put(mine, "v2", new.manifest()), "builder", "ecr:PutImage", "app")
    assert denied(mine.call("DELETE", "/manifests/v1"), "builder", "ecr:BatchDeleteImage", "app")
    assert denied(mine.call("DELETE", f"/manifests/{released}"), "builder", "ecr:BatchDeleteImage", "app")
    assert tags_of(server, "app") == {"v1": released, "build-1": digest}
    assert put(releases, "v1", new.manifest()).status == 201
    assert tags_of(server, "app") == {"v1": digest, "build-1": digest}
    assert denied(mine.call("DELETE", f"/manifests/{digest}"), "builder", "ecr:BatchDeleteImage", "app")
    assert mine.call("DELETE", "/manifests/build-1").status == 202
    assert mine.call("GET", "/manifests/v1").status == 200


def test_the_same_verdict_through_aws(server: InProcessDriver, users: Users) -> None:
    key = users("automat", EVERYTHING, ONLY_RELEASES_TOUCH_VERSIONS)
    registry = repository(server, "aws", key)
    image = SmallImage.named("aws")
    digest = registry.push(image, "build-1")
    ecr = server.client(key=key)
    with pytest.raises(ClientError) as refused:
        ecr.put_image(repositoryName="aws", imageManifest=image.manifest().decode(), imageTag="v1")
    assert code_of(refused) == "AccessDeniedException"
    server.client().put_image(repositoryName="aws", imageManifest=image.manifest().decode(), imageTag="v1")
    for image_ids in ([{"imageDigest": digest}], [{"imageTag": "build-1"}, {"imageTag": "v1"}]):
        with pytest.raises(ClientError) as refused:
            ecr.batch_delete_image(repositoryName="aws", imageIds=image_ids)
        assert code_of(refused) == "AccessDeniedException"
        assert tags_of(server, "aws") == {"v1": digest, "build-1": digest}


def test_tags_match_a_pattern_and_what_comes_by_digest_has_none(
    server: InProcessDriver, users: Users
) -> None:
    mine = repository(server, "shaped", users("shaper", EVERYTHING, TAGS_MATCH_A_PATTERN))
    child = SmallImage.named("child")
    mine.push_blob(child.config)
    mine.push_blob(child.layer)
    assert put(mine, digest_of(child.manifest()), child.manifest()).status == 201
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [
                {
                    "mediaType": MANIFEST_TYPE,
                    "digest": digest_of(child.manifest()),
                    "size": len(child.manifest()),
                }
            ],
        }
    ).encode()
    assert put(mine, "latest", index, INDEX_TYPE).status == 403
    assert put(mine, "v1", index, INDEX_TYPE).status == 201
    assert tags_of(server, "shaped") == {"v1": digest_of(index)}


def test_an_allow_may_depend_on_the_tag_and_on_the_type(server: InProcessDriver, users: Users) -> None:
    statements = (
        {"Effect": "Allow", "NotAction": "ecr:PutImage", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "ecr:PutImage",
            "Resource": "*",
            "Condition": {
                "StringEquals": {"openecr:ImageTag": "dev", "openecr:ManifestMediaType": MANIFEST_TYPE}
            },
        },
    )
    mine = repository(server, "narrow", users("narrow", *statements))
    image = SmallImage.named("narrow")
    mine.push(image, "dev")
    answer = put(mine, "other", image.manifest())
    assert error_of(answer)[2].endswith("because no identity-based policy allows the ecr:PutImage action")
    assert put(mine, digest_of(image.manifest()), image.manifest()).status == 403
    assert list(tags_of(server, "narrow")) == ["dev"]
