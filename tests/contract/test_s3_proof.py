"""What a start proves of a bucket, what is left over or gone in one, its mark, and whether it answers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from openecr.adapters.blobs.s3 import Bounds, S3BlobStore
from tests.contract.blob_store import everything, location, stored
from tests.faulty_proxy import FaultyProxy, error_answer, faulty_proxy
from tests.s3_servers import SERVERS, S3Server

ONE, TWO = location(1), location(2)
FOR_EVER = 1_000_000 * 60 * 60 * 24 * 365 * 200
"""An instant after every test, in microseconds."""


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with SERVERS[request.param]() as found:
        yield found


@pytest.fixture(scope="module")
def proxy(server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.port) as found:
        yield found


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.make_bucket()


@pytest.fixture
async def store(server: S3Server, bucket: str) -> AsyncIterator[S3BlobStore]:
    """A store with nothing between."""
    store = S3BlobStore(server.options(bucket))
    yield store
    await store.close()


@pytest.fixture
async def refused(server: S3Server, bucket: str, proxy: FaultyProxy) -> AsyncIterator[S3BlobStore]:
    """A store behind the proxy that has time."""
    proxy.choose = None
    store = S3BlobStore(server.options(bucket, endpoint=proxy.endpoint))
    yield store
    proxy.choose = None
    await store.close()


def unfinished(server: S3Server, bucket: str) -> list[str]:
    client = server.client()
    try:
        return [each["Key"] for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    finally:
        client.close()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("501 Not Implemented", "NotImplemented"),
        ("403 Forbidden", "AccessDenied"),
        ("405 Method Not Allowed", "MethodNotAllowed"),
    ],
)
async def test_a_server_that_lists_no_uploads_can_be_used(
    refused: S3BlobStore, proxy: FaultyProxy, status: str, code: str
) -> None:
    proxy.choose = lambda asked: (
        error_answer(status, code) if asked.method == "GET" and "uploads" in asked.target else None
    )

    await refused.prove()

    assert await refused.end_leftovers(begun_before=FOR_EVER) == 0


async def test_a_proof_asks_for_one_page_of_uploads(
    store: S3BlobStore, server: S3Server, bucket: str, proxy: FaultyProxy
) -> None:
    client = server.client()
    for number in range(3):
        client.create_multipart_upload(Bucket=bucket, Key=location(number))
    client.close()
    proxy.choose = None
    proxy.asked.clear()
    paged = S3BlobStore(server.options(bucket, endpoint=proxy.endpoint, bounds=Bounds(names=2)))

    await paged.prove()

    assert len([asked for asked in proxy.asked if asked.method == "GET" and "uploads" in asked.target]) == 1
    ended = 0
    while found := await paged.end_leftovers(
        begun_before=FOR_EVER
    ):  # Versity's refuses to list a second page
        ended += found
    assert ended == 3
    assert unfinished(server, bucket) == []
    await paged.close()


async def test_a_mark_is_made_once_and_replaced_only_where_it_is_the_one_that_was_meant(
    store: S3BlobStore,
) -> None:
    await store.make_mark("first")
    for instead_of in (None, "another"):
        await store.make_mark("second", instead_of=instead_of)
    assert await store.read_marks() == {"first"}

    await store.make_mark("second", instead_of="first")

    assert await store.read_marks() == {"second"}


async def test_what_is_gone_already_is_removed_from_a_server_that_says_so(
    refused: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy
) -> None:
    await stored(store, ONE, b"x")
    gone = error_answer("404 Not Found", "NoSuchKey")
    proxy.choose = lambda asked: gone if asked.method == "DELETE" and TWO in asked.target else None

    assert not await refused.remove([TWO])
    assert not await refused.remove([ONE])

    assert await everything(store) == []


@pytest.mark.parametrize("server", ["versity"], indirect=True)
async def test_reads_and_removals_that_hang_do_not_make_it_look_away(server: S3Server, bucket: str) -> None:
    store = S3BlobStore(server.options(bucket, bounds=Bounds(data_threads=4, deleting_threads=2)))
    goes_on = threading.Event()
    hanging = [
        asyncio.create_task(pool.run(goes_on.wait, seconds=600))
        for pool in (store._data, store._deletes)
        for _ in range(8)
    ]
    await asyncio.sleep(0)

    try:
        assert (store._data._places._value, store._deletes._places._value) == (0, 0)
        assert await store.answers()
    finally:
        goes_on.set()
        await asyncio.gather(*hanging)
        await store.close()
