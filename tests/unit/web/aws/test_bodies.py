"""The sum of bodies in memory is bounded; who waits is served in order, and not for ever."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from openecr.domain.errors import BodyTooLarge, UploadInterrupted
from openecr.web.aws.bodies import SMALL_BODY_BYTES, Bodies, ByteBudget
from openecr.web.aws.errors import Throttled
from openecr.web.messages import Request
from tests.unit.web.aws.signed import unsigned, with_header, without_header

LONG = 60


async def test_what_is_free_is_given_at_once_and_comes_back() -> None:
    budget = ByteBudget(max_bytes=10, patience_seconds=0)

    async with budget.hold(4), budget.hold(6):
        with pytest.raises(Throttled):
            async with budget.hold(1):
                pytest.fail("nothing was free")
    async with budget.hold(10):
        pass


async def test_the_line_is_served_in_order_so_that_a_large_body_is_not_overtaken_for_ever() -> None:
    budget = ByteBudget(max_bytes=10, patience_seconds=LONG)
    served: list[str] = []

    async def wait(name: str, size_bytes: int) -> None:
        async with budget.hold(size_bytes):
            served.append(name)

    async with anyio.create_task_group() as group, budget.hold(5):
        group.start_soon(wait, "large", 10)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(wait, "small", 1)
        await anyio.wait_all_tasks_blocked()
        assert served == []

    assert served == ["large", "small"]


async def test_who_gives_up_leaves_the_line_to_the_next() -> None:
    budget = ByteBudget(max_bytes=10, patience_seconds=LONG)
    served = anyio.Event()

    async def wait(size_bytes: int) -> None:
        async with budget.hold(size_bytes):
            served.set()

    async with anyio.create_task_group() as group, budget.hold(5):
        impatient = asyncio.create_task(wait(10))
        await anyio.wait_all_tasks_blocked()
        group.start_soon(wait, 1)
        await anyio.wait_all_tasks_blocked()
        assert not served.is_set()
        impatient.cancel()
        await served.wait()

    async with budget.hold(10):
        pass


async def test_a_turn_that_comes_at_the_moment_of_giving_up_is_not_lost() -> None:
    budget = ByteBudget(max_bytes=10, patience_seconds=LONG)

    async def wait() -> None:
        async with budget.hold(10):
            pytest.fail("it was cancelled first")

    async with budget.hold(10):
        waiting = asyncio.create_task(wait())
        await anyio.wait_all_tasks_blocked()
    waiting.cancel()  # its turn has come, and it has not run since
    with pytest.raises(asyncio.CancelledError):
        await waiting

    async with budget.hold(10):
        pass


async def read(bodies: Bodies, request: Request, limit_bytes: int = 100) -> bytes:
    async with bodies.read(request, limit_bytes) as body:
        return body


async def test_a_body_is_read_up_to_its_limit() -> None:
    bodies = Bodies()
    declared = unsigned(content=b"x" * 100)
    chunked = without_header("content-length")(unsigned(content=b"x" * 101))
    cut = with_header("content-length", lambda _: "100")(unsigned(content=b"x" * 99))

    assert await read(bodies, declared) == b"x" * 100
    with pytest.raises(BodyTooLarge):
        await read(bodies, unsigned(content=b"x" * 101))
    with pytest.raises(BodyTooLarge):
        await read(bodies, chunked)
    with pytest.raises(UploadInterrupted):
        await read(bodies, cut)


async def test_layers_do_not_stop_ordinary_calls() -> None:
    bodies = Bodies(small_max_bytes=100, large_max_bytes=SMALL_BODY_BYTES + 1, patience_seconds=0)
    large = unsigned(content=b"x" * (SMALL_BODY_BYTES + 1))

    async with bodies.read(large, 1 << 20):
        assert await read(bodies, unsigned(content=b"small")) == b"small"
        with pytest.raises(Throttled):
            await read(bodies, unsigned(content=b"x" * (SMALL_BODY_BYTES + 1)), 1 << 20)


async def test_a_body_of_unknown_length_counts_as_the_longest_that_is_possible() -> None:
    bodies = Bodies(small_max_bytes=99, patience_seconds=0)

    with pytest.raises(Throttled):
        await read(bodies, without_header("content-length")(unsigned(content=b"x")))


async def test_a_body_is_counted_until_the_call_ends() -> None:
    bodies = Bodies(small_max_bytes=5, patience_seconds=0)

    async with bodies.read(unsigned(content=b"12345"), 100):
        with pytest.raises(Throttled):
            await read(bodies, unsigned(content=b"1"))
    assert await read(bodies, unsigned(content=b"1")) == b"1"


async def endless() -> AsyncIterator[bytes]:
    yield b"x"
    await anyio.sleep_forever()


async def test_a_cancelled_reader_gives_back_what_it_held() -> None:
    bodies = Bodies(small_max_bytes=100, patience_seconds=0)
    stalled = with_header("content-length", lambda _: "100")(unsigned())
    stalled.body = endless()

    reading = asyncio.create_task(read(bodies, stalled))
    await anyio.wait_all_tasks_blocked()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert await read(bodies, unsigned(content=b"x" * 100)) == b"x" * 100
