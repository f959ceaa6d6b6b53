"""A team moves in: users, a group, a CI job without secrets, another account; with the real AWS CLI and docker."""

import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests.clients import images
from tests.clients.commands import AWS_CLI_2, Shell
from tests.clients.dockerd import Docker
from tests.clients.plain_registry import PlainRegistry
from tests.issuers import Issuer, running_issuer
from tests.requirements import require_root, require_tool
from tests.running import ACCOUNT, REGION, RunningServer, running_server

OPENECR = (sys.executable, "-m", "openecr")
OTHER = "111122223333"
ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
POWER_USER = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
PULL_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool("docker")
    require_tool(AWS_CLI_2, package="awscli")
    require_root()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    folder = tmp_path_factory.mktemp("issuer")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_issuer(folder)) as issuer,
    ):
        yield issuer


@pytest.fixture(scope="module")
def server(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "OPENECR_OIDC_ISSUERS": issuer.url,
        "OPENECR_OIDC_CA_FILE": str(issuer.ca_file),
        "OPENECR_OIDC_PRIVATE_NETWORKS": "127.0.0.0/8",
    }
    with running_server(tmp_path_factory.mktemp("story"), settings=settings) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a key, or a session, at the AWS CLI."""

    shell: Shell
    server: RunningServer

    def aws(self, *arguments: str) -> Any:
        """Run `aws ...`, which must succeed; gives its answer."""
        said = self.shell.run(AWS_CLI_2, "--endpoint-url", self.server.url, *arguments)
        return json.loads(said) if said.startswith(("{", "[")) else said

    def denied(self, *arguments: str) -> str:
        """Run `aws ...`, which must fail; gives what it printed."""
        return self.shell.fail(AWS_CLI_2, "--endpoint-url", self.server.url, *arguments)

    def password(self) -> str:
        """What docker logs in with."""
        return str(self.aws("ecr", "get-login-password")).strip()


class Town:
    """The server, and who comes to it."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._number = 0
        self.root = self.person({})

    def person(self, credentials: dict[str, str]) -> Person:
        """Somebody with these credentials; by default the root of the first account."""
        self._number += 1
        names = {
            "AccessKeyId": "AWS_ACCESS_KEY_ID",
            "SecretAccessKey": "AWS_SECRET_ACCESS_KEY",
            "SessionToken": "AWS_SESSION_TOKEN",
        }
        changes = {names[name]: value for name, value in credentials.items() if name in names}
        shell = Shell(self._folder / str(self._number), {**self.server.environment(), **changes})
        return Person(shell, self.server)

    def user(self, name: str) -> Person:
        """A new user, who may do nothing."""
        self.root.aws("iam", "create-user", "--user-name", name)
        made = self.root.aws("iam", "create-access-key", "--user-name", name)["AccessKey"]
        return self.person(made)


@pytest.fixture(scope="module")
def town(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(server, tmp_path_factory.mktemp("people"))


def sentence(who: str, action: str, resource: str, why: str) -> str:
    """AWS's words."""
    return f"User: {who} is not authorized to perform: {action} on resource: {resource} {why}"


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def loaded(docker: Docker, folder: Path, uri: str, **labels: str) -> images.Image:
    """Give docker an image under a name."""
    image = images.debian_image(**labels)
    docker.run("load", "--input", str(images.write_docker_archive(folder / "image.tar", image, uri)))
    return image


def test_nobody_may_do_anything_by_default(town: Town, docker: Docker, tmp_path: Path) -> None:
    uri = town.server.create_repository("story/closed")
    nobody = town.user("nobody")
    arn = f"arn:aws:iam::{ACCOUNT}:user/nobody"
    missing = "because no identity-based policy allows the {} action"
    said = nobody.denied("ecr", "describe-repositories", "--repository-names", "story/closed")
    assert "An error occurred (AccessDeniedException) when calling the DescribeRepositories operation" in said
    action = "ecr:DescribeRepositories"
    assert sentence(arn, action, f"{ARN}/story/closed", missing.format(action)) in said
    action = "ecr:GetAuthorizationToken"
    assert sentence(arn, action, "*", missing.format(action)) in nobody.denied("ecr", "get-login-password")
    assert nobody.aws("sts", "get-caller-identity")["Arn"] == arn

    login = policy({"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"})
    town.root.aws(
        "iam",
        "put-user-policy",
        "--user-name",
        "nobody",
        "--policy-name",
        "login",
        "--policy-document",
        login,
    )
    docker.run("login", "-u", "AWS", "--password-stdin", town.server.host, stdin=nobody.password())
    loaded(docker, tmp_path, f"{uri}:v1", story="closed")
    action = "ecr:InitiateLayerUpload"
    said = docker.fail("push", f"{uri}:v1")
    assert f"denied: {sentence(arn, action, f'{ARN}/story/closed', missing.format(action))}" in said


def test_a_group_pushes_and_a_tag_of_the_repository_stops_it(
    town: Town, docker: Docker, tmp_path: Path
) -> None:
    uri = town.server.create_repository("story/team")
    ann = town.user("ann")
    iam = ("iam",)
    town.root.aws(*iam, "create-group", "--group-name", "builders")
    town.root.aws(*iam, "attach-group-policy", "--group-name", "builders", "--policy-arn", POWER_USER)
    town.root.aws(*iam, "add-user-to-group", "--group-name", "builders", "--user-name", "ann")
    docker.run("login", "-u", "AWS", "--password-stdin", town.server.host, stdin=ann.password())
    loaded(docker, tmp_path, f"{uri}:v1", story="team")
    docker.run("push", f"{uri}:v1")

    frozen = {
        "Effect": "Deny",
        "Action": "ecr:PutImage",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/env": "prod"}},
    }
    made = town.root.aws(
        *iam, "create-policy", "--policy-name", "frozen", "--policy-document", policy(frozen)
    )
    town.root.aws(*iam, "attach-user-policy", "--user-name", "ann", "--policy-arn", made["Policy"]["Arn"])
    loaded(docker, tmp_path, f"{uri}:v2", story="team again")
    docker.run("push", f"{uri}:v2")
    town.root.aws(
        "ecr", "tag-resource", "--resource-arn", f"{ARN}/story/team", "--tags", "Key=env,Value=prod"
    )
    loaded(docker, tmp_path, f"{uri}:v3", story="team at last")
    why = "with an explicit deny in an identity-based policy"
    arn = f"arn:aws:iam::{ACCOUNT}:user/ann"
    assert sentence(arn, "ecr:PutImage", f"{ARN}/story/team", why) in docker.fail("push", f"{uri}:v3")
    assert docker.run("pull", f"{uri}:v2")


def test_a_ci_job_pushes_without_a_secret_of_its_own(
    town: Town, issuer: Issuer, docker: Docker, tmp_path: Path
) -> None:
    uri = town.server.create_repository("story/ci")
    provider = town.root.aws(
        *("iam", "create-open-id-connect-provider"),
        *("--url", issuer.url, "--client-id-list", "sts.amazonaws.com", "--thumbprint-list", "a" * 40),
    )["OpenIDConnectProviderArn"]
    trust = policy(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {f"{issuer.provider}:aud": "sts.amazonaws.com"},
                "StringLike": {f"{issuer.provider}:sub": "repo:team/app:*"},
            },
        }
    )
    role = town.root.aws("iam", "create-role", "--role-name", "ci", "--assume-role-policy-document", trust)[
        "Role"
    ]["Arn"]
    town.root.aws("iam", "attach-role-policy", "--role-name", "ci", "--policy-arn", POWER_USER)
    job = ("sts", "assume-role-with-web-identity", "--role-arn", role, "--role-session-name", "run-1")
    stranger = issuer.token(aud="sts.amazonaws.com", sub="repo:else/app:ref:refs/heads/main")
    assert "Not authorized to perform sts:AssumeRoleWithWebIdentity" in town.root.denied(
        *job, "--web-identity-token", stranger
    )
    token = issuer.token(aud="sts.amazonaws.com", sub="repo:team/app:ref:refs/heads/main")
    given = town.root.aws(*job, "--web-identity-token", token)
    ci = town.person(given["Credentials"])
    assert ci.aws("sts", "get-caller-identity")["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/run-1"
    docker.run("login", "-u", "AWS", "--password-stdin", town.server.host, stdin=ci.password())
    loaded(docker, tmp_path, f"{uri}:v1", story="ci")
    docker.run("push", f"{uri}:v1")
    assert "AccessDenied" in ci.denied("ecr", "delete-repository", "--repository-name", "story/ci")


def test_another_account_pulls_once_it_is_let_in(town: Town) -> None:
    town.server.create_repository("story/shared")
    image = images.debian_image(story="shared")
    with PlainRegistry(town.server) as registry:
        registry.push("story/shared", "v1", image)
    made = json.loads(
        town.root.shell.run(*OPENECR, "accounts", "create", OTHER, "--json", "--data", str(town.server.data))
    )
    key = {"AccessKeyId": made["access_key_id"], "SecretAccessKey": made["secret_access_key"]}
    other = town.person(key)
    wanted = (
        *("ecr", "batch-get-image", "--registry-id", ACCOUNT, "--repository-name", "story/shared"),
        *("--image-ids", "imageTag=v1"),
    )
    why = "because no resource-based policy allows the ecr:BatchGetImage action"
    arn = f"arn:aws:iam::{OTHER}:root"
    assert sentence(arn, "ecr:BatchGetImage", f"{ARN}/story/shared", why) in other.denied(*wanted)
    let_in = {
        "Effect": "Allow",
        "Principal": {"AWS": OTHER},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    }
    town.root.aws(
        *("ecr", "set-repository-policy", "--repository-name", "story/shared"),
        *("--policy-text", policy(let_in)),
    )
    (found,) = other.aws(*wanted)["images"]
    assert found["imageManifest"].encode() == image.manifest
    with PlainRegistry(town.server, other.password()) as registry:
        assert registry.manifest("story/shared", "v1").body == image.manifest


def test_a_key_that_is_taken_away_in_the_middle_of_a_pull_loop_ends_it(town: Town) -> None:
    town.server.create_repository("story/loop")
    image = images.debian_image(story="loop")
    with PlainRegistry(town.server) as registry:
        registry.push("story/loop", "v1", image)
    eve = town.user("eve")
    town.root.aws("iam", "attach-user-policy", "--user-name", "eve", "--policy-arn", PULL_ONLY)
    (key,) = town.root.aws("iam", "list-access-keys", "--user-name", "eve")["AccessKeyMetadata"]
    with PlainRegistry(town.server, eve.password()) as registry:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            assert registry.request("GET", "/v2/story/loop/manifests/v1").status == 200
        town.root.aws(
            *("iam", "update-access-key", "--user-name", "eve"),
            *("--access-key-id", key["AccessKeyId"], "--status", "Inactive"),
        )
        assert registry.request("GET", "/v2/story/loop/manifests/v1").status == 401


def test_the_operator_learns_why(town: Town) -> None:
    mallory = town.user("mallory")
    said = mallory.denied("--debug", "ecr", "describe-repositories", "--repository-names", "story/ci")
    request_id = re.search(r"'RequestId': '([0-9a-f-]{36})'|x-amzn-requestid': '([0-9a-f-]{36})'", said)
    assert request_id is not None, said
    explain = (*OPENECR, "explain", "--data", str(town.server.data))
    deadline = time.monotonic() + 10.0  # it is written within a second
    while True:
        answer = town.root.shell.call(*explain, "--request", request_id[1] or request_id[2])
        if answer.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert "action     ecr:DescribeRepositories" in answer.stdout
    assert "denied: no identity-based policy allows it" in answer.stdout
    now = town.root.shell.run(
        *explain,
        *("--principal", f"arn:aws:iam::{ACCOUNT}:user/mallory", "--action", "ecr:PutImage"),
        *("--resource", f"{ARN}/story/ci"),
    )
    assert f"allow ecr:PutImage on {ARN}/story/ci" in now
