"""What failed for good is seen by the operator, and tried again at the operator's word."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.clocks import SystemClock
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MasterKeyRing
from openecr.application.accounts import Accounts
from openecr.application.audit_lookup import AuditLookup
from openecr.application.authorization import Authorizer
from openecr.application.collection import Collection
from openecr.application.explanations import Explanations
from openecr.application.jobs import Jobs
from openecr.application.limits import Limits
from openecr.application.rewrapping import Rewrapping
from openecr.cli.main import cli
from openecr.domain.jobs import ATTEMPTS_MAX, ClaimedJob
from openecr.jobs.worker import RENEWALS, Kind, Run, Worker
from openecr.store import jobs as rows
from openecr.store.database import Database
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase
from openecr.testing.clocks import MovableClock
from openecr.web.control import ControlServer
from openecr.web.work_commands import WorkCommands

PATIENCE_SECONDS = 30
LEASE_SECONDS = 5
"""A machine that is busy may stand still for as long."""

LEASES = 2
"""So many are longer than a lease and the half of one."""


async def no_key() -> dict[str, Any]:
    """No command here asks for one."""
    raise NotImplementedError


class Place:
    """A database with a control socket, whose background work has a clock of its own."""

    def __init__(self, data: Path, *, kinds: tuple[str, ...] = ()) -> None:
        self.data = data
        self.kinds = kinds
        migrate_sqlite(data / "metadata.sqlite", data / "activity.sqlite")
        self.failures: list[BaseException] = []
        self.database = SqliteDatabase(data / "metadata.sqlite", on_failure=self.failures.append)
        self.clock = MovableClock(SystemClock().now())
        self.jobs: Jobs = Jobs(database=self.database, clock=self.clock, lease_seconds=10**9)

    def control(self, *, patience_seconds: float = PATIENCE_SECONDS) -> ControlServer:
        database, clock = self.database, SystemClock()
        lookup = AuditLookup(metadata=database, activity=database)
        keys = MasterKeyRing({1: bytes(32)})
        return ControlServer(
            self.data / "control.sock",
            accounts=Accounts(database=database, keys=keys, clock=clock, ids=SystemIds()),
            stop=lambda: None,
            key_changed=lambda _: None,
            audit=lookup,
            explanations=Explanations(
                database=database,
                authorizer=Authorizer(database=database),
                lookup=lookup,
                clock=clock,
                region="us-east-1",
            ),
            work=WorkCommands(
                jobs=self.jobs,
                kinds=self.kinds,
                collection=Collection(
                    database=database,
                    activity=database,
                    blobs=FileBlobStore(self.data / "blobs", min_free_bytes=0, min_free_ratio=0),
                    clock=clock,
                    limits=Limits(),
                ),
                rewrapping=Rewrapping(database=database, keys=keys),
                keys=keys,
                add_key=no_key,
                patience_seconds=patience_seconds,
            ),
            status=dict,
        )

    async def openecr(self, *arguments: str) -> Result:
        """Run a command beside it."""
        command = partial(CliRunner().invoke, cli, [*arguments, "--data", str(self.data)])
        return await anyio.to_thread.run_sync(command)

    async def listed(self, *arguments: str) -> list[dict[str, object]]:
        """Return what `jobs list` prints."""
        printed = (await self.openecr("jobs", "list", "--json", *arguments)).stdout.splitlines()
        # Whatever this process logs meanwhile is caught too.
        found: list[dict[str, object]] = json.loads([line for line in printed if line.startswith("[")][-1])
        return found


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    control = place.control()
    await control.start()
    yield place
    await control.close()
    await place.database.close()
    assert place.failures == []


async def test_what_failed_too_often_is_listed_and_done_when_it_is_tried_again(place: Place) -> None:
    attempts: list[int] = []
    is_mended = False

    async def handle(run: Run) -> None:
        attempts.append(run.job.attempts)
        if not is_mended:
            raise ConnectionError("the store is away")

    await place.database.write(partial(rows.enqueue, kind="deliver", now=place.clock.now(), unique_key="x"))
    worker = Worker(place.jobs, [Kind(name="deliver", run=handle)], ids=SystemIds(), poll_seconds=0.01)
    with anyio.fail_after(PATIENCE_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(partial(worker.run, is_alone=True))
            while not (dead := await place.listed("--state", "dead")):
                place.clock.move(seconds=3600)
            place.clock.move(seconds=100 * 3600)
            assert attempts == list(range(1, ATTEMPTS_MAX + 1))
            assert [(job["kind"], job["attempts"], job["state"]) for job in dead] == [("deliver", 10, "dead")]
            shown = (await place.openecr("jobs", "list")).stdout
            assert "deliver  dead  10" in shown
            assert "ConnectionError('the store is away')" in shown

            is_mended = True
            assert (await place.openecr("jobs", "retry", str(dead[0]["id"]))).exit_code == 0
            while await place.listed():
                place.clock.move(seconds=1)
            group.cancel_scope.cancel()
    assert attempts[ATTEMPTS_MAX:] == [1]


async def test_the_dead_come_first_in_a_long_list(place: Place) -> None:
    now = place.clock.now()
    for _ in range(450):
        await place.database.write(partial(rows.enqueue, kind="many", now=now))
    await place.database.write(partial(rows.enqueue, kind="few", now=now, payload={"all": "x" * 3000}))
    (job,) = await place.jobs.claim({"few": 1}, worker="one")
    await place.database.write(partial(rows.put_off, job=job, run_at=now, error="it broke", is_dead=True))

    listed = await place.listed()
    assert (listed[0]["kind"], listed[0]["payload"]) == ("few", None)
    assert len({str(job["id"]) for job in listed}) == len(listed) == 451


class CountedJobs(Jobs):
    """Jobs that tell when leases were renewed for far longer than anybody has patience."""

    def __init__(self, *, database: Database, lease_seconds: float) -> None:
        super().__init__(database=database, clock=SystemClock(), lease_seconds=lease_seconds)
        self.has_lasted = asyncio.Event()
        self._renewals = 0

    async def hold(self, job: ClaimedJob, payload: Mapping[str, object]) -> bool:
        self._renewals += 1
        if self._renewals == LEASES * RENEWALS:
            self.has_lasted.set()
        return await super().hold(job, payload)


async def test_who_waits_behind_another_job_of_the_kind_is_not_told_that_nobody_works(tmp_path: Path) -> None:
    place = Place(tmp_path, kinds=("purge",))
    place.jobs = jobs = CountedJobs(database=place.database, lease_seconds=LEASE_SECONDS)
    await place.database.write(partial(rows.enqueue, kind="purge", now=0, unique_key="of a large repository"))
    has_begun = asyncio.Event()

    async def handle(run: Run) -> None:
        if run.job.every_seconds is None:
            has_begun.set()
            await jobs.has_lasted.wait()

    kind = Kind(name="purge", run=handle, every_seconds=3600, first_seconds=3600)
    worker = Worker(jobs, [kind], ids=SystemIds(), poll_seconds=0.01)
    control = place.control(patience_seconds=LEASE_SECONDS / 2)
    await control.start()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(worker.run, is_alone=True))
        await has_begun.wait()
        ended = await place.openecr("jobs", "run", "purge")
        group.cancel_scope.cancel()
    await control.close()
    await place.database.close()

    assert ended.exit_code == 0, ended.stderr
    assert jobs.has_lasted.is_set()
    assert place.failures == []


async def test_what_cannot_be_tried_again_is_said_in_a_line(place: Place) -> None:
    now = place.clock.now()
    enqueue = partial(rows.enqueue, kind="deliver", now=now, unique_key="x")
    await place.database.write(enqueue)
    (job,) = await place.jobs.claim({"deliver": 1}, worker="one")
    await place.database.write(partial(rows.put_off, job=job, run_at=now, error="it broke", is_dead=True))
    await place.database.write(enqueue)

    refused = await place.openecr("jobs", "retry", str(job.id))

    assert refused.exit_code == 1
    assert refused.stderr == (
        f"openecr: another job waits or runs already that does what job {job.id} did: cancel one of them\n"
    )
