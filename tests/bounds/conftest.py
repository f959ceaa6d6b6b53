"""One server with a short patience for each file of tests."""

from collections.abc import Iterator

import pytest

from tests.bounds.site import Site
from tests.running import pytest_runtest_makereport, running_server
from tests.s3_servers import swift_server
from tests.scenario.drivers import variables

__all__ = ["bucket_site", "pytest_runtest_makereport", "site", "tls_site"]

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


@pytest.fixture(scope="module")
def bucket_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server over a bucket."""
    with swift_server() as swift:
        settings = SETTINGS | variables(swift.settings(swift.make_bucket()))
        folder = tmp_path_factory.mktemp("bucket-site")
        with running_server(folder, settings=settings) as server, Site(server) as site:
            yield site
