"""An operator switches encryption on: what was pushed before is sealed, and clients notice nothing."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.images import digest_of
from tests.running import RunningServer, plain_environment
from tests.scenario.drivers import WireDriver, authorization, variables
from tests.scenario.storages import Flags, Storages

NAME = "sealed/later"
CONTENTS = (b"", b"a small layer in clear", hashlib.shake_256(b"large").digest(700_000))
SETTINGS = {
    "OPENECR_DOOMED_SECONDS": "0",
    "OPENECR_SEALED_FROM_SECONDS": "0",
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "3600",
}


@pytest.fixture(params=["SQLite", "PostgreSQL and S3"])
def flags(request: pytest.FixtureRequest, storages: Storages) -> Iterator[Flags]:
    with storages.opened(request.param) as flags:
        yield flags


class House:
    """One storage, and the servers that are started over it one after the other."""

    def __init__(self, folder: Path, flags: Flags, storages: Storages) -> None:
        self._folder = folder
        self._flags = flags
        self._storages = storages
        self._settings = {**variables(flags), **SETTINGS}
        self.server = RunningServer(folder, settings=self._settings)

    def start(self, *, encrypts: bool) -> None:
        option = "--storage-encrypt-at-rest" if encrypts else "--no-storage-encrypt-at-rest"
        self.server = RunningServer(self._folder, settings=self._settings, options=[option]).start()

    def http(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        headers = {
            "authorization": authorization(self.server.client()),
            "content-type": "application/octet-stream",
        }
        answer = WireDriver(self.server).http(method, path, headers=headers, body=body)
        return answer.status, answer.body

    def push(self, content: bytes) -> str:
        digest = digest_of(content)
        status, body = self.http("POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}", content)
        assert status == 201, body
        return f"/v2/{NAME}/blobs/{digest}"

    def openecr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "openecr", *arguments, "--data", str(self.server.data)],
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def report(self) -> dict[str, Any]:
        """Seal what is in clear, and return what the list of jobs says of it."""
        done = self.openecr("jobs", "run", "seal-blobs")
        assert done.returncode == 0, done.stderr
        jobs = json.loads(self.openecr("jobs", "list", "--json").stdout)
        (payload,) = [job["payload"] for job in jobs if job["kind"] == "seal-blobs"]
        return {name: payload[name] for name in ("sealed", "sealed_bytes", "unreadable")}

    def stored(self) -> list[bytes]:
        """Return everything that the store holds but its mark."""
        if "blobs" not in self._flags:
            files = (self.server.data / "blobs").glob("*/*")
            return [file.read_bytes() for file in files if file.is_file()]
        client, bucket = self._storages.swift.client(), self._flags["blobs"].split("/")[2]
        names = [each["Key"] for each in client.list_objects_v2(Bucket=bucket).get("Contents", ())]
        names = [name for name in names if not name.endswith("/blob-store-id")]
        return [client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names]


@pytest.fixture
def home(tmp_path: Path, flags: Flags, storages: Storages) -> Iterator[House]:
    home = House(tmp_path, flags, storages)
    yield home
    home.server.kill()


def test_what_was_pushed_in_clear_is_sealed_by_a_job(home: House) -> None:
    home.start(encrypts=False)
    home.server.create_repository(NAME)
    pushed = {home.push(content): content for content in CONTENTS}
    refused = home.openecr("jobs", "run", "seal-blobs")
    assert (refused.returncode, "no kind of work is called seal-blobs" in refused.stderr) == (1, True)
    assert set(home.stored()) == set(CONTENTS)
    assert home.server.stop() == 0

    home.start(encrypts=True)
    report = home.report()

    assert report == {"sealed": 3, "sealed_bytes": sum(map(len, CONTENTS)), "unreadable": 0}
    for path, content in pushed.items():
        assert home.http("GET", path) == (200, content)
    assert home.openecr("jobs", "run", "remove-bytes").returncode == 0
    stored = home.stored()
    assert len(stored) == len(CONTENTS)
    assert not any(content[:20] in each for content in CONTENTS if content for each in stored)
    audited = home.openecr("blobs", "audit")
    assert "3 locations, 0 orphans; 3 blobs" in audited.stdout
    assert audited.returncode == 0
    assert home.server.stop() == 0
