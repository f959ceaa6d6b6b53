"""Clients that go away in the middle, in numbers: what they held is freed, and memory stays flat."""

import os
from collections.abc import Iterator

import pytest

from tests.bounds.site import MIB, Site, settled, wait_until
from tests.running import running_server

CLIENTS = 200
GROWTH_MAX_BYTES = 8 * MIB
THREADS_MAX = 16
"""Pools grow as they are used, up to their bounds; a thread for each client would be many more."""

BLOB_BYTES = 8 * MIB

SETTINGS = {
    "OPENECR_UPLOAD_IDLE_SECONDS": "1",
    "OPENECR_DOOMED_SECONDS": "0",
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "1",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_server(tmp_path_factory.mktemp("site"), settings=SETTINGS) as server, Site(server) as site:
        yield site


def drop_uploads(site: Site, count: int) -> None:
    content = os.urandom(MIB)
    for _ in range(count):
        line = site.connect()
        line.send(site.head("PATCH", site.open_upload(), "Content-Length: 9999999") + content)
        line.close()


def drop_downloads(site: Site, blob: str, count: int, *headers: str) -> None:
    for _ in range(count):
        line = site.connect()
        line.send(site.head("GET", blob, *headers))
        line.begin_to_read()
        line.close()


def test_dropped_uploads_free_what_they_held_and_their_bytes_are_collected(site: Site) -> None:
    blobs = set(site.blob_files())  # of the tests before
    drop_uploads(site, CLIENTS // 2)  # what the first ones cost is not counted
    before, threads = settled(site.descriptors), site.threads()
    memory = site.resident_bytes()

    drop_uploads(site, CLIENTS)

    wait_until(lambda: site.descriptors() <= before, "descriptors stay open")
    assert site.threads() - threads < THREADS_MAX
    assert site.resident_bytes() - memory < GROWTH_MAX_BYTES
    wait_until(lambda: set(site.blob_files()) == blobs, "bytes that no upload owns any more stay")
    assert site.ask("GET", site.open_upload()).status == 204


@pytest.mark.parametrize("headers", [(), ("Range: bytes=0-3000000,4000000-7000000",)])
def test_dropped_downloads_free_what_they_held(site: Site, headers: tuple[str, ...]) -> None:
    blob = site.push_blob(os.urandom(BLOB_BYTES))
    drop_downloads(site, blob, CLIENTS // 2, *headers)
    before, threads = settled(site.descriptors), site.threads()
    memory = site.resident_bytes()

    drop_downloads(site, blob, CLIENTS, *headers)

    wait_until(lambda: site.descriptors() <= before, "descriptors stay open")
    assert site.threads() - threads < THREADS_MAX
    assert site.resident_bytes() - memory < GROWTH_MAX_BYTES
    assert len(site.ask("GET", blob).body) == BLOB_BYTES
