"""Background work goes on, whatever one kind of it does."""

import asyncio
from collections.abc import Callable

import anyio
import pytest

from openecr.jobs.routines import BACK_OFF_MAX, Routine, run_routines
from openecr.store.database import DatabaseFailed


class Rests:
    """Sleeps for no time, and remembers for how long it was asked."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def outcomes(*errors: Exception | None) -> Callable[[], "asyncio.Future[None]"]:
    """Work that succeeds or fails in this order; at last the database fails, which ends it."""
    left = [*errors, DatabaseFailed("over")]

    def run() -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        error = left.pop(0)
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        return future

    return run


async def test_a_routine_rests_before_each_run() -> None:
    rests = Rests()

    await run_routines(Routine(name="routine", run=outcomes(None, None), interval_seconds=7), sleep=rests)

    assert rests.seconds == [7, 7, 7]


async def test_a_routine_that_fails_rests_longer_each_time_until_it_succeeds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rests = Rests()
    error = OSError("no")
    failures = [error] * 7

    await run_routines(
        Routine(name="routine", run=outcomes(*failures, None, error), interval_seconds=1), sleep=rests
    )

    assert rests.seconds == [1, 2, 4, 8, 16, 32, BACK_OFF_MAX, BACK_OFF_MAX, 1, 2]
    assert "background work failed" in capsys.readouterr().out


async def test_a_routine_that_fails_stops_no_other() -> None:
    runs = 0

    async def count() -> None:
        nonlocal runs
        runs += 1
        if runs == 50:
            raise DatabaseFailed("over")

    await run_routines(
        Routine(name="failing", run=outcomes(*[OSError("no")] * 20), interval_seconds=0),
        Routine(name="counting", run=count, interval_seconds=0),
    )

    assert runs == 50


async def test_cancelling_ends_work_at_once() -> None:
    is_running, is_ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal is_ended
        is_running.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_ended = True

    async with anyio.create_task_group() as group:
        group.start_soon(
            run_routines,
            Routine(name="working", run=work, interval_seconds=0),
            Routine(name="resting", run=work, interval_seconds=10_000),
        )
        await is_running.wait()
        group.cancel_scope.cancel()

    assert is_ended
