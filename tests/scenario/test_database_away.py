"""PostgreSQL goes away and comes back: requests are told so in their protocol's form, and the server goes on."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.chaos.postgres import Postgres
from tests.running import RunningServer, plain_environment, running_server
from tests.scenario.drivers import WireDriver, authorization
from tests.scenario.images import MANIFEST_TYPE, Registry, SmallImage, digest_of, error_of

_BACKGROUND_SECONDS = 60.0


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="openecr-pg-") as folder:
        server = Postgres(Path(folder))
        yield server
        server.stop("immediate")


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path, settings={"OPENECR_DATABASE": postgres.url}) as running:
        yield running


def trail_of(server: RunningServer, repository: str) -> set[str]:
    command = [sys.executable, "-m", "openecr", "audit", "--json", "--repository", repository]
    told = subprocess.run(
        [*command, "--data", str(server.data)],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    return {json.loads(line)["eventName"] for line in told.splitlines()}


def code_of(ecr: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        ecr.describe_repositories()
    found: Any = caught.value.response
    return found["ResponseMetadata"]["HTTPStatusCode"], found["Error"]["Code"]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_outlives_its_database(postgres: Postgres, server: RunningServer, mode: str) -> None:
    driver = WireDriver(server)
    ecr = driver.client()
    ecr.create_repository(repositoryName="away")
    registry = Registry(driver, authorization(ecr), "away")
    image = SmallImage.named("before")
    digest = registry.push(image, "v1")
    path = registry.start_upload()
    assert registry.call("PATCH", path, b"half").status == 202
    process = server.process.pid
    ecr.list_images(repositoryName="away")  # noted in memory, perhaps not written yet

    postgres.stop(mode)
    for _ in range(2):  # by connections that were cut, then by none
        assert error_of(registry.call("GET", "/manifests/v1"))[:2] == (503, "UNAVAILABLE")
        answer = registry.call("PUT", "/manifests/v2", image.manifest(), content_type=MANIFEST_TYPE)
        assert error_of(answer)[:2] == (503, "UNAVAILABLE")
        assert error_of(registry.call("PATCH", path, b"lost"))[:2] == (503, "UNAVAILABLE")
        assert code_of(ecr) == (500, "ServerException")
    assert driver.http("GET", "/readyz").status == 503
    assert driver.http("GET", "/healthz").status == 200

    postgres.start()
    assert driver.http("GET", "/readyz").status == 200
    assert registry.call("GET", "/manifests/v1").body == image.manifest()
    assert registry.call("GET", f"/blobs/{digest_of(image.layer)}").body == image.layer
    assert registry.call("GET", "/manifests/v2").status == 404
    assert [each["imageDigest"] for each in ecr.list_images(repositoryName="away")["imageIds"]] == [digest]
    assert registry.call("PUT", f"{path}?digest={digest_of(b'half')}").status == 201
    registry.push(SmallImage.named("after"), "v2")
    deadline = time.monotonic() + _BACKGROUND_SECONDS
    while not {"CreateRepository", "ListImages", "PutImage"} <= trail_of(server, "away"):
        assert time.monotonic() < deadline, trail_of(server, "away")
    assert server.process.pid == process
