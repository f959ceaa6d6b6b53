"""Outside conformance suites for the registry protocol, run as programs against a running server.

Each writes a JUnit report; that report, not the exit status, says what was passed, skipped and failed.
"""

import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.requirements import search_path
from tests.running import RunningServer, plain_environment

SUITE_SECONDS = 100.0
OPTIONAL_CALLS = (
    "OCI_API_BLOBS_DIGEST_HEADER",
    "OCI_API_BLOBS_UPLOAD_CANCEL",
    "OCI_API_MANIFESTS_DIGEST_HEADER",
    "OCI_API_MANIFESTS_TAG_PARAM",
)
"""What version 1.1 leaves out unless asked for, and we do not."""
OLDER_SUITES_PARTS = (
    "OCI_TEST_PULL",
    "OCI_TEST_PUSH",
    "OCI_TEST_CONTENT_DISCOVERY",
    "OCI_TEST_CONTENT_MANAGEMENT",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite, the program that holds it and the version of the specification that it is asked to test."""

    name: str
    program: str
    title: str
    version: str

    @property
    def repository_names(self) -> tuple[str, str]:
        """The repositories that the suite works in, which must have been made."""
        return f"conformance-{self.name}/first", f"conformance-{self.name}/second"

    def environment(self, server: RunningServer, folder: Path) -> Mapping[str, str]:
        """What tells the program where the server is and what to test."""
        first, second = self.repository_names
        credentials = {"OCI_USERNAME": "AWS", "OCI_PASSWORD": server.password()}
        if self.program == "conformance":
            return credentials | {
                "OCI_REGISTRY": server.host,
                "OCI_TLS": "disabled",
                "OCI_REPO1": first,
                "OCI_REPO2": second,
                "OCI_VERSION": self.version,
                "OCI_RESULTS_DIR": str(folder),
                **dict.fromkeys(OPTIONAL_CALLS, "true"),
            }
        return credentials | {
            "OCI_ROOT_URL": server.url,
            "OCI_NAMESPACE": first,
            "OCI_CROSSMOUNT_NAMESPACE": second,
            "OCI_AUTOMATIC_CROSSMOUNT": "1",
            **dict.fromkeys(OLDER_SUITES_PARTS, "1"),
            "ACK_GINKGO_DEPRECATIONS": "1.16.5",
        }


SUITES = (
    Suite(
        name="1.1", program="conformance", title="OCI conformance, current suite, version 1.1", version="1.1"
    ),
    Suite(
        name="dev", program="conformance", title="OCI conformance, current suite, version dev", version="dev"
    ),
    Suite(
        name="1.1-rc",
        program="conformance-1.1-rc",
        title="OCI conformance, first suite, release candidate of 1.1",
        version="1.1.0-rc2",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a suite found, by the name of each of its tests."""

    suite: Suite
    outcomes: Mapping[str, str]
    reasons: Mapping[str, str]
    output: str

    def named(self, outcome: str) -> list[str]:
        """The tests that ended so."""
        return sorted(name for name, found in self.outcomes.items() if found == outcome)

    def row(self) -> str:
        """The suite's line in the table of results."""
        counts = Counter(self.outcomes.values())
        numbers = " | ".join(str(counts[outcome]) for outcome in ("passed", "failed", "skipped"))
        return f"| {self.suite.title} | {numbers} |"

    def failures(self) -> str:
        """All that went wrong, for a person to read."""
        return (
            "\n\n".join(f"{name}\n{self.reasons[name]}" for name in self.named("failed"))
            or self.output[-5000:]
        )


def run_suite(suite: Suite, server: RunningServer, folder: Path) -> Result:
    """Run a suite in `folder`, whose report it leaves there."""
    ran = subprocess.run(
        [suite.program],
        cwd=folder,
        env=plain_environment() | {"PATH": search_path()} | dict(suite.environment(server, folder)),
        capture_output=True,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    report = folder / "junit.xml"
    assert report.exists(), ran.stdout + ran.stderr
    outcomes: dict[str, str] = {}
    reasons: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):
        name = case.attrib["name"].removeprefix("OCI Distribution Conformance Tests ")
        seen[name] += 1
        name = f"{name} #{seen[name]}" if seen[name] > 1 else name
        outcomes[name] = outcome_of(case)
        reasons[name] = "".join(case.itertext()).strip()[:3000]
    return Result(suite=suite, outcomes=outcomes, reasons=reasons, output=ran.stdout + ran.stderr)


def outcome_of(case: ET.Element) -> str:
    """One of `passed`, `skipped` and `failed`; what nobody has heard of has failed."""
    status = case.attrib.get("status", "")
    if status in {"skipped", "disabled"} or case.find("skipped") is not None:
        return "skipped"
    failed = case.find("failure") is not None or case.find("error") is not None
    return "passed" if status in {"", "passed"} and not failed else "failed"
