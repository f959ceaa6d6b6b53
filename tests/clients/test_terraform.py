"""The calls of Terraform's AWS provider, made by a program of ours on the SDK that it is built on.

The program checks the answers itself, scenario by scenario; its sources are in `tests/clients/terraform`. Most of what
it proves is that refusals arrive as the exceptions that Terraform acts upon.
"""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.clients.commands import COMMAND_SECONDS, Shell
from tests.clients.images import MEBIBYTE
from tests.requirements import require_tool
from tests.running import REGION, RunningServer, running_server

PROGRAM = "terraform-calls"
SCENARIOS = (
    "account-is-known",
    "images-are-data",
    "images-keep-a-repository",
    "policy-lives",
    "provider-changes",
    "provider-lives",
    "repositories-are-data",
    "repository-errors",
    "repository-lives",
    "role-changes",
    "role-lives",
    "service-role-lives",
    "token-is-data",
    "user-changes",
    "user-lives",
    "wrong-key-is-told",
)
OF_SPECIAL_SERVERS = ("full-disk-is-told", "skew-is-corrected", "throttling-is-retried")
NOT_IMPLEMENTED = Path(__file__).resolve().parents[1] / "golden" / "aws_not_implemented.txt"
LARGE_BODIES_MEBIBYTES = (28, 28, 28, 28, 28, 28, 24)
"""What the server holds of large bodies at once, as bodies of the largest size that a layer's part may have."""


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    require_tool(PROGRAM, package="make tools")


@pytest.fixture(scope="module", params=["http", "https"])
def terraform(request: pytest.FixtureRequest) -> Shell:
    """A shell with the keys of a server's account, the endpoint and, for HTTPS, the CA."""
    found: Shell = request.getfixturevalue("shell" if request.param == "http" else "tls_shell")
    return found


def test_every_scenario_of_the_program_is_run(terraform: Shell) -> None:
    assert terraform.run(PROGRAM, "list").split() == sorted((*SCENARIOS, *OF_SPECIAL_SERVERS))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_terraform_gets_what_it_acts_upon(terraform: Shell, scenario: str) -> None:
    terraform.run(PROGRAM, "run", scenario)


def test_an_operation_that_is_missing_is_a_plain_refusal_to_the_sdk(terraform: Shell) -> None:
    operations = re.findall(r"^ecr:(\w+)$", NOT_IMPLEMENTED.read_text(), re.MULTILINE)
    for operation in operations:
        said = terraform.run(PROGRAM, "call", operation)
        assert re.fullmatch(rf"400 UnknownOperationException: .*\b{operation}\b.*\n", said), said


def test_a_full_disk_is_the_servers_exception_and_tried_again(tmp_path: Path) -> None:
    with running_server(tmp_path, options=("--storage-min-free-ratio", "0.999")) as full:
        said = Shell(tmp_path / "home", full.environment()).run(PROGRAM, "run", "full-disk-is-told")
    assert "exceeded maximum number of attempts, 3" in said
    assert "StatusCode: 500" in said


def test_a_busy_server_throttles_and_the_sdk_tries_again(server: RunningServer, shell: Shell) -> None:
    with ExitStack() as bodies:
        for mebibytes in LARGE_BODIES_MEBIBYTES:
            bodies.enter_context(unsent_part(server, mebibytes * MEBIBYTE))
        process = subprocess.Popen(
            (PROGRAM, "run", "throttling-is-retried"),
            env=shell.environment,
            executable=require_tool(PROGRAM),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ThrottlingException\n"
            bodies.close()
            said, failed = process.communicate(timeout=COMMAND_SECONDS)
    assert (process.returncode, said) == (0, ""), failed


@contextmanager
def unsent_part(server: RunningServer, size_bytes: int) -> Iterator[None]:
    """A request to upload a layer's part of which the server waits for the body, for as long as the block lasts."""
    environment = server.environment()
    target = "AmazonEC2ContainerRegistry_V20150921.UploadLayerPart"
    request = AWSRequest("POST", f"{server.url}/", {"X-Amz-Target": target}, b"")
    key = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(key, "ecr", REGION).add_auth(request)
    headers = {
        **request.headers,
        "Host": server.host,
        "Content-Type": "application/x-amz-json-1.1",
        "Content-Length": str(size_bytes),
        "Expect": "100-continue",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\n{lines}\r\n".encode())
        answer = connection.recv(1024)
        assert answer.startswith(b"HTTP/1.1 100 "), answer
        yield
