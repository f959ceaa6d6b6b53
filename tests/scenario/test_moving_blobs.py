"""An operator moves blobs from a folder to a bucket, or back: no image is missing at any time."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.images import digest_of
from tests.running import RunningServer, plain_environment
from tests.s3_servers import swift_server
from tests.scenario.drivers import WireDriver, authorization, variables
from tests.scenario.storages import Variables

pytestmark = pytest.mark.timeout(300)
"""Many programs are started, which a busy machine takes long for."""

NAME = "moving"
OCTETS = {"content-type": "application/octet-stream"}


def push(server: RunningServer, content: bytes) -> str:
    driver = WireDriver(server)
    digest = digest_of(content)
    headers = {"authorization": authorization(server.client()), **OCTETS}
    path = f"/v2/{NAME}/blobs/uploads/?digest={digest}"
    assert driver.http("POST", path, headers=headers, body=content).status == 201
    return f"/v2/{NAME}/blobs/{digest}"


def contents(server: RunningServer, paths: Mapping[str, bytes]) -> dict[str, bytes]:
    headers = {"authorization": authorization(server.client())}
    return {path: WireDriver(server).http("GET", path, headers=headers).body for path in paths}


def openecr(settings: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "openecr", *arguments],
        env=plain_environment() | dict(settings),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_blobs_move_from_a_folder_to_a_bucket(tmp_path: Path) -> None:
    with swift_server() as swift:
        bucket = swift.settings(swift.make_bucket())
        place = bucket.pop("blobs")
        reached = variables(bucket)
        folder = tmp_path / "data" / "blobs"
        copy = ("blobs", "copy", "--from", str(folder), "--to", place, "--data", str(tmp_path / "data"))

        server = RunningServer(tmp_path, settings=reached).start()
        try:
            server.create_repository(NAME)
            pushed = {push(server, content): content for content in (b"first", b"large" * 700_000)}
            assert "2 locations, 2 copied" in openecr(reached, *copy)
            told = openecr(reached, *copy)
            assert "2 locations, 0 copied" in told
            assert f"not complete: start with --blobs {place} --blobs-old {folder}" in told
            third = b"pushed between the copy and the restart"
            pushed[push(server, third)] = third
            assert server.stop() == 0

            # Where there are several servers: all of them first read from both.
            both = {**reached, "OPENECR_BLOBS": str(folder), "OPENECR_BLOBS_OLD": place}
            prepared = RunningServer(tmp_path, settings=both).start()
            assert contents(prepared, pushed) == pushed
            assert prepared.stop() == 0

            moving = RunningServer(
                tmp_path, settings={**reached, "OPENECR_BLOBS": place, "OPENECR_BLOBS_OLD": str(folder)}
            ).start()
            assert contents(moving, pushed) == pushed
            fourth = b"pushed into the bucket"
            pushed[push(moving, fourth)] = fourth
            assert moving.stop() == 0
            early = RunningServer(tmp_path, settings={**reached, "OPENECR_BLOBS": place})
            with pytest.raises(pytest.fail.Exception, match="blobs are still being moved to"):
                early.start()
            moving.start()
            assert "3 locations, 1 copied" in openecr(reached, *copy)
            told = openecr(reached, *copy)
            assert "3 locations, 0 copied" in told
            assert f"complete: {place} may be used alone" in told
            assert contents(moving, pushed) == pushed
            assert moving.stop() == 0

            wrong = RunningServer(tmp_path, settings={**reached, "OPENECR_BLOBS": f"{place}/elsewhere"})
            with pytest.raises(pytest.fail.Exception, match="is not the store of this database's blobs"):
                wrong.start()

            folder.rename(tmp_path / "nobody needs this any more")
            server = RunningServer(tmp_path, settings={**reached, "OPENECR_BLOBS": place}).start()
            assert contents(server, pushed) == pushed
            assert server.stop() == 0
        finally:
            server.kill()


@pytest.mark.parametrize("database", ["PostgreSQL"], indirect=True)
def test_blobs_move_from_a_bucket_to_a_folder(tmp_path: Path, database: Variables) -> None:
    with swift_server() as swift:
        bucket = swift.settings(swift.make_bucket())
        place = bucket.pop("blobs")
        reached = {**database, **variables(bucket)}
        folder = tmp_path / "folder"
        copy = ("blobs", "copy", "--from", place, "--to", str(folder), "--data", str(tmp_path / "data"))

        server = RunningServer(tmp_path, settings={**reached, "OPENECR_BLOBS": place}).start()
        try:
            server.create_repository(NAME)
            pushed = {push(server, content): content for content in (b"first", b"large" * 700_000)}
            assert server.stop() == 0
            server = RunningServer(
                tmp_path, settings={**reached, "OPENECR_BLOBS": str(folder), "OPENECR_BLOBS_OLD": place}
            ).start()
            third = b"pushed into the folder"
            pushed[push(server, third)] = third
            assert "2 locations, 2 copied" in openecr(reached, *copy)
            assert f"complete: {folder} may be used alone" in openecr(reached, *copy)
            assert server.stop() == 0

            server = RunningServer(tmp_path, settings={**database, "OPENECR_BLOBS": str(folder)}).start()
            assert contents(server, pushed) == pushed
            assert server.stop() == 0
        finally:
            server.kill()


def test_a_copy_from_nowhere_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "openecr", "blobs", "copy", "--from", str(tmp_path / "none")]
    refused = subprocess.run(
        [*command, "--to", str(tmp_path / "new"), "--data", str(tmp_path)],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stderr == f"openecr: there is no folder {tmp_path / 'none'}\n"
