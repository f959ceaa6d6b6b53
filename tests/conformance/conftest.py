"""The logs of the server beside what a suite found."""

from tests.running import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]
