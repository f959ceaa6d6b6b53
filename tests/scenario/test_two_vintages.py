"""Rolling restarts: servers of two versions serve together over one PostgreSQL.

The newer version is this one, copied, with one more migration.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import openecr
from openecr.store.migrating import head_of
from tests.running import RunningServer, free_port, plain_environment
from tests.scenario.drivers import WireDriver, authorization, variables
from tests.scenario.images import Registry, SmallImage
from tests.scenario.storages import Flags, Storages

_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = "{head}"
{promise}


def upgrade() -> None:
    op.add_column("repositories", sa.Column("colour", sa.Text(), server_default=sa.text("'blue'"), nullable=False))
    op.add_column("images", sa.Column("weight", sa.BigInteger()))
    op.create_table("of_the_future", sa.Column("id", sa.BigInteger(), primary_key=True))
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Settings that all servers share, and how programs of each version are run."""

    folder: Path
    shared: Flags
    stack: ExitStack

    def newer(self, promise: str = "") -> dict[str, str]:
        """Make a newer version; the variables that run it in place of this one."""
        place = self.folder / "newer"
        package = place / "openecr"
        shutil.copytree(Path(openecr.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        migration = package / "store" / "migrations" / "metadata" / "versions" / "9001_future.py"
        migration.write_text(_MIGRATION.format(head=head_of("metadata"), promise=promise))
        return {"PYTHONPATH": str(place)}

    def server(self, name: str, version: dict[str, str]) -> RunningServer:
        """Run a server of a version."""
        running = RunningServer(self.folder / name, settings={**variables(self.shared), **version})
        running.start()
        self.stack.callback(running.kill)
        return running

    def run(self, version: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an operator's command of a version."""
        return subprocess.run(
            [sys.executable, "-m", "openecr", *arguments, "--data", str(self.folder / "none")],
            env={**plain_environment(), **variables(self.shared), **version},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def fleet(storages: Storages, tmp_path: Path) -> Iterator[Fleet]:
    with storages.opened("PostgreSQL") as flags, ExitStack() as stack:
        shared = {**flags, "keys": str(tmp_path / "keys"), "blobs": str(tmp_path / "blobs")}
        yield Fleet(tmp_path, shared, stack)


def registry_of(server: RunningServer, name: str) -> Registry:
    driver = WireDriver(server)
    return Registry(driver, authorization(driver.client()), name)


def assert_both_serve(one: RunningServer, other: RunningServer, name: str) -> None:
    """Push at each, pull at the other; make and delete at each."""
    one.client().create_repository(repositoryName=name)
    registries = registry_of(one, name), registry_of(other, name)
    for number, (here, there) in enumerate([registries, registries[::-1]]):
        image = SmallImage.named(f"{name} {number}")
        here.push(image, f"v{number}")
        assert there.call("GET", f"/manifests/v{number}").body == image.manifest()
    other.client().batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "v0"}])
    assert registries[0].call("GET", "/manifests/v0").status == 404
    assert len(one.client().describe_images(repositoryName=name)["imageDetails"]) == 1


def test_servers_before_and_after_a_migration_serve_together(fleet: Fleet) -> None:
    older = fleet.server("older", {})
    registry = registry_of(older, "before")
    older.client().create_repository(repositoryName="before")
    image = SmallImage.named("before")
    registry.push(image, "v1")
    version = fleet.newer(f'oldest_compatible = "{head_of("metadata")}"')

    refused = fleet.run(version, "serve", "--port", str(free_port()))
    assert refused.returncode == 1
    assert "run `openecr migrate`" in refused.stderr.splitlines()[-1]
    assert fleet.run(version, "migrate", "--check").returncode == 1
    migrated = fleet.run(version, "migrate")
    assert migrated.returncode == 0
    assert "was brought up to date" in migrated.stdout
    assert migrated.stderr == ""
    assert fleet.run(version, "migrate", "--check").returncode == 0

    assert registry.call("GET", "/manifests/v1").body == image.manifest()  # by statements prepared before it
    newer = fleet.server("newer", version)
    assert_both_serve(older, newer, "together")
    assert_both_serve(newer, older, "the-other-way")
    assert "newer version's" in fleet.run({}, "migrate", "--check").stdout
    older.stop()
    older.restart()  # on a schema that is newer than itself
    assert_both_serve(older, newer, "restarted")


def test_a_newer_schema_that_makes_no_promise_is_refused_by_the_older_version(fleet: Fleet) -> None:
    newer = fleet.server("newer", {**fleet.newer(), "OPENECR_MIGRATE": "true"})
    newer.client().create_repository(repositoryName="new")
    refused = fleet.run({}, "serve", "--port", str(free_port()))
    assert refused.returncode == 1
    assert "schema 9001, which this version does not know" in refused.stderr.splitlines()[-1]
    newer.stop()
