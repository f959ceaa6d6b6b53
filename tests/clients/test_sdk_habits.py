"""What AWS's SDK for Python does around a call: finds the endpoint, signs or not, waits, and tries again."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

from tests.clients import images
from tests.clients.commands import AWS_CLI_1, AWS_CLI_2, Shell
from tests.clients.plain_registry import PlainRegistry
from tests.requirements import require_tool
from tests.running import ACCOUNT, RunningServer, running_server

NOBODY = "http://127.0.0.1:9"
"""Port 9 throws away what it gets, where anybody listens at all."""


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool(AWS_CLI_1, package="awscli")
    require_tool(AWS_CLI_2, package="awscli")


@pytest.fixture(scope="module")
def full_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that has no room for pushes."""
    options = ("--storage-min-free-ratio", "0.999")
    with running_server(tmp_path_factory.mktemp("full"), options=options) as running:
        yield running


def changed(shell: Shell, **changes: str) -> Shell:
    """The shell with other variables."""
    return Shell(shell.home, shell.environment | changes)


def test_the_endpoint_of_one_service_goes_before_that_of_all(server: RunningServer, shell: Shell) -> None:
    one = changed(shell, AWS_ENDPOINT_URL=NOBODY, AWS_ENDPOINT_URL_ECR=server.url)
    assert "repositories" in json.loads(one.run(AWS_CLI_1, "ecr", "describe-repositories"))


@pytest.mark.parametrize("program", [AWS_CLI_1, AWS_CLI_2], ids=["v1", "v2"])
def test_the_endpoint_of_the_command_goes_before_all(
    tls_server: RunningServer, tls_shell: Shell, program: str
) -> None:
    """Both versions, over HTTPS with the CA from AWS_CA_BUNDLE."""
    other = changed(tls_shell, AWS_ENDPOINT_URL=NOBODY, AWS_ENDPOINT_URL_STS=NOBODY)
    said = other.run(program, "--endpoint-url", tls_server.url, "sts", "get-caller-identity")
    assert json.loads(said)["Account"] == ACCOUNT
    del other.environment["AWS_CA_BUNDLE"]
    said = other.fail(program, "--endpoint-url", tls_server.url, "sts", "get-caller-identity")
    assert "SSL validation failed" in said


def test_the_login_command_of_version_1_names_the_registry(server: RunningServer, shell: Shell) -> None:
    command = shlex.split(shell.run(AWS_CLI_1, "ecr", "get-login", "--no-include-email"))
    assert (command[:4], command[4], command[6]) == (["docker", "login", "-u", "AWS"], "-p", server.url)
    with PlainRegistry(server, command[5]) as registry:
        assert registry.request("GET", "/v2/").status == 200


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_every_mode_of_retrying_tries_again_what_the_server_cannot_do_now(
    full_server: RunningServer, mode: Any
) -> None:
    name = f"habits/{mode}"
    once = full_server.client(config=Config(retries={"mode": mode, "total_max_attempts": 2}))
    once.create_repository(repositoryName=name)
    with pytest.raises(ClientError) as refused:
        once.put_image(repositoryName=name, imageManifest=images.debian_image().manifest.decode())
    answer = refused.value.response
    assert answer["Error"]["Code"] == "ServerException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert answer["ResponseMetadata"]["RetryAttempts"] == 1


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_no_mode_of_retrying_tries_a_refusal_again(server: RunningServer, mode: Any) -> None:
    ecr = server.client(config=Config(retries={"mode": mode, "total_max_attempts": 3}))
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException) as refused:
        ecr.list_images(repositoryName="habits/none")
    assert refused.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_a_request_without_a_signature_is_told_what_it_lacks(server: RunningServer) -> None:
    unsigned = Config(signature_version=UNSIGNED)
    codes: dict[str, tuple[str, int]] = {}
    for service, operation in (("sts", "get_caller_identity"), ("ecr", "get_authorization_token")):
        with pytest.raises(ClientError) as refused:
            getattr(server.client(service, config=unsigned), operation)()
        answer = refused.value.response
        codes[service] = (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"])
        assert answer["ResponseMetadata"]["RequestId"]
    assert codes == {
        "sts": ("MissingAuthenticationToken", 403),
        "ecr": ("MissingAuthenticationTokenException", 400),
    }


def test_who_waits_for_what_is_not_there_stops_waiting(server: RunningServer) -> None:
    waiter = server.client().get_waiter("image_scan_complete")
    with pytest.raises(WaiterError) as refused:
        waiter.wait(repositoryName="habits/none", imageId={"imageTag": "v1"}, WaiterConfig={"Delay": 300})
    assert "(UnknownOperationException)" in str(refused.value) or "NotFoundException" in str(refused.value)
