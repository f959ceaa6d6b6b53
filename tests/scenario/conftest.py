"""Every scenario runs twice: in process, and against a server program."""

from collections.abc import Iterator

import pytest

from tests.running import running_server
from tests.scenario.drivers import Driver, WireDriver, in_process_driver
from tests.scenario.sts_house import house, issuer, user

__all__ = ["driver", "house", "issuer", "user"]


@pytest.fixture(scope="module", params=["in process", "over the wire"])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A server of its own for each file of scenarios."""
    folder = tmp_path_factory.mktemp("scenario")
    regions = ("us-east-1", "eu-west-1")
    if request.param == "in process":
        with in_process_driver(folder, regions=regions) as in_process:
            yield in_process
    else:
        options = [word for region in regions for word in ("--region", region)]
        with running_server(folder, options=options) as server:
            yield WireDriver(server)
