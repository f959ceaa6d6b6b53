"""Owners let others in and keep their own out: policies of repositories and registries, on both faces."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.scenario.drivers import ACCOUNT, REGION, InProcessDriver, authorization, in_process_driver
from tests.scenario.images import Registry, SmallImage, digest_of, error_of
from tests.scenario.storages import Flags

STRANGER = "111122223333"
ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
Users = Callable[..., tuple[str, str]]


def policy(*statements: dict[str, Any]) -> str:
    """A policy as somebody writes it."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(principal: Any, *actions: str, **more: Any) -> dict[str, Any]:
    """A statement of a repository's policy."""
    return {"Effect": "Allow", "Principal": principal, "Action": list(actions), **more}


def told(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    """Code and sentence."""
    found: Any = error.value.response
    return found["Error"]["Code"], found["Error"]["Message"]


@pytest.fixture(scope="module")
def server(storage: Flags, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessDriver]:
    with in_process_driver(tmp_path_factory.mktemp("policies"), flags=storage) as driver:
        yield driver


@pytest.fixture(scope="module")
def stranger(server: InProcessDriver) -> tuple[str, str]:
    key = server.call(server.server.parts.accounts.create, STRANGER)
    return key.access_key_id, key.secret


@pytest.fixture(scope="module")
def users(server: InProcessDriver, stranger: tuple[str, str]) -> Users:
    """Make a user of the first account, or of the stranger's, with statements of its own; gives its key."""

    def make(name: str, *statements: dict[str, Any], is_strange: bool = False) -> tuple[str, str]:
        iam = server.client("iam", key=stranger if is_strange else None)
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    return make


LOGIN = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def pushed(server: InProcessDriver, name: str) -> SmallImage:
    ecr = server.client()
    ecr.create_repository(repositoryName=name)
    image = SmallImage.named(name)
    Registry(server, authorization(ecr), name).push(image, "v1")
    return image


def test_a_policy_is_kept_as_ecr_lays_it_out(server: InProcessDriver, users: Users) -> None:
    ecr = server.client()
    ecr.create_repository(repositoryName="laid/out")
    with pytest.raises(ClientError) as missing:
        ecr.get_repository_policy(repositoryName="laid/out")
    assert told(missing) == (
        "RepositoryPolicyNotFoundException",
        (
            "Repository policy does not exist for the repository with name 'laid/out' "
            f"in the registry with id '{ACCOUNT}'"
        ),
    )
    text = policy(allow({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, *PULL, Sid="let them pull"))
    said = ecr.set_repository_policy(repositoryName="laid/out", policyText=text)
    assert said["policyText"] == (
        "{\n"
        '  "Version" : "2012-10-17",\n'
        '  "Statement" : [ {\n'
        '    "Effect" : "Allow",\n'
        '    "Principal" : {\n'
        f'      "AWS" : "arn:aws:iam::{ACCOUNT}:root"\n'
        "    },\n"
        '    "Action" : [ "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer" ],\n'
        '    "Sid" : "let them pull"\n'
        "  } ]\n"
        "}"
    )
    assert ecr.get_repository_policy(repositoryName="laid/out")["policyText"] == said["policyText"]
    assert ecr.delete_repository_policy(repositoryName="laid/out")["policyText"] == said["policyText"]
    with pytest.raises(ClientError):
        ecr.delete_repository_policy(repositoryName="laid/out")


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("{", "Invalid repository policy provided"),
        (policy({"Effect": "Allow", "Action": "ecr:*"}), "Invalid repository policy provided"),
        (policy(allow("*")), "Invalid repository policy provided"),
        (
            policy(allow({"AWS": f"arn:aws:iam::{ACCOUNT}:user/nobody"}, "ecr:*")),
            "Principal not found",
        ),
        (policy(allow({"AWS": "999999999999"}, "ecr:*")), "Principal not found"),
        (policy(allow("*", "ecr:*", Sid="中")), "Invalid repository policy provided"),
        (
            policy(allow("*", "ecr:*", Condition={"NumericEquals": {"aws:EpochTime": 7}})).replace(
                "7", "1e999"
            ),
            "Invalid repository policy provided",
        ),
    ],
)
def test_what_is_no_policy_is_refused_in_ecrs_words(
    server: InProcessDriver, text: str, constraint: str
) -> None:
    ecr = server.client()
    if not any(each["repositoryName"] == "refused" for each in ecr.describe_repositories()["repositories"]):
        ecr.create_repository(repositoryName="refused")
    with pytest.raises(ClientError) as refused:
        ecr.set_repository_policy(repositoryName="refused", policyText=text)
    assert told(refused) == (
        "InvalidParameterException",
        f"Invalid parameter at 'PolicyText' failed to satisfy constraint: '{constraint}'",
    )


def test_nobody_locks_himself_out_unless_he_insists(server: InProcessDriver, users: Users) -> None:
    server.client().create_repository(repositoryName="locked")
    keeper = server.client(key=users("keeper", {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}))
    text = policy({**allow("*", "ecr:SetRepositoryPolicy"), "Effect": "Deny"})
    with pytest.raises(ClientError) as refused:
        keeper.set_repository_policy(repositoryName="locked", policyText=text)
    assert told(refused)[0] == "InvalidParameterException"
    keeper.set_repository_policy(repositoryName="locked", policyText=text, force=True)
    with pytest.raises(ClientError) as denied:
        keeper.set_repository_policy(repositoryName="locked", policyText=policy(allow("*", *PULL)))
    assert told(denied) == (
        "AccessDeniedException",
        (
            f"User: arn:aws:iam::{ACCOUNT}:user/keeper is not authorized to perform: ecr:SetRepositoryPolicy on "
            f"resource: {ARN}/locked with an explicit deny in a resource-based policy"
        ),
    )
    server.client().set_repository_policy(repositoryName="locked", policyText=policy(allow("*", *PULL)))


def test_another_account_does_not_drop_its_own_right_by_mistake(
    server: InProcessDriver, stranger: tuple[str, str]
) -> None:
    server.client().create_repository(repositoryName="lent")
    text = policy(allow({"AWS": STRANGER}, "ecr:*"))
    server.client().set_repository_policy(repositoryName="lent", policyText=text)
    tenant = server.client(key=stranger)
    less = policy(allow({"AWS": STRANGER}, *PULL))
    with pytest.raises(ClientError) as refused:
        tenant.set_repository_policy(registryId=ACCOUNT, repositoryName="lent", policyText=less)
    assert told(refused) == (
        "InvalidParameterException",
        (
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: "
            "'The policy would not allow you to set the repository policy again: use force'"
        ),
    )
    tenant.set_repository_policy(registryId=ACCOUNT, repositoryName="lent", policyText=less, force=True)
    with pytest.raises(ClientError) as denied:
        tenant.get_repository_policy(registryId=ACCOUNT, repositoryName="lent")
    assert told(denied)[0] == "AccessDeniedException"


def test_a_policy_that_denies_binds_root_too(server: InProcessDriver) -> None:
    pushed(server, "bound")
    ecr = server.client()
    denied = {**allow("*", "ecr:BatchGetImage"), "Effect": "Deny"}
    ecr.set_repository_policy(repositoryName="bound", policyText=policy(denied))
    answer = Registry(server, authorization(ecr), "bound").call("GET", "/manifests/v1")
    assert answer.status == 403
    assert error_of(answer)[2] == (
        f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: ecr:BatchGetImage on resource: "
        f"{ARN}/bound with an explicit deny in a resource-based policy"
    )


def test_another_accounts_user_pulls_once_both_sides_allow(
    server: InProcessDriver, stranger: tuple[str, str], users: Users
) -> None:
    image = pushed(server, "across")
    key = users("puller", LOGIN, is_strange=True)
    registry = Registry(server, authorization(server.client(key=key)), "across")

    def pulled() -> tuple[int, str]:
        answer = registry.call("GET", "/manifests/v1")
        return answer.status, "" if answer.status == 200 else error_of(answer)[2]

    head = (
        f"User: arn:aws:iam::{STRANGER}:user/puller is not authorized to perform: ecr:BatchGetImage on "
        f"resource: {ARN}/across because no"
    )
    assert pulled() == (403, f"{head} resource-based policy allows the ecr:BatchGetImage action")
    server.client().set_repository_policy(
        repositoryName="across", policyText=policy(allow({"AWS": STRANGER}, *PULL))
    )
    assert pulled() == (403, f"{head} identity-based policy allows the ecr:BatchGetImage action")
    statement = {"Effect": "Allow", "Action": [*PULL], "Resource": f"{ARN}/across"}
    server.client("iam", key=stranger).put_user_policy(
        UserName="puller", PolicyName="more", PolicyDocument=policy(statement)
    )
    assert pulled() == (200, "")
    assert registry.call("GET", f"/blobs/{digest_of(image.layer)}").body == image.layer
    found = server.client(key=key).batch_get_image(
        registryId=ACCOUNT, repositoryName="across", imageIds=[{"imageTag": "v1"}]
    )
    assert [each["imageManifest"].encode() for each in found["images"]] == [image.manifest()]
    server.client().delete_repository_policy(repositoryName="across")
    assert pulled()[0] == 403


def test_a_user_that_is_made_again_is_another_one(server: InProcessDriver, users: Users) -> None:
    pushed(server, "again")
    iam, ecr = server.client("iam"), server.client()
    key = users("phoenix", LOGIN)
    arn = f"arn:aws:iam::{ACCOUNT}:user/phoenix"
    user_id = iam.get_user(UserName="phoenix")["User"]["UserId"]
    ecr.set_repository_policy(repositoryName="again", policyText=policy(allow({"AWS": arn}, *PULL)))
    assert (
        Registry(server, authorization(server.client(key=key)), "again").call("GET", "/manifests/v1").status
        == 200
    )
    iam.delete_access_key(UserName="phoenix", AccessKeyId=key[0])
    iam.delete_user_policy(UserName="phoenix", PolicyName="own")
    iam.delete_user(UserName="phoenix")
    shown = json.loads(ecr.get_repository_policy(repositoryName="again")["policyText"])
    assert shown["Statement"][0]["Principal"] == {"AWS": user_id}
    key = users("phoenix", LOGIN)
    assert (
        Registry(server, authorization(server.client(key=key)), "again").call("GET", "/manifests/v1").status
        == 403
    )


def test_a_registrys_policy_is_about_all_its_repositories(server: InProcessDriver, users: Users) -> None:
    pushed(server, "team/one")
    pushed(server, "other/two")
    ecr = server.client()
    key = users("reader", LOGIN)
    with pytest.raises(ClientError) as missing:
        ecr.get_registry_policy()
    assert told(missing)[0] == "RegistryPolicyNotFoundException"
    statement = allow(
        {"AWS": f"arn:aws:iam::{ACCOUNT}:user/reader"}, "ecr:BatchGetImage", Resource=f"{ARN}/team/*"
    )
    ecr.put_registry_policy(policyText=policy(statement))
    login = authorization(server.client(key=key))
    assert Registry(server, login, "team/one").call("GET", "/manifests/v1").status == 200
    assert Registry(server, login, "other/two").call("GET", "/manifests/v1").status == 403
    ecr.put_account_setting(name="REGISTRY_POLICY_SCOPE", value="V1")
    assert Registry(server, login, "team/one").call("GET", "/manifests/v1").status == 403
    with pytest.raises(ClientError) as refused:
        ecr.put_registry_policy(policyText=policy(statement))
    assert told(refused)[1].endswith("'Invalid registry policy provided'")
    ecr.put_account_setting(name="REGISTRY_POLICY_SCOPE", value="V2")
    ecr.delete_registry_policy()
    assert Registry(server, login, "team/one").call("GET", "/manifests/v1").status == 403


def test_a_repositorys_tags_decide(server: InProcessDriver, users: Users) -> None:
    pushed(server, "tagged")
    ecr = server.client()
    key = users(
        "careful",
        LOGIN,
        {"Effect": "Allow", "Action": [*PULL], "Resource": "*"},
        {
            "Effect": "Deny",
            "Action": "ecr:*",
            "Resource": "*",
            "Condition": {"StringEquals": {"ecr:ResourceTag/Env": "prod"}},
        },
    )
    registry = Registry(server, authorization(server.client(key=key)), "tagged")
    assert registry.call("GET", "/manifests/v1").status == 200
    ecr.tag_resource(resourceArn=f"{ARN}/tagged", tags=[{"Key": "env", "Value": "prod"}])
    answer = registry.call("GET", "/manifests/v1")
    assert (
        answer.status,
        error_of(answer)[2].endswith("with an explicit deny in an identity-based policy"),
    ) == (
        403,
        True,
    )
    ecr.untag_resource(resourceArn=f"{ARN}/tagged", tagKeys=["env"])
    assert registry.call("GET", "/manifests/v1").status == 200


def test_no_tag_hides_another_one(server: InProcessDriver, users: Users) -> None:
    """Condition keys know no letter case, and tags do: two that differ in nothing else would be one to policies."""
    pushed(server, "hidden")
    ecr = server.client()
    ecr.tag_resource(resourceArn=f"{ARN}/hidden", tags=[{"Key": "Env", "Value": "prod"}])
    everything = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    frozen = {
        "Effect": "Deny",
        "Action": [*PULL],
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/env": "prod"}},
    }
    settled = {
        "Effect": "Deny",
        "Action": ["ecr:TagResource", "ecr:UntagResource"],
        "Resource": "*",
        "Condition": {"ForAnyValue:StringEquals": {"aws:TagKeys": ["Env"]}},
    }
    tagger = server.client(key=users("tagger", everything, frozen, settled))
    with pytest.raises(ClientError) as denied:
        tagger.tag_resource(resourceArn=f"{ARN}/hidden", tags=[{"Key": "Env", "Value": "dev"}])
    assert told(denied)[0] == "AccessDeniedException"
    for key in ("env", "ENV"):
        with pytest.raises(ClientError) as refused:
            tagger.tag_resource(resourceArn=f"{ARN}/hidden", tags=[{"Key": key, "Value": "dev"}])
        assert told(refused)[0] == "InvalidTagParameterException"
    tagger.tag_resource(resourceArn=f"{ARN}/hidden", tags=[{"Key": "team", "Value": "dev"}])
    assert Registry(server, authorization(tagger), "hidden").call("GET", "/manifests/v1").status == 403
    both = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    with pytest.raises(ClientError) as refused:
        ecr.create_repository(repositoryName="hidden/too", tags=both)
    assert told(refused)[0] == "InvalidTagParameterException"


def test_what_a_request_brings_decides(server: InProcessDriver, users: Users) -> None:
    """Tags of a new repository, which need an action of their own too, and which setting is meant."""
    key = users(
        "maker",
        {"Effect": "Allow", "Action": "ecr:CreateRepository", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "ecr:TagResource",
            "Resource": f"{ARN}/made/*",
            "Condition": {
                "StringEquals": {"aws:RequestTag/team": "red"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "stage"]},
            },
        },
        {
            "Effect": "Allow",
            "Action": ["ecr:GetAccountSetting", "ecr:PutAccountSetting"],
            "Resource": "*",
            "Condition": {"StringEquals": {"ecr:AccountSetting": "BLOB_MOUNTING"}},
        },
    )
    maker = server.client(key=key)

    def made(name: str, **tags: str) -> str:
        try:
            maker.create_repository(
                repositoryName=name, tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )
        except ClientError as error:
            return str(error)
        return ""

    assert made("made/plain") == ""
    assert made("made/red", team="red", stage="1") == ""
    for name, tags in (
        ("made/blue", {"team": "blue"}),
        ("made/more", {"team": "red", "cost": "1"}),
        ("made/less", {"stage": "1"}),
        ("elsewhere", {"team": "red"}),
    ):
        assert "not authorized to perform: ecr:TagResource" in made(name, **tags), name
    names = {each["repositoryName"] for each in server.client().describe_repositories()["repositories"]}
    assert {"made/plain", "made/red"} <= names
    assert not names & {"made/blue", "made/more", "made/less", "elsewhere"}

    maker.put_account_setting(name="BLOB_MOUNTING", value="DISABLED")
    assert maker.get_account_setting(name="BLOB_MOUNTING")["value"] == "DISABLED"
    for name in ("REGISTRY_POLICY_SCOPE", "BASIC_SCAN_TYPE_VERSION", "NO_SUCH_SETTING"):
        with pytest.raises(ClientError) as denied:
            maker.get_account_setting(name=name)
        assert told(denied)[0] == "AccessDeniedException"


def test_a_policy_for_everybody_is_not_for_who_says_nothing_of_himself(server: InProcessDriver) -> None:
    image = pushed(server, "public")
    server.client().set_repository_policy(repositoryName="public", policyText=policy(allow("*", "ecr:*")))
    registry = Registry(server, "", "public")
    for path in ("/manifests/v1", f"/blobs/{digest_of(image.layer)}", "/tags/list"):
        assert registry.call("GET", path).status == 401, path


def test_an_upload_belongs_to_who_began_it(server: InProcessDriver, users: Users) -> None:
    server.client().create_repository(repositoryName="uploads")
    everything = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    mine, theirs = (
        Registry(server, authorization(server.client(key=users(name, everything))), "uploads")
        for name in ("first", "second")
    )
    path = mine.start_upload()
    for method, more in (("GET", ""), ("PATCH", ""), ("PUT", f"?digest={digest_of(b'x')}"), ("DELETE", "")):
        answer = theirs.call(method, f"{path}{more}", b"x" if method in {"PATCH", "PUT"} else b"")
        assert error_of(answer)[:2] == (404, "BLOB_UPLOAD_UNKNOWN"), method
    upload_id = path.rpartition("/")[2]
    with pytest.raises(ClientError) as missing:
        server.client().complete_layer_upload(
            repositoryName="uploads", uploadId=upload_id, layerDigests=[digest_of(b"x")]
        )
    assert told(missing)[0] == "UploadNotFoundException"
    assert mine.call("PUT", f"{path}?digest={digest_of(b'x')}", b"x").status == 201
