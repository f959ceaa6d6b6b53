"""A server and clients whose clocks differ: what SDKs correct by themselves, and what the others are told."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.commands import AWS_CLI_1, AWS_CLI_2, Shell
from tests.requirements import lack, require_tool
from tests.running import RunningServer, running_server

LIBRARY = "faketime/libfaketimeMT.so.1"


def library() -> Path:
    """The library that moves a program's clock."""
    found = sorted(Path("/usr/lib").glob(f"*/{LIBRARY}"))
    if not found:
        lack(f"{LIBRARY} is not installed; it comes with libfaketime")
    return found[0]


@pytest.fixture(scope="module", params=["+1h", "-1h"])
def skewed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server whose clock is an hour wrong."""
    clock = {"LD_PRELOAD": str(library()), "FAKETIME": request.param, "DONT_FAKE_MONOTONIC": "1"}
    with running_server(tmp_path_factory.mktemp("skewed"), settings=clock) as running:
        yield running


def test_the_go_sdk_corrects_its_clock_by_the_answers_date(skewed: RunningServer, tmp_path: Path) -> None:
    require_tool("terraform-calls", package="make tools")
    Shell(tmp_path, skewed.environment()).run("terraform-calls", "run", "skew-is-corrected")


@pytest.mark.parametrize("program", [AWS_CLI_1, AWS_CLI_2], ids=["v1", "v2"])
def test_the_aws_cli_is_told_that_the_clocks_differ(
    skewed: RunningServer, tmp_path: Path, program: str
) -> None:
    require_tool(program, package="awscli")
    shell = Shell(tmp_path, skewed.environment())
    said = shell.fail(program, "--endpoint-url", skewed.url, "ecr", "describe-repositories")
    assert re.search(
        r"\(InvalidSignatureException\) when calling the DescribeRepositories operation.*: "
        r"Signature (expired|not yet current): \d{8}T\d{6}Z is (now earlier|still later) than \d{8}T\d{6}Z "
        r"\(\d{8}T\d{6}Z [-+] 15 min\.\)",
        said,
    ), said
