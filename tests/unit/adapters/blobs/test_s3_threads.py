"""Threads for calls that may hang, and the places that a pool lends."""

import queue
import threading

import pytest

from openecr.adapters.blobs.s3.pools import Pool, Threads
from openecr.domain.errors import Unavailable

MORE_THAN_ANY_MEMORY = 1 << 50


def test_no_more_threads_are_started_than_are_allowed_though_one_is_not_yet_idle() -> None:
    threads = Threads("test", 2)
    release, done = threading.Event(), queue.SimpleQueue[str]()

    def work() -> None:
        release.wait(30)
        done.put(threading.current_thread().name)

    for _ in range(5):
        threads.run(work)
    release.set()

    assert {done.get(timeout=30) for _ in range(5)} <= {"test-1", "test-2"}


def test_what_waits_when_the_pool_is_closed_is_done_all_the_same() -> None:
    threads = Threads("test", 1)
    release, done = threading.Event(), queue.SimpleQueue[str]()
    threads.run(lambda: done.put("first") if release.wait(30) else None)
    threads.run(lambda: done.put("second"))

    threads.close()
    release.set()

    assert [done.get(timeout=30), done.get(timeout=30)] == ["first", "second"]


async def test_a_thread_that_cannot_be_started_costs_no_place() -> None:
    pool = Pool("test", 1)
    usual = threading.stack_size(MORE_THAN_ANY_MEMORY)
    try:
        for _ in range(3):
            with pytest.raises(Unavailable) as told:
                await pool.run(lambda: "nothing", seconds=30)
            assert "no thread for test could be started" in told.value.context
    finally:
        threading.stack_size(usual)

    assert await pool.run(lambda: "done", seconds=30) == "done"
    pool.close()


async def test_a_place_that_is_free_has_a_thread_that_is() -> None:
    pool = Pool("test", 1)

    for _ in range(300):
        await pool.run(lambda: None, seconds=30)

    assert pool._threads._started == 1
    pool.close()
