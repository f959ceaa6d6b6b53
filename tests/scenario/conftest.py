"""Scenarios of what clients see run in process, over each kind of storage, and against a server program.

Those of operators start programs. They run over each database with the place of blobs that they are about; a file that
runs over one kind of storage alone says why.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.scenario.drivers import Driver, opened_driver, variables
from tests.scenario.kms_keys import keys, open_house
from tests.scenario.storages import DATABASES, KINDS, SETUPS, Flags, Storages, Variables
from tests.scenario.sts_house import house, issuer, user

__all__ = ["database", "driver", "house", "issuer", "keys", "open_house", "storage", "storages", "user"]


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


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, storages: Storages) -> Iterator[Variables]:
    """An empty database of each kind, as variables of a server: for scenarios that choose the place of blobs."""
    with storages.opened(request.param) as flags:
        yield variables(flags)


@pytest.fixture(scope="module", params=SETUPS, ids=str)
def driver(
    request: pytest.FixtureRequest, storages: Storages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    """A server of its own for each file of scenarios."""
    with opened_driver(request.param, storages, tmp_path_factory.mktemp("scenario")) as opened:
        yield opened
