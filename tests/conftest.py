"""What every test shares: the asynchronous backend, how hard properties are tried, no silent skips in CI."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.requirements import NOT_APPLICABLE, everything_is_required

_QUICK = Path(__file__).parent / "unit"

settings.register_profile("default", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=200,
    deadline=None,
    # CI machines are slow now and then, which says nothing about the code.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if everything_is_required() else "default"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Granian's workers run asyncio; nothing else is supported."""
    return "asyncio"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped, as its author wrote it."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure where everything must run."""
    if not everything_is_required() or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = _reason(report)
    if not reason.startswith(NOT_APPLICABLE):
        report.outcome = "failed"
        report.longrepr = f"Skipped where nothing may be skipped (OPENECR_REQUIRE_ALL=1): {reason}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the random order, but let the quick tests come last: no process has a long file for itself at the end."""
    items.sort(key=lambda item: _QUICK in item.path.parents)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Refuse skips of single tests."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse skips of whole modules."""
    report = yield
    _refuse_skip(report)
    return report
