"""A probe looks at the blob store: whatever the store does, it answers, and does not look twice at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from openecr.server.readiness import Readiness


def readiness(store_answers: Callable[[], Awaitable[bool]], *, patience: float) -> Readiness:
    nothing = cast("Any", None)
    return Readiness(nothing, nothing, store_answers=store_answers, store_patience=patience, store_kept=0)


async def test_a_store_that_hangs_is_not_asked_again_before_it_has_answered() -> None:
    looks = 0
    go_on = asyncio.Event()

    async def hang() -> bool:
        nonlocal looks
        looks += 1
        await go_on.wait()
        return True

    probes = readiness(hang, patience=0.001)

    assert [await probes.has_store() for _ in range(5)] == [False] * 5
    assert looks == 1

    go_on.set()
    look = probes._look
    assert look is not None
    await look
    assert probes._has_store
    await probes.has_store()
    assert looks == 2


async def test_a_look_that_fails_is_a_store_that_does_not_answer() -> None:
    async def fail() -> bool:
        raise ValueError("nobody thought of this")

    probes = readiness(fail, patience=60)

    assert not await probes.has_store()
    assert probes._look is None
