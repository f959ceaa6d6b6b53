"""The specification's own conformance suites find no fault with a running server.

With `OPENECR_UPDATE_GOLDEN=1` the list of tests that a suite skips, and the table of results in the
documentation, are written anew; otherwise they are compared.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.suites import SUITES, Result, Suite, run_suite
from tests.requirements import require_tool
from tests.running import RunningServer, running_server

PROJECT = Path(__file__).parents[2]
SKIPS = Path(__file__).with_name("skips.json")
TABLE = PROJECT / "docs" / "conformance.md"
UPDATE = os.environ.get("OPENECR_UPDATE_GOLDEN") == "1"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    for program in {suite.program for suite in SUITES}:
        require_tool(program)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("conformance")) as running:
        # Off in a new registry, as in ECR; the suites test mounts.
        running.client().put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
        yield running


@pytest.fixture(scope="module", params=SUITES, ids=lambda suite: suite.name)
def result(
    request: pytest.FixtureRequest, server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Result]:
    suite: Suite = request.param
    for name in suite.repository_names:
        server.create_repository(name)
    yield run_suite(suite, server, tmp_path_factory.mktemp("results"))
    for name in suite.repository_names:
        server.client().delete_repository(repositoryName=name, force=True)


def test_a_conformance_suite_finds_no_fault(result: Result) -> None:
    assert result.named("failed") == [], result.failures()
    assert len(result.named("passed")) > len(result.named("skipped"))


def test_a_suite_skips_only_what_is_known(result: Result) -> None:
    skipped = {name: result.reasons[name].splitlines()[0] for name in result.named("skipped")}
    known = json.loads(SKIPS.read_text()) if SKIPS.exists() else {}
    if UPDATE:
        known[result.suite.name] = list(skipped)
        SKIPS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    assert known.get(result.suite.name) == list(skipped), skipped


def test_the_documented_results_are_these(result: Result) -> None:
    if UPDATE:
        lines = TABLE.read_text().splitlines()
        beginning = f"| {result.suite.title} |"
        TABLE.write_text(
            "\n".join(result.row() if line.startswith(beginning) else line for line in lines) + "\n"
        )
    assert result.row() in TABLE.read_text().splitlines()
