"""What only a store on S3 has: multipart uploads, a network that breaks, a server that hangs."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from openecr.adapters.blobs.s3 import Bounds, Patience, S3BlobStore
from openecr.adapters.blobs.s3.pools import Pool
from openecr.adapters.blobs.s3.reading import Reader
from openecr.domain.errors import Unavailable
from openecr.ports.blobs import PartWriter
from tests.contract.blob_store import content_of, everything, location, stored
from tests.faulty_proxy import Asked, Fault, FaultyProxy, error_answer, faulty_proxy, first_try_of_each
from tests.s3_servers import SERVERS, S3Server

MIB = 1024 * 1024
SMALL = hashlib.shake_256(b"small").digest(70_001)
LARGE = hashlib.shake_256(b"large").digest(18 * MIB + 1)
"""Two pieces and a tail."""

PATIENCE = Patience(
    connect=2,
    silence=2,
    attempt=0.3,
    total=20,
    slow=3,
    idle=0.5,
    cleanup=10,
    first_pause=0.01,
    longest_pause=0.1,
)
IMPATIENCE = Patience(
    connect=0.5,
    silence=0.3,
    attempt=0.2,
    total=0.4,
    slow=0.4,
    idle=0.5,
    cleanup=0.5,
    first_pause=0.01,
    longest_pause=0.1,
)
WHOLE, ONE, TWO, THREE = (location(number) for number in range(4))
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
async def broken(server: S3Server, bucket: str, proxy: FaultyProxy) -> AsyncIterator[S3BlobStore]:
    """A store on the same bucket, behind the proxy."""
    proxy.choose = None
    proxy.asked.clear()
    store = S3BlobStore(server.options(bucket, endpoint=proxy.endpoint, patience=PATIENCE))
    yield store
    proxy.choose = None
    await store.close()


@pytest.fixture
async def refused(server: S3Server, bucket: str, proxy: FaultyProxy) -> AsyncIterator[S3BlobStore]:
    """A store behind the proxy that has time."""
    proxy.choose = None
    store = S3BlobStore(server.options(bucket, endpoint=proxy.endpoint))
    yield store
    proxy.choose = None
    await store.close()


async def written(store: S3BlobStore, where: str, content: bytes, step: int = 400_000) -> int:
    return await stored(store, where, *(content[at : at + step] for at in range(0, len(content), step)))


async def whole(writer: PartWriter, content: bytes) -> int:
    await writer.write(content)
    return await writer.finish()


def unfinished(server: S3Server, bucket: str) -> list[str]:
    client = server.client()
    try:
        return [each["Key"] for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    finally:
        client.close()


# --- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB, len(LARGE)])
async def test_what_is_large_arrives_in_pieces(
    store: S3BlobStore, server: S3Server, bucket: str, size_bytes: int
) -> None:
    content = LARGE[:size_bytes]
    seen = hashlib.sha256()
    writer = await store.create_part(ONE, [seen.update])
    for start in range(0, size_bytes, 3 * MIB):
        await writer.write(content[start : start + 3 * MIB])

    assert await writer.finish() == size_bytes
    assert seen.digest() == hashlib.sha256(content).digest()
    assert await content_of(store, ONE) == content
    assert unfinished(server, bucket) == []


async def test_a_dropped_upload_leaves_no_object_and_no_pieces(
    store: S3BlobStore, server: S3Server, bucket: str
) -> None:
    writer = await store.create_part(ONE)
    await writer.write(LARGE)
    await writer.write(LARGE)
    await writer.abort()

    assert await everything(store) == []
    assert unfinished(server, bucket) == []


async def test_more_uploads_than_there_is_memory_for_take_turns(server: S3Server, bucket: str) -> None:
    store = S3BlobStore(server.options(bucket, bounds=Bounds(memory_bytes=8 * MIB)))
    content = LARGE[: 9 * MIB]
    places = [location(number) for number in range(5)]
    async with asyncio.TaskGroup() as group:
        for where in places:
            group.create_task(written(store, where, content))

    for where in places:
        assert await content_of(store, where) == content
    assert store._memory._room._value == 1
    await store.close()


async def test_uploads_that_a_killed_process_left_are_ended_after_their_time(
    store: S3BlobStore, server: S3Server, bucket: str
) -> None:
    client = server.client()
    for key in (ONE, TWO, "somebody-else's"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    client.close()

    assert await store.end_leftovers(begun_before=0) == 0
    assert await store.end_leftovers(begun_before=FOR_EVER) == 2
    assert unfinished(server, bucket) == ["somebody-else's"]


async def test_parts_of_every_size_are_put_together(
    store: S3BlobStore, server: S3Server, bucket: str
) -> None:
    contents = [SMALL, LARGE[: 11 * MIB], b"", SMALL, SMALL[:1], LARGE[: 6 * MIB], LARGE[: 5 * MIB], SMALL]
    places = [location(number) for number in range(10, 10 + len(contents))]
    for where, content in zip(places, contents, strict=True):
        await written(store, where, content)

    assert await store.assemble(places, WHOLE) == WHOLE

    assert await content_of(store, WHOLE) == b"".join(contents)
    assert unfinished(server, bucket) == []


async def test_objects_are_listed_and_removed_a_page_at_a_time(server: S3Server, bucket: str) -> None:
    store = S3BlobStore(server.options(bucket, bounds=Bounds(names=10)))
    places = sorted(location(number) for number in range(31))
    async with asyncio.TaskGroup() as group:
        for where in places:
            group.create_task(stored(store, where, b"x"))

    assert await everything(store) == places
    await store.remove(places[1:])
    assert await everything(store) == places[:1]
    await store.close()


@pytest.mark.parametrize("code", ["MissingContentMD5", "InvalidRequest", "InvalidDigest", "NotImplemented"])
async def test_a_server_that_takes_no_list_is_asked_for_each(
    refused: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy, code: str
) -> None:
    for where in (ONE, TWO):
        await stored(store, where, b"x")
    status = "501 Not Implemented" if code == "NotImplemented" else "400 Bad Request"
    proxy.choose = lambda asked: error_answer(status, code) if asked.method == "POST" else None

    assert not await refused.remove([ONE, TWO, THREE])

    assert await everything(store) == []


async def test_an_object_that_would_not_go_is_told_and_the_others_go(
    refused: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy
) -> None:
    for where in (ONE, TWO):
        await stored(store, where, b"x")
    denied = error_answer("403 Forbidden", "AccessDenied")

    def choose(asked: Asked) -> bytes | None:
        if asked.method == "POST":
            return error_answer("501 Not Implemented", "NotImplemented")
        return denied if asked.method == "DELETE" and ONE in asked.target else None

    proxy.choose = choose

    assert list(await refused.remove([ONE, TWO])) == [ONE]
    assert await everything(store) == [ONE]


async def test_a_prefix_keeps_two_stores_in_one_bucket_apart(server: S3Server, bucket: str) -> None:
    one, other = (S3BlobStore(server.options(bucket, prefix=prefix)) for prefix in ("one/", "other/deep/"))
    await stored(one, ONE, b"first")
    await stored(other, ONE, b"second")

    assert await content_of(one, ONE) == b"first"
    await one.remove([ONE])
    assert (await everything(one), await everything(other)) == ([], [ONE])
    await one.close()
    await other.close()


# --- faults that pass ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", Fault)
async def test_whatever_fails_once_is_survived(
    broken: S3BlobStore, proxy: FaultyProxy, server: S3Server, bucket: str, fault: Fault
) -> None:
    proxy.choose = first_try_of_each(fault)

    assert await written(broken, ONE, SMALL) == len(SMALL)
    assert await written(broken, TWO, LARGE) == len(LARGE)
    assert await broken.size(THREE) is None
    assert await broken.assemble([ONE, TWO], WHOLE) == WHOLE

    assert await content_of(broken, WHOLE) == SMALL + LARGE
    assert await everything(broken) == sorted([ONE, TWO, WHOLE])
    await broken.remove([ONE, TWO, THREE])
    assert await everything(broken) == [WHOLE]
    proxy.choose = None
    leftovers = await broken.end_leftovers(begun_before=FOR_EVER)
    assert leftovers <= 2, "of both uploads the answer that gave the id may be lost"
    assert unfinished(server, bucket) == []


async def test_a_call_that_may_take_long_is_not_given_up_over_a_short_silence(
    server: S3Server, bucket: str, proxy: FaultyProxy
) -> None:
    patience = replace(PATIENCE, silence=1, attempt=20)
    store = S3BlobStore(server.options(bucket, endpoint=proxy.endpoint, patience=patience))
    ends: list[str] = []

    def choose(asked: Asked) -> None:
        if asked.method == "POST" and "uploadId=" in asked.target:
            ends.append(asked.target)
            proxy.stopped.wait(2)  # longer than any other call may be silent

    proxy.choose = choose

    assert await written(store, ONE, LARGE) == len(LARGE)

    assert len(ends) == 1
    proxy.choose = None
    await store.close()


@pytest.mark.parametrize(
    "fault", [Fault.HALF_AN_ANSWER, Fault.HANG_HALFWAY, Fault.DROP_BEFORE, Fault.SLOW_DOWN]
)
async def test_a_read_that_breaks_is_taken_up_where_it_broke(
    broken: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy, fault: Fault
) -> None:
    await written(store, ONE, LARGE)
    fails = iter([True, False, True, True])
    proxy.choose = lambda _: fault if next(fails, False) else None

    assert await content_of(broken, ONE, 5, len(LARGE)) == LARGE[5:]


async def test_a_reader_that_pauses_holds_no_connection_and_goes_on(
    broken: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy
) -> None:
    await written(store, ONE, LARGE)
    reader = Reader(broken._bucket, broken._calls, ONE, 0, len(LARGE), patience=PATIENCE, bounds=Bounds())
    chunks = reader.chunks()
    read = [await anext(chunks)]
    async with asyncio.timeout(60):
        while reader._body is not None:  # noqa: ASYNC110 -- a timer of the store's ends it
            await asyncio.sleep(0.05)
    read += [chunk async for chunk in chunks]

    assert b"".join(read) == LARGE
    assert [asked.method for asked in proxy.asked] == ["GET", "GET"]


# --- faults that stay ------------------------------------------------------------------------------------------------

ON_ONE = pytest.mark.parametrize("server", ["versity"], indirect=True)
"""These wait more than they work: one server is enough."""

HALFWAY = (Fault.HALF_AN_ANSWER, Fault.HANG_HALFWAY)
LASTING = [fault for fault in Fault if fault not in {*HALFWAY, Fault.SLOW_FIRST_BYTE}]


@pytest.fixture
async def impatient(server: S3Server, bucket: str, proxy: FaultyProxy) -> AsyncIterator[S3BlobStore]:
    """A store behind the proxy that gives up soon, with few threads."""
    proxy.choose = None
    bounds = Bounds(data_threads=4, deleting_threads=2, memory_bytes=24 * MIB)
    options = server.options(bucket, endpoint=proxy.endpoint, patience=IMPATIENCE, bounds=bounds)
    store = S3BlobStore(options)
    yield store
    proxy.choose = None
    await store.close()


def is_whole(pool: Pool) -> bool:
    return pool._lendable == pool._places._value == 4


async def content_at_last(store: S3BlobStore) -> bytes:
    """What is read once a busy machine has found the time."""
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):
                return await content_of(store, ONE, 0, len(SMALL))


@ON_ONE
@pytest.mark.parametrize("fault", LASTING)
async def test_what_fails_for_ever_is_told_in_time_and_nothing_is_claimed(
    impatient: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy, fault: Fault
) -> None:
    await written(store, ONE, SMALL)
    await written(store, TWO, LARGE)
    proxy.choose = lambda _: fault

    async with asyncio.timeout(100):
        for where, content in ((THREE, SMALL), (WHOLE, LARGE)):
            writer = await impatient.create_part(where)
            with pytest.raises(Unavailable):
                await whole(writer, content)
            with pytest.raises(Unavailable):
                await writer.finish()
            await writer.abort()
        with pytest.raises(Unavailable):
            await impatient.assemble([ONE, TWO], location(5))
        with pytest.raises(Unavailable):
            await impatient.size(ONE)
        with pytest.raises(Unavailable):
            await impatient.remove([ONE])
        with pytest.raises(Unavailable):
            await content_of(impatient, ONE, 0, 1)
        with pytest.raises(Unavailable):
            await everything(impatient)

    proxy.choose = None
    assert await content_of(store, TWO) == LARGE
    assert impatient._memory._room._value == 3


@ON_ONE
@pytest.mark.parametrize("fault", HALFWAY)
async def test_an_answer_of_which_half_comes_is_none(
    impatient: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy, fault: Fault
) -> None:
    await written(store, ONE, SMALL)
    await written(store, TWO, LARGE)
    proxy.choose = lambda _: fault

    async with asyncio.timeout(100):
        for where, content in ((ONE, SMALL), (TWO, LARGE)):
            with pytest.raises(Unavailable):
                await content_of(impatient, where, 0, len(content))
        with pytest.raises(Unavailable):
            await impatient.assemble([ONE, TWO], WHOLE)
        with pytest.raises(Unavailable):
            await everything(impatient)


@ON_ONE
@pytest.mark.parametrize("fault", [Fault.HANG_BEFORE, Fault.HANG_HALFWAY, Fault.DRIP])
async def test_a_server_that_hangs_takes_a_bounded_number_of_threads_and_gives_them_back(
    impatient: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy, fault: Fault
) -> None:
    await written(store, ONE, SMALL)
    proxy.choose = lambda _: fault

    async with asyncio.timeout(100):
        for _ in range(3):
            reads = [content_of(impatient, ONE, 0, len(SMALL)) for _ in range(20)]
            answers = await asyncio.gather(*reads, return_exceptions=True)
            assert all(isinstance(answer, Unavailable) for answer in answers)
    assert impatient._data._threads._started <= 8, "four, and as many that are lent"

    proxy.choose = None
    async with asyncio.timeout(100):
        while not is_whole(impatient._data):  # noqa: ASYNC110 -- the threads' sockets end them
            await asyncio.sleep(0.05)
    assert await content_at_last(impatient) == SMALL


@ON_ONE
async def test_reads_that_hang_do_not_keep_bytes_from_being_removed(
    impatient: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy
) -> None:
    await written(store, ONE, SMALL)
    await written(store, TWO, SMALL)
    proxy.choose = lambda asked: Fault.HANG_BEFORE if asked.method == "GET" else None

    reads = [content_of(impatient, ONE, 0, len(SMALL)) for _ in range(20)]
    reading = asyncio.gather(*reads, return_exceptions=True)
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        while True:
            with suppress(Unavailable):  # a busy machine may need longer than this store waits
                await impatient.remove([TWO])
                break
    assert await store.size(TWO) is None
    await reading


@ON_ONE
async def test_a_reader_that_goes_away_while_the_server_hangs_leaves_its_place(
    impatient: S3BlobStore, store: S3BlobStore, proxy: FaultyProxy
) -> None:
    await written(store, ONE, SMALL)
    hanging = True
    proxy.choose = lambda _: Fault.HANG_BEFORE if hanging else None
    for _ in range(3):
        reads = [asyncio.create_task(content_of(impatient, ONE, 0, 5)) for _ in range(4)]
        await asyncio.sleep(0.05)
        for each in reads:
            each.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    hanging = False
    async with asyncio.timeout(60):
        while not is_whole(impatient._data):  # noqa: ASYNC110 -- the threads' sockets end them
            await asyncio.sleep(0.05)
    assert await content_at_last(impatient) == SMALL


async def test_an_upload_that_is_cancelled_anywhere_leaves_nothing(
    store: S3BlobStore, server: S3Server, bucket: str
) -> None:
    async def upload() -> None:
        writer = await store.create_part(ONE)
        try:
            await writer.write(LARGE[: 9 * MIB])
            await writer.write(SMALL)
            await writer.finish()
        except BaseException:
            await writer.abort()
            raise

    for milliseconds in (0, 5, 20, 50, 100, 200):
        task = asyncio.create_task(upload())
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            await store.remove([ONE])
        assert await everything(store) == []
        assert unfinished(server, bucket) == []
    assert store._memory._room._value == 64
