"""Threads of a pool: never more than allowed, and none forgets what it was given."""

import queue
import threading

from openecr.adapters.blobs.s3.pools import Threads


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
