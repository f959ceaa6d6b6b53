"""One server with a short patience for each file of tests."""

from collections.abc import Iterator

import pytest

from tests.bounds.site import Site
from tests.running import pytest_runtest_makereport, running_server

__all__ = ["pytest_runtest_makereport", "site", "tls_site"]

SETTINGS = {"OPENECR_IDLE_SECONDS": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server over plain HTTP."""
    with running_server(tmp_path_factory.mktemp("site"), settings=SETTINGS) as server, Site(server) as site:
        yield site


@pytest.fixture(scope="module")
def tls_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server over HTTPS."""
    folder = tmp_path_factory.mktemp("tls-site")
    with running_server(folder, tls=True, settings=SETTINGS) as server, Site(server) as site:
        yield site
