"""Every test here sends what a real client signs."""

import pytest

from tests.unit.engines.sigv4.signing import Client


@pytest.fixture(scope="session")
def client() -> Client:
    return Client()
