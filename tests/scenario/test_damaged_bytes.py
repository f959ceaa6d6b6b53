"""Bytes that were changed where they are stored: nothing of a damaged segment ever leaves a server program."""

import http.client
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from openecr.engines.sealing import OVERHEAD_BYTES, SEGMENT_BYTES
from tests.running import RunningServer, eventually, running_server
from tests.scenario.drivers import WireDriver, authorization, variables
from tests.scenario.images import Registry, digest_of
from tests.scenario.storages import DATABASES, Storages

STORED = SEGMENT_BYTES + OVERHEAD_BYTES
CONTENT = os.urandom(4 * SEGMENT_BYTES + 1_000)


@pytest.fixture(scope="module", params=DATABASES)
def server(
    request: pytest.FixtureRequest, storages: Storages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("damaged")
    with (
        storages.opened(request.param) as flags,
        running_server(folder, settings=variables(flags)) as running,
    ):
        yield running


def is_unknown(status: int, body: bytes) -> bool:
    """What is answered where nothing has left yet, and from then on: bytes that prove bad are as good as missing."""
    return status == http.HTTPStatus.NOT_FOUND and b'"BLOB_UNKNOWN"' in body


@dataclass(frozen=True, slots=True)
class Damaged:
    """A blob in a repository of a server, one bit of whose stored bytes is changed."""

    server: RunningServer
    token: str
    repository: str
    content: bytes
    file: Path

    @property
    def path(self) -> str:
        """Where it is read."""
        return f"/v2/{self.repository}/blobs/{digest_of(self.content)}"

    def flip(self, position: int) -> None:
        """Change one bit, or change it back."""
        with self.file.open("r+b") as file:
            file.seek(position)
            (byte,) = file.read(1)
            file.seek(position)
            file.write(bytes([byte ^ 1]))

    def is_lost(self) -> bool:
        """Tell whether the server knows what became of it."""
        status, body, _ = self.read()
        return is_unknown(status, body)

    def push_again(self) -> None:
        """Bring the bytes again, which heals it."""
        Registry(WireDriver(self.server), self.token, self.repository).push_blob(self.content)

    def read(self, wanted: str = "") -> tuple[int, bytes, bool]:
        """Return the status, what came, and whether that was as much as was promised."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        headers = {"authorization": self.token} | ({"range": f"bytes={wanted}"} if wanted else {})
        try:
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            try:
                return answer.status, answer.read(), True
            except http.client.IncompleteRead as cut:
                return answer.status, cut.partial, False
        finally:
            connection.close()


@pytest.fixture(scope="module", params=["AES256", "KMS"])
def repository(server: RunningServer, request: pytest.FixtureRequest) -> str:
    name = f"damaged/{request.param.lower()}"
    server.client("ecr").create_repository(
        repositoryName=name, encryptionConfiguration={"encryptionType": request.param}
    )
    return name


def pushed(server: RunningServer, repository: str, content: bytes) -> Damaged:
    """Push a blob, and find the file that came of it."""
    driver, folder = WireDriver(server), server.data / "blobs"
    token = authorization(server.client("ecr"))
    before = {path for path in folder.rglob("*") if path.is_file()}
    Registry(driver, token, repository).push_blob(content)
    (file,) = {path for path in folder.rglob("*") if path.is_file()} - before
    return Damaged(server, token, repository, content, file)


@pytest.fixture
def blob(server: RunningServer, repository: str) -> Damaged:
    return pushed(server, repository, CONTENT + os.urandom(8))


@pytest.mark.parametrize("segment", [0, 2, 4])
@pytest.mark.parametrize("place", [0, 20])
def test_nothing_of_a_damaged_segment_leaves(blob: Damaged, segment: int, place: int) -> None:
    """A bit of its nonce, or of its ciphertext: what is before the segment may have left, and then the answer ends."""
    assert blob.read() == (200, blob.content, True)
    blob.flip(segment * STORED + place)
    good = segment * SEGMENT_BYTES

    status, came, is_all = blob.read()

    if status == 200:
        assert not is_all
        assert blob.content.startswith(came)
        assert len(came) <= good
    else:
        assert is_unknown(status, came)
    eventually(blob.is_lost)
    blob.push_again()
    assert blob.read() == (200, blob.content, True)


@pytest.mark.parametrize(
    "touching",
    [
        lambda first, _: (first - 10, first + 10),
        lambda first, _: (first + 5, first + 9),
        lambda _, end: (end - 1, end + 1),
    ],
    ids=["its beginning", "inside", "its end"],
)
def test_a_range_fails_where_it_touches_the_damaged_segment_and_nowhere_else(
    blob: Damaged, touching: Callable[[int, int], tuple[int, int]]
) -> None:
    blob.flip(2 * STORED + 1_000)
    first, end = 2 * SEGMENT_BYTES, 3 * SEGMENT_BYTES

    for start, stop in ((0, first), (end, end + 100), (first - 1, first)):
        assert blob.read(f"{start}-{stop - 1}") == (206, blob.content[start:stop], True)
    start, stop = touching(first, end)
    status, came, is_all = blob.read(f"{start}-{stop - 1}")
    if status == 206:
        assert not is_all
        assert blob.content[start:first].startswith(came)
    else:
        assert is_unknown(status, came)
    eventually(blob.is_lost)


def test_a_blob_of_one_damaged_segment_is_an_error(server: RunningServer, repository: str) -> None:
    blob = pushed(server, repository, os.urandom(1_000))
    blob.flip(500)

    assert blob.is_lost()
