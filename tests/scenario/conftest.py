"""Every scenario runs in process, over each kind of storage, and against a server program."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.scenario.drivers import Driver, opened_driver
from tests.scenario.kms_keys import keys, open_house
from tests.scenario.storages import KINDS, SETUPS, Flags, Storages
from tests.scenario.sts_house import house, issuer, user

__all__ = ["driver", "house", "issuer", "keys", "open_house", "storage", "storages", "user"]


@pytest.fixture(scope="session")
def storages() -> Iterator[Storages]:
    """What storage needs that is not a folder, started when it is needed."""
    with ExitStack() as stack:
        yield Storages(stack)


@pytest.fixture(scope="module", params=KINDS)
def storage(request: pytest.FixtureRequest, storages: Storages) -> Iterator[Flags]:
    """An empty storage for each file of scenarios that make their server themselves."""
    with storages.opened(request.param) as flags:
        yield flags


@pytest.fixture(scope="module", params=SETUPS, ids=str)
def driver(
    request: pytest.FixtureRequest, storages: Storages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    """A server of its own for each file of scenarios."""
    with opened_driver(request.param, storages, tmp_path_factory.mktemp("scenario")) as opened:
        yield opened
