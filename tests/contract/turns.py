"""Runs several actors in every order of their calls to the database.

Between two calls an actor stands still until its turn comes, so that whatever another one does in that moment is tried:
each run follows one order, and the next run the next order, until none is left (a search of all interleavings).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from openecr.store.database import Work
from tests.contract.fronts import Front

T = TypeVar("T")

Actor = Callable[[], Awaitable[object]]
_PLACE: ContextVar["_Place | None"] = ContextVar("place", default=None)


@dataclass(slots=True, eq=False)
class _Place:
    """Where one actor stands."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    has_stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def stop(self) -> None:
        """Wait for the next turn."""
        self.go.clear()
        self.has_stopped.set()
        await self.go.wait()


class DatabaseInTurns(Front):
    """A database whose calls, when an actor makes them, wait for its turn."""

    async def read(self, work: Work[T]) -> T:
        await _turn()
        return await super().read(work)

    async def scan(self, work: Work[T]) -> T:
        await _turn()
        return await super().scan(work)

    async def write(self, work: Work[T]) -> T:
        await _turn()
        return await super().write(work)


async def _turn() -> None:
    place = _PLACE.get()
    if place is not None:
        await place.stop()


class Orders:
    """`async for take_turns in Orders()`: every order once; call what is given with the actors of each run."""

    def __init__(self) -> None:
        self.count = 0
        self._prefix: list[int] = []
        self._taken: list[tuple[int, int]] = []

    async def __aiter__(self) -> AsyncIterator[Callable[..., Awaitable[list[object]]]]:
        while True:
            self._taken = []
            self.count += 1
            yield self._run
            while self._taken and self._taken[-1][0] == self._taken[-1][1] - 1:
                self._taken.pop()
            if not self._taken:
                return
            self._prefix = [choice for choice, _ in self._taken[:-1]] + [self._taken[-1][0] + 1]

    async def _run(self, *actors: Actor) -> list[object]:
        """Run the actors in this run's order; return what each returned or raised."""
        places = [_Place() for _ in actors]
        tasks = [asyncio.create_task(_act(place, actor)) for place, actor in zip(places, actors, strict=True)]
        for place, task in zip(places, tasks, strict=True):
            await _until_it_stops(place, task)
        while waiting := [place for place, task in zip(places, tasks, strict=True) if not task.done()]:
            place = waiting[self._choose(len(waiting))]
            place.has_stopped.clear()
            place.go.set()
            await _until_it_stops(place, tasks[places.index(place)])
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    def _choose(self, options: int) -> int:
        number = len(self._taken)
        choice = self._prefix[number] if number < len(self._prefix) else 0
        self._taken.append((choice, options))
        return choice


async def _act(place: _Place, actor: Actor) -> object:
    _PLACE.set(place)
    return await actor()


async def _until_it_stops(place: _Place, task: "asyncio.Task[object]") -> None:
    """Wait until an actor stands before its next call, or has ended."""
    stopped = asyncio.create_task(place.has_stopped.wait())
    await asyncio.wait({stopped, task}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()


def errors_of(results: Sequence[object], *expected: type[Exception]) -> list[Exception]:
    """Return the errors among results, all of which must be of these kinds."""
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if not isinstance(error, expected):
            raise error
    return [error for error in errors if isinstance(error, Exception)]
