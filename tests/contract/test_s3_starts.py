"""What a start proves of a bucket, and what a client may be sent to."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from openecr.adapters.blobs.s3 import S3BlobStore
from openecr.domain.errors import Unavailable
from tests.contract.blob_store import everything, location, stored
from tests.s3_servers import SERVERS, S3Server

ONE = location(1)
SMALL = bytes(range(256)) * 270


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with SERVERS[request.param]() as found:
        yield found


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.make_bucket()


@pytest.fixture
async def store(server: S3Server, bucket: str) -> AsyncIterator[S3BlobStore]:
    store = S3BlobStore(server.options(bucket))
    yield store
    await store.close()


async def test_a_bucket_that_may_be_used_is_proven_and_left_empty(store: S3BlobStore) -> None:
    await store.prove()

    assert await everything(store) == []


async def test_a_bucket_that_is_not_there_is_told(server: S3Server) -> None:
    store = S3BlobStore(server.options("no-such-bucket"))

    with pytest.raises(Unavailable) as told:
        await store.prove()
    assert "NoSuchBucket" in told.value.context
    await store.close()


async def test_a_wrong_secret_is_told(server: S3Server, bucket: str) -> None:
    store = S3BlobStore(replace(server.options(bucket), secret_access_key="another"))

    with pytest.raises(Unavailable) as told:
        await store.prove()
    assert "SignatureDoesNotMatch" in told.value.context
    await store.close()


async def test_a_redirect_leads_to_the_bytes_and_to_a_range_of_them(server: S3Server, bucket: str) -> None:
    store = S3BlobStore(server.options(bucket), redirect_seconds=60)
    await stored(store, ONE, SMALL)
    url = await store.redirect(ONE)
    assert url is not None

    whole = await asyncio.to_thread(fetched, url, {})
    part = await asyncio.to_thread(fetched, url, {"Range": "bytes=10-19"})

    assert (whole, part) == (SMALL, SMALL[10:20])
    await store.close()


def fetched(url: str, headers: dict[str, str]) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        content: bytes = answer.read()
        return content
