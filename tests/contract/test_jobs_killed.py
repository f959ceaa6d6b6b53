"""Workers are killed, and stopped until others have their jobs: every job is done, and its end counts once."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import anyio
import pytest

from openecr.domain.jobs import JobState, JobStatus
from openecr.store import jobs
from openecr.store.database import Database
from tests.contract.databases import sqlite_databases
from tests.contract.job_worker import CONCURRENCY

JOBS = 2 * CONCURRENCY
PATIENCE_SECONDS = 60


class Workers:
    """Processes of `job_worker`, and what they have told."""

    def __init__(self, where: str, folder: Path, stack: ExitStack) -> None:
        self._where = where
        self._stack = stack
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.folder = folder

    def start(self, name: str) -> None:
        command = [sys.executable, "-m", "tests.contract.job_worker", self._where, str(self.folder), name]
        with (self.folder / f"{name}.err").open("wb") as errors:
            process = subprocess.Popen(command, stdout=errors, stderr=errors)
        self._processes[name] = process
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)

    def send(self, name: str, number: signal.Signals) -> None:
        process = self._processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait()

    def told(self, name: str, word: str) -> list[int]:
        """Return the jobs of which a worker has said this."""
        assert self._processes[name].poll() in {None, -signal.SIGKILL}, (
            self.folder / f"{name}.err"
        ).read_text()
        log = self.folder / f"{name}.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [int(line.split()[1]) for line in lines if line.startswith(f"{word} ")]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until the processes have done something; only a failure takes long."""
        with anyio.fail_after(PATIENCE_SECONDS):
            while not is_so():  # noqa: ASYNC110 -- they tell by files
                await asyncio.sleep(0.02)

    async def until_begun(self, name: str) -> set[int]:
        """Wait until a worker has all the jobs that it may have, and return them."""
        await self.until(lambda: len(self.told(name, "begin")) >= CONCURRENCY)
        return set(self.told(name, "begin"))

    def go(self, name: str) -> None:
        """Let the jobs of a worker come to their ends."""
        (self.folder / f"{name}.go").touch()

    def effects(self) -> int:
        return len(list(self.folder.glob("effect-*")))


@pytest.fixture
def workers(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    on_sqlite = engine == "sqlite"
    where = str(tmp_path / "metadata.sqlite") if on_sqlite else request.getfixturevalue("postgres_url")
    folder = tmp_path / "workers"
    folder.mkdir()
    with ExitStack() as stack:
        yield Workers(where, folder, stack)


async def enqueue(database: Database, *numbers: int) -> None:
    for number in numbers:
        await database.write(
            partial(jobs.enqueue, kind="work", now=0, payload={"number": number}, unique_key=str(number))
        )


async def left(database: Database) -> list[JobStatus]:
    return list(await database.scan(lambda connection: jobs.list_after(connection, after=0, limit=100)))


async def until_none_is_left(database: Database) -> None:
    with anyio.fail_after(PATIENCE_SECONDS):
        while await left(database):  # noqa: ASYNC110 -- the database tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("engine", ["postgresql"])
async def test_what_dead_and_stopped_workers_held_is_done_by_others_and_ends_once(
    workers: Workers, database: Database
) -> None:
    await enqueue(database, *range(JOBS))
    workers.start("killed")
    held = await workers.until_begun("killed")
    workers.send("killed", signal.SIGKILL)
    workers.start("stopped")
    assert await workers.until_begun("stopped") == held, "the oldest come first"
    workers.send("stopped", signal.SIGSTOP)
    workers.start("last")
    assert await workers.until_begun("last") == held

    workers.go("stopped")
    workers.send("stopped", signal.SIGCONT)
    await workers.until(
        lambda: held == {*workers.told("stopped", "refused"), *workers.told("stopped", "lost")}
    )
    workers.go("last")
    await until_none_is_left(database)

    ended = [*workers.told("stopped", "done"), *workers.told("last", "done")]
    assert sorted(ended) == list(range(1, JOBS + 1)), "each ends once"
    assert held <= set(workers.told("last", "done")), "what was taken from the others is theirs no more"
    assert workers.told("killed", "done") == []
    assert workers.effects() == JOBS


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_the_next_start_of_an_embedded_server_does_at_once_what_a_kill_has_left(
    workers: Workers, tmp_path: Path
) -> None:
    async with sqlite_databases(tmp_path) as databases:
        await enqueue(databases.metadata, *range(JOBS))
    workers.start("killed")
    await workers.until_begun("killed")
    workers.send("killed", signal.SIGKILL)
    workers.go("next")
    workers.start("next")  # the leases of the other one have an hour left
    await workers.until(lambda: len(workers.told("next", "done")) == JOBS)
    workers.send("next", signal.SIGKILL)

    assert sorted(workers.told("next", "done")) == list(range(1, JOBS + 1))
    assert workers.effects() == JOBS
    assert workers.told("killed", "done") == []
    async with sqlite_databases(tmp_path) as databases:
        assert await left(databases.metadata) == []


@pytest.mark.parametrize("engine", ["postgresql"])
async def test_a_worker_that_is_told_to_stop_leaves_its_jobs_to_be_taken_at_once(
    workers: Workers, database: Database
) -> None:
    await enqueue(database, *range(CONCURRENCY))
    workers.start("stopping")
    await workers.until_begun("stopping")
    workers.send("stopping", signal.SIGINT)

    with anyio.fail_after(PATIENCE_SECONDS):
        while {status.state for status in await left(database)} != {JobState.READY}:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.02)

    assert [status.attempts for status in await left(database)] == [0] * CONCURRENCY
