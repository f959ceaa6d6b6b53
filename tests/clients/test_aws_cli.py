"""The AWS CLI, version 1 of the test environment and version 2 of Debian, over HTTP and HTTPS.

Version 2 before 2.13 does not know AWS_ENDPOINT_URL and gets `--endpoint-url`; version 1 has nothing but the
variables.
"""

import json
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.clients import images, texts
from tests.clients.commands import AWS_CLI_1, AWS_CLI_2, Shell
from tests.clients.plain_registry import PlainRegistry
from tests.requirements import require_tool
from tests.running import ACCOUNT, REGION, RunningServer


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool(AWS_CLI_1, package="awscli")
    require_tool(AWS_CLI_2, package="awscli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cli:
    """One installation of the CLI, pointed at one server."""

    program: str
    server: RunningServer
    shell: Shell
    name: str

    def run(self, *arguments: str) -> Any:
        """Run `aws ...`, which must succeed; gives its answer, or None where it has none."""
        said = self.shell.run(*self._command(arguments))
        return json.loads(said) if said else None

    def text(self, *arguments: str) -> str:
        """Run `aws ...`, which must succeed; gives what it printed."""
        return self.shell.run(*self._command(arguments))

    def fail(self, *arguments: str) -> str:
        """Run `aws ...`, which must fail; gives what it printed."""
        return self.shell.fail(*self._command(arguments))

    def repository(self, name: str) -> str:
        """A repository name that no other installation uses."""
        return f"cli/{self.name}/{name}"

    def _command(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        endpoint = ("--endpoint-url", self.server.url) if self.program == AWS_CLI_2 else ()
        return (self.program, *endpoint, *arguments)


@pytest.fixture(scope="module", params=["v1-http", "v2-http", "v1-https", "v2-https"])
def cli(request: pytest.FixtureRequest) -> Cli:
    version, _, scheme = request.param.partition("-")
    server = request.getfixturevalue("server" if scheme == "http" else "tls_server")
    shell = request.getfixturevalue("shell" if scheme == "http" else "tls_shell")
    return Cli(program=AWS_CLI_1 if version == "v1" else AWS_CLI_2, server=server, shell=shell, name=version)


def push(cli: Cli, name: str, tag: str = "v1", **labels: str) -> images.Image:
    image = images.debian_image(**labels)
    with PlainRegistry(cli.server) as registry:
        registry.push(name, tag, image)
    return image


def test_a_repository_is_made_described_and_deleted(cli: Cli) -> None:
    name = cli.repository("made")
    made = cli.run("ecr", "create-repository", "--repository-name", name)["repository"]
    assert made["repositoryUri"] == f"{cli.server.host}/{name}"
    assert made["repositoryArn"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"
    (found,) = cli.run("ecr", "describe-repositories", "--repository-names", name)["repositories"]
    assert found == made
    assert cli.run("ecr", "delete-repository", "--repository-name", name)["repository"] == made
    said = cli.fail("ecr", "describe-repositories", "--repository-names", name)
    assert (
        "An error occurred (RepositoryNotFoundException) when calling the DescribeRepositories operation"
        in said
    )
    assert texts.unknown_repository(name) in said


def test_the_login_password_opens_the_registry(cli: Cli) -> None:
    password = cli.text("ecr", "get-login-password").strip()
    with PlainRegistry(cli.server, password) as registry:
        assert registry.request("GET", "/v2/").status == 200


def test_the_caller_is_the_accounts_root(cli: Cli) -> None:
    said = cli.run("sts", "get-caller-identity")
    assert (said["Account"], said["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")


@pytest.mark.parametrize("cli", ["v2-http"], indirect=True)
def test_a_user_has_a_key_until_it_is_deleted(cli: Cli) -> None:
    name = f"alice-{uuid.uuid4().hex}"
    made = cli.run("iam", "create-user", "--user-name", name, "--path", "/team/")["User"]
    key = cli.run("iam", "create-access-key", "--user-name", name)["AccessKey"]
    as_user = replace(
        cli,
        shell=cli.shell.with_environment(
            AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"]
        ),
    )
    said = as_user.run("sts", "get-caller-identity")
    assert (said["UserId"], said["Arn"]) == (made["UserId"], f"arn:aws:iam::{ACCOUNT}:user/team/{name}")
    assert "(AccessDenied)" in as_user.fail("iam", "list-users")
    cli.run("iam", "delete-access-key", "--user-name", name, "--access-key-id", key["AccessKeyId"])
    assert "(InvalidClientTokenId)" in as_user.fail("sts", "get-caller-identity")
    cli.run("iam", "delete-user", "--user-name", name)


def test_pushed_images_are_described_listed_and_deleted(cli: Cli) -> None:
    name = cli.repository("images")
    cli.run("ecr", "create-repository", "--repository-name", name)
    image = push(cli, name)
    (detail,) = cli.run("ecr", "describe-images", "--repository-name", name)["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (image.digest, ["v1"])
    assert detail["imageSizeInBytes"] == sum(len(content) for content in image.blobs().values())
    assert detail["imageManifestMediaType"] == images.OCI_MANIFEST
    identifier = {"imageDigest": image.digest, "imageTag": "v1"}
    assert cli.run("ecr", "list-images", "--repository-name", name)["imageIds"] == [identifier]
    deleted = cli.run("ecr", "batch-delete-image", "--repository-name", name, "--image-ids", "imageTag=v1")
    assert deleted == {"imageIds": [identifier], "failures": []}
    assert cli.run("ecr", "list-images", "--repository-name", name)["imageIds"] == []


def test_an_image_gets_another_tag_as_awss_guide_says(cli: Cli) -> None:
    name = cli.repository("retagged")
    cli.run("ecr", "create-repository", "--repository-name", name)
    image = push(cli, name)
    got = ("ecr", "batch-get-image", "--repository-name", name, "--image-ids", "imageTag=v1")
    manifest = cli.text(*got, "--output", "text", "--query", "images[].imageManifest").removesuffix("\n")
    assert manifest.encode() == image.manifest
    put = ("ecr", "put-image", "--repository-name", name, "--image-tag", "v2", "--image-manifest", manifest)
    assert cli.run(*put)["image"]["imageId"] == {"imageDigest": image.digest, "imageTag": "v2"}
    said = cli.fail(*put)
    assert "(ImageAlreadyExistsException) when calling the PutImage operation" in said


def test_lists_are_paged_through(cli: Cli) -> None:
    name = cli.repository("paged")
    cli.run("ecr", "create-repository", "--repository-name", name)
    push(cli, name, "v0")
    image = images.debian_image()
    with PlainRegistry(cli.server) as registry:
        for number in range(1, 7):
            registry.push_manifest(name, f"v{number}", image.manifest, image.media_type)
    pages = ("ecr", "list-images", "--repository-name", name, "--page-size", "2")
    tags = cli.text(*pages, "--output", "text", "--query", "imageIds[].imageTag").split()
    assert sorted(tags) == [f"v{number}" for number in range(7)]


def test_an_unknown_image_is_named_in_ecrs_words(cli: Cli) -> None:
    name = cli.repository("empty")
    cli.run("ecr", "create-repository", "--repository-name", name)
    said = cli.fail("ecr", "describe-images", "--repository-name", name, "--image-ids", "imageTag=none")
    assert texts.unknown_image(name, tag="none") in said


def test_resource_tags_are_set_and_taken_away(cli: Cli) -> None:
    name = cli.repository("tagged")
    made = cli.run("ecr", "create-repository", "--repository-name", name, "--tags", "Key=team,Value=blue")
    arn = made["repository"]["repositoryArn"]
    cli.run("ecr", "tag-resource", "--resource-arn", arn, "--tags", "Key=stage,Value=test")
    cli.run("ecr", "untag-resource", "--resource-arn", arn, "--tag-keys", "team")
    assert cli.run("ecr", "list-tags-for-resource", "--resource-arn", arn)["tags"] == [
        {"Key": "stage", "Value": "test"}
    ]


def test_a_wrong_secret_is_refused(cli: Cli) -> None:
    key = cli.shell.environment["AWS_ACCESS_KEY_ID"]
    wrong = {**cli.shell.environment, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "x" * 40}
    stranger = Cli(
        program=cli.program, server=cli.server, shell=Shell(cli.shell.home / "wrong", wrong), name=cli.name
    )
    assert "(InvalidSignatureException)" in stranger.fail("ecr", "describe-repositories")


def test_an_operation_that_is_missing_says_so(cli: Cli) -> None:
    said = cli.fail("ecr", "describe-registry")
    assert "DescribeRegistry" in said
