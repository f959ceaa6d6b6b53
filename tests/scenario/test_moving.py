"""An embedded server is moved to PostgreSQL by one command, with everything that it held."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from openecr.store.postgres_migrating import migrate_postgresql
from openecr.store.schema import SCHEMAS
from openecr.store.sqlite import connect
from tests.running import RunningServer, plain_environment, running_server
from tests.scenario.drivers import WireDriver, authorization
from tests.scenario.images import Registry, SmallImage, digest_of
from tests.scenario.storages import Storages

_PULL = ("ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
_SECONDS = 60.0


@pytest.fixture
def url(storages: Storages) -> Iterator[str]:
    """A PostgreSQL of which nothing is made yet."""
    name = "moved"
    storages.postgres.create(name)
    yield storages.postgres.dsn(name)
    storages.postgres.drop(name)


def copying(data: Path, url: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "openecr", "database", "copy", "--from", str(data), "--to", url, *more]


def copy(data: Path, url: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        copying(data, url, *more),
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def serving(data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "openecr", "serve", "--data", str(data), *more],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def reader_of(server: RunningServer, name: str) -> tuple[str, str]:
    """Make a user who may pull."""
    iam = server.client("iam")
    iam.create_user(UserName=name)
    statement = {"Effect": "Allow", "Action": list(_PULL), "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName=name, PolicyName="pull", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def assert_holds(registry: Registry, images: Sequence[SmallImage]) -> None:
    for number, image in enumerate(images):
        assert registry.call("GET", f"/manifests/v{number}").body == image.manifest()
        for blob in (image.config, image.layer):
            assert registry.call("GET", f"/blobs/{digest_of(blob)}").body == blob


def test_an_embedded_server_goes_on_with_postgresql(tmp_path: Path, url: str) -> None:
    images = [SmallImage.named(f"moved {number}") for number in range(5)]
    with running_server(tmp_path) as embedded:
        data = embedded.data
        driver = WireDriver(embedded)
        driver.client().create_repository(repositoryName="moved", imageTagMutability="IMMUTABLE")
        token = authorization(driver.client())
        registry = Registry(driver, token, "moved")
        for number, image in enumerate(images):
            registry.push(image, f"v{number}")
        upload = registry.start_upload()
        assert registry.call("PATCH", upload, b"begun here, ").status == 202
        key = reader_of(embedded, "reader")
        assert "is in use by process" in copy(data, url).stderr
        port = embedded.port

    copied = copy(data, url)
    assert copied.returncode == 0, copied.stderr
    assert ["images", "5"] in [line.split() for line in copied.stdout.splitlines()]
    assert "was moved to postgresql://" in copy(data, url).stderr
    refused = serving(data)
    assert refused.returncode == 1
    assert "was moved to postgresql://" in refused.stderr.splitlines()[-1]

    with running_server(tmp_path, settings={"OPENECR_DATABASE": url}, port=port) as moved:
        driver = WireDriver(moved)
        registry = Registry(driver, token, "moved")
        assert_holds(registry, images)
        assert_holds(Registry(driver, authorization(driver.client(key=key)), "moved"), images)
        assert len(driver.client().describe_images(repositoryName="moved")["imageDetails"]) == len(images)
        assert registry.call("PATCH", upload, b"ended there").status == 202
        whole = b"begun here, ended there"
        assert registry.call("PUT", f"{upload}?digest={digest_of(whole)}").status == 201
        assert registry.call("GET", f"/blobs/{digest_of(whole)}").body == whole
        registry.push(SmallImage.named("new"), "new")  # with numbers that nothing has
        driver.client().create_repository(repositoryName="new")


def test_a_trial_leaves_the_folder_in_use(tmp_path: Path, url: str) -> None:
    with running_server(tmp_path) as embedded:
        embedded.create_repository("kept")
    tried = copy(embedded.data, url, "--trial")
    assert tried.returncode == 0
    assert "each would remove what the other needs" in tried.stdout
    embedded.restart()
    assert embedded.client().describe_repositories()["repositories"]
    embedded.stop()


async def rows_of(url: str) -> int:
    """How many rows there are beside what migrations write."""
    target = await asyncpg.connect(url)
    tables = [table for schema in SCHEMAS.values() for table in schema.tables if table != "server_state"]
    counts = [int(await target.fetchval(f"SELECT count(*) FROM {table}")) for table in tables]
    await target.close()
    return sum(counts)


async def kill_while_it_waits(command: list[str], url: str) -> None:
    """Let the copy wait for the last tables, and kill it there."""
    holder, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'COPY %'"
    async with holder.transaction():
        await holder.execute("LOCK TABLE audit IN EXCLUSIVE MODE")
        process = await asyncio.create_subprocess_exec(*command, env=plain_environment())
        try:
            deadline = time.monotonic() + _SECONDS
            while not await watcher.fetchval(waiting):
                assert process.returncode is None
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
        finally:
            process.kill()
            await process.wait()
    await holder.close()
    await watcher.close()


def test_a_copy_that_is_killed_leaves_nothing_and_can_be_made_again(tmp_path: Path, url: str) -> None:
    with running_server(tmp_path) as embedded:
        embedded.create_repository("kept")
        embedded.client().list_images(repositoryName="kept")
    asyncio.run(migrate_postgresql(url))
    asyncio.run(kill_while_it_waits(copying(embedded.data, url), url))
    assert asyncio.run(rows_of(url)) == 0
    refused = serving(embedded.data)
    assert refused.returncode == 1
    assert "was begun, and nobody knows whether it arrived" in refused.stderr.splitlines()[-1]
    for flags in ((), ("--abandon",)):
        assert "was begun: end it first" in copy(embedded.data, "postgresql://elsewhere", *flags).stderr
    assert copy(embedded.data, url, "--abandon").returncode == 0
    embedded.restart()
    embedded.stop()
    asyncio.run(kill_while_it_waits(copying(embedded.data, url), url))
    assert copy(embedded.data, url).returncode == 0
    assert asyncio.run(rows_of(url)) > 0


def test_a_copy_that_is_killed_after_its_commit_is_closed_by_the_next_one(tmp_path: Path, url: str) -> None:
    with running_server(tmp_path) as embedded:
        embedded.create_repository("kept")
    assert copy(embedded.data, url).returncode == 0
    raw = connect(embedded.data / "metadata.sqlite", writes=True)
    raw.execute("DELETE FROM server_state WHERE name = 'moved_to'")  # what a kill in between would leave
    raw.execute("INSERT INTO server_state VALUES ('moving_to', ?)", (asyncio.run(move_in(url)),))
    raw.close()
    assert serving(embedded.data).returncode == 1
    assert "the rows have arrived" in copy(embedded.data, url, "--abandon").stderr
    ended = copy(embedded.data, url)
    assert ended.returncode == 0
    assert "was copied before" in ended.stdout
    assert "was moved to postgresql://" in serving(embedded.data).stderr.splitlines()[-1]
    for flags in ((), ("--trial",)):
        again = copy(embedded.data, "postgresql://elsewhere", *flags)
        assert again.returncode == 1
        assert "was moved to postgresql://" in again.stderr


def test_a_copy_that_is_refused_leaves_the_folder_in_use(tmp_path: Path, url: str) -> None:
    with running_server(tmp_path) as embedded:
        embedded.create_repository("kept")
    asyncio.run(fill(url))
    assert "the database is not empty" in copy(embedded.data, url).stderr
    embedded.restart()
    embedded.stop()


async def move_in(url: str) -> str:
    target = await asyncpg.connect(url)
    found = str(await target.fetchval("SELECT value FROM server_state WHERE name = 'moving_to'"))
    await target.close()
    return found


async def fill(url: str) -> None:
    await migrate_postgresql(url)
    target = await asyncpg.connect(url)
    await target.execute("INSERT INTO server_state VALUES ('something', 'else')")
    await target.close()
