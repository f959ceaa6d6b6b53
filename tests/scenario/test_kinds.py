"""Every kind of background work may be interrupted anywhere and run again: once it is done, it changes nothing more.

Over SQLite alone, whose files say all that is stored; over PostgreSQL workers are killed under load (`tests/chaos`).
"""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import anyio
import pytest

from openecr.application.collection import Collection, Step
from openecr.jobs.worker import Kind, Run
from openecr.server.jobs import kinds_of
from tests.clients.images import digest_of
from tests.scenario.drivers import Driver, InProcessDriver, authorization, opened_driver
from tests.scenario.images import Registry, SmallImage
from tests.scenario.storages import Setup, Storages

DAY_SECONDS = 86_400
WHOLE_SECONDS = 60


@pytest.fixture
def server(storages: Storages, tmp_path: Path) -> Iterator[InProcessDriver]:
    with opened_driver(Setup("in process", "SQLite"), storages, tmp_path) as driver:
        assert isinstance(driver, InProcessDriver)
        yield driver


def furnish(driver: Driver) -> Registry:
    """Leave something to do for every kind; give the one repository that must stay as it is."""
    ecr, kms = driver.client(), driver.client("kms")
    for name in ("kept", "left", "gone"):
        ecr.create_repository(repositoryName=name)
    token = authorization(ecr)
    kept, left, gone = (Registry(driver, token, name) for name in ("kept", "left", "gone"))
    for registry in (kept, gone):
        registry.push(SmallImage.named("image"), "v1")
    path = left.start_upload()
    assert left.call("PUT", f"{path}?digest={digest_of(b'unneeded')}", b"unneeded").status == 201
    assert left.call("PATCH", left.start_upload(), b"unfinished", content_range="0-9").status == 202
    ecr.delete_repository(repositoryName="gone", force=True)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=key_id)
    kms.schedule_key_deletion(KeyId=kms.create_key()["KeyMetadata"]["KeyId"], PendingWindowInDays=7)
    return kept


async def attempt(driver: InProcessDriver, kind: Kind, *, seconds: float) -> None:
    """Run a job of a kind for so long at most."""
    held = driver.server.parts.jobs
    await held.enqueue(kind.name)
    (job,) = await held.claim({kind.name: 1}, worker="test")
    with anyio.move_on_after(seconds):
        await kind.run(Run(held, job))
    assert await held.complete(job)


def contents(driver: InProcessDriver) -> list[str]:
    """Everything that is stored, but for the jobs themselves."""
    folder = driver.server.folder
    lines = list[str]()
    for name in ("metadata.sqlite", "activity.sqlite"):
        raw = sqlite3.connect(f"file:{folder / name}?mode=ro", uri=True)
        lines += [
            line
            for line in raw.iterdump()
            if not line.startswith(('INSERT INTO "jobs"', 'INSERT INTO "sqlite_seq'))
        ]
        raw.close()
    return lines + sorted(str(path) for path in (folder / "blobs").rglob("*"))


def test_what_is_interrupted_and_run_again_is_done_once(server: InProcessDriver) -> None:
    kept = furnish(server)
    server.call(server.server.parts.trail.flush)
    server.server.clock.move(seconds=400 * DAY_SECONDS)
    before = contents(server)
    kinds = kinds_of(server.server.parts)
    for kind in kinds:
        for seconds in (0, 0.001, 0.005, WHOLE_SECONDS, WHOLE_SECONDS):
            server.call(partial(attempt, server, kind, seconds=seconds))
        once = contents(server)
        server.call(partial(attempt, server, kind, seconds=WHOLE_SECONDS))
        assert contents(server) == once, kind.name
    assert contents(server) != before
    server.server.clock.move(seconds=-400 * DAY_SECONDS)

    image = SmallImage.named("image")
    assert kept.call("GET", "/manifests/v1").body == image.manifest()
    assert kept.call("GET", f"/blobs/{digest_of(image.layer)}").body == image.layer
    garbage = server.call(server.server.parts.collection.preview)
    assert (garbage.repositories, garbage.uploads, garbage.links) == (0, 0, 0)


class OnceUrgent:
    """A collection with one step, which has more to do once, and is asked whether that is urgent."""

    def __init__(self) -> None:
        self.asked = 0
        self.rare_steps: dict[str, Step] = {}
        self._left = [False, True]

    @property
    def steps(self) -> dict[str, Step]:
        return {"collect-blobs": self._step}

    async def _step(self) -> bool:
        return self._left.pop()

    async def end_leftovers(self) -> int:
        return 0

    async def is_urgent(self) -> bool:
        self.asked += 1
        return True


def test_before_a_collection_rests_it_is_asked_whether_that_is_urgent(server: InProcessDriver) -> None:
    collection = OnceUrgent()
    parts = replace(server.server.parts, collection=cast("Collection", collection))
    (kind,) = (kind for kind in kinds_of(parts) if kind.name == "collect-blobs")

    server.call(partial(attempt, server, kind, seconds=WHOLE_SECONDS))

    assert collection.asked == 1


def test_every_kind_is_in_the_table_of_the_architecture(server: InProcessDriver) -> None:
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("\n## Background work\n")[2].partition("\n## ")[0]
    told = {
        name
        for row in re.findall(r"^\|(.*?)\|", section, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", row)
    }

    assert {kind.name for kind in kinds_of(server.server.parts)} <= told
    assert "seal-blobs" in told, "one that only some servers have"
