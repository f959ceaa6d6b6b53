"""A traced run of the real server under clients that work at once, and what it would have left at any instant."""

import http.client
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from botocore.credentials import Credentials

from tests.durability.callers import Caller, Wire
from tests.durability.filesystems import FileSystem, Ignores
from tests.durability.histories import Change, History, Ticket
from tests.durability.traces import Call, Tracer, answers, steps
from tests.running import RunningServer
from tests.scenario.drivers import basic

_FREEZE_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What the server did, call by call, and what its clients were promised."""

    root: Path
    calls: Sequence[Call]
    history: History
    answers: dict[Ticket, tuple[int, int]]
    authorization: str
    root_key: tuple[str, str]

    @property
    def acknowledgements(self) -> list[int]:
        """The instants at which changes were acknowledged."""
        changes = {id(change): change for each in self.history.changes.values() for change in each}
        return sorted(
            self.answers[change.ticket][1] for change in changes.values() if change.ticket is not None
        )

    @property
    def length(self) -> int:
        """The instant after everything."""
        return self.calls[-1].ended + 1

    def is_acknowledged(self, instant: int) -> Callable[[Change], bool]:
        """Tell whether a client may know, at an instant, that its change was accepted."""
        return lambda change: change.ticket is not None and self.answers[change.ticket][1] <= instant

    def replay(
        self, instants: Sequence[int], *, ignores: Ignores = lambda _path, _call: False
    ) -> Iterator[tuple[int, FileSystem]]:
        """Give the file system as it was at each of these instants, just before what happened then."""
        filesystem = FileSystem(self.root, ignores=ignores)
        wanted = iter(sorted(set(instants)))
        instant = next(wanted, None)
        for line, call, ends in steps(self.calls):
            while instant is not None and instant <= line:
                yield instant, filesystem
                instant = next(wanted, None)
            if ends:
                filesystem.end(call)
            else:
                filesystem.begin(call)
        while instant is not None:
            yield instant, filesystem
            instant = next(wanted, None)


def record(folder: Path, *, seed: str, callers: int, changes: int, largest_bytes: int) -> Recording:
    """Run a server twice under clients, each time until so many changes were acknowledged and it is killed."""
    history, calls = History(), list[Call]()
    authorization, key = "", ("", "")
    for run in ("first", "second"):
        tracer = Tracer(folder.parent / f"{run}.trace")
        server = RunningServer(folder, settings=SETTINGS, wrapper=tracer.command)
        server.start()
        try:
            read = tracer.watch(server.process.pid)
            environment = server.environment()
            key = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
            authorization = authorization or basic("AWS", server.password())
            wires = [Wire(server, authorization, Credentials(*key)) for _ in range(callers)]
            crew = [
                Caller(wire, history, f"{run}{number}", seed=seed, largest_bytes=largest_bytes)
                for number, wire in enumerate(wires)
            ]
            with working(crew):
                history.wait_for(changes * (1 if run == "first" else 2))
                freeze(server.process.pid)
                server.kill()
        finally:
            server.kill()
        calls += _later(read(), calls[-1].ended + 1 if calls else 0)
    return Recording(
        root=folder,
        calls=calls,
        history=history,
        answers=answers(calls),
        authorization=authorization,
        root_key=key,
    )


SETTINGS = {
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "1",
    "OPENECR_DOOMED_SECONDS": "0",
}
"""Bytes that nobody needs any more go at once, so that their removal is seen too."""


@contextmanager
def working(callers: Sequence[Caller]) -> Generator[None]:
    """Let every caller work from the start of the block until its server is gone, which the block has to see to."""
    with ThreadPoolExecutor(len(callers)) as pool:
        running = [pool.submit(_work, caller) for caller in callers]
        yield
        for each in running:
            each.result()


def _work(caller: Caller) -> None:
    try:
        while True:
            caller.step()
    except (OSError, http.client.HTTPException):
        return  # the server is gone
    finally:
        caller.close()


def freeze(process: int) -> None:
    """Stop a process so that no system call of it is half done: the trace then says exactly what happened."""
    os.kill(process, signal.SIGSTOP)
    deadline = time.monotonic() + _FREEZE_SECONDS
    while not all(_is_stopped(task) for task in Path(f"/proc/{process}/task").iterdir()):
        assert time.monotonic() < deadline, "the server does not stop"
        time.sleep(0.001)  # nobody tells when the last thread stands still


def _is_stopped(task: Path) -> bool:
    return task.joinpath("stat").read_text().rpartition(")")[2].split()[0] in {"T", "t"}


def _later(calls: Sequence[Call], lines: int) -> list[Call]:
    return [replace(call, began=call.began + lines, ended=call.ended + lines) for call in calls]
