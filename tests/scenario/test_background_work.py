"""An operator sees background work, lets it run, and finds what the disk has lost; clients heal it by pushing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.images import digest_of
from tests.running import RunningServer, plain_environment, running_server
from tests.scenario.drivers import Answer, WireDriver, authorization
from tests.scenario.storages import Variables

NAME = "work"
CONTENT = b"what a disk may lose" * 5000
SETTINGS = {
    "OPENECR_STORAGE_ENCRYPT_AT_REST": "false",
    "OPENECR_LINK_GRACE_SECONDS": "0",
    "OPENECR_DOOMED_SECONDS": "0",
    "OPENECR_COLLECTION_INTERVAL_SECONDS": "3600",
}


@pytest.fixture
def server(tmp_path: Path, database: Variables) -> Iterator[RunningServer]:
    with running_server(tmp_path, settings={**SETTINGS, **database}) as running:
        running.create_repository(NAME)
        yield running


def openecr(server: RunningServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openecr", *arguments, "--data", str(server.data)]
    return subprocess.run(
        command, env=plain_environment(), capture_output=True, text=True, timeout=60, check=False
    )


def ask(server: RunningServer, method: str, path: str, body: bytes = b"") -> Answer:
    headers = {"authorization": authorization(server.client()), "content-type": "application/octet-stream"}
    return WireDriver(server).http(method, path, headers=headers, body=body)


def push(server: RunningServer, content: bytes = CONTENT, name: str = NAME) -> str:
    digest = digest_of(content)
    answer = ask(server, "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", content)
    assert answer.status == 201, answer.body
    return f"/v2/{name}/blobs/{digest}"


def stored(server: RunningServer) -> list[Path]:
    return sorted(path for path in (server.data / "blobs").glob("*/*") if path.is_file())


def test_what_nobody_needs_is_shown_and_removed(server: RunningServer) -> None:
    path = push(server)

    shown = openecr(server, "gc", "--json")
    assert json.loads(shown.stdout) == {
        "repositories": 0,
        "uploads": 0,
        "links": 1,
        "blobs": {"us-east-1": [1, len(CONTENT)]},
        "doomed": 0,
        "doomed_later": 0,
    }
    assert ask(server, "GET", path).body == CONTENT, "looking removes nothing"

    done = openecr(server, "gc", "--run")
    assert done.returncode == 0, done.stderr
    assert ask(server, "GET", path).status == 404
    assert stored(server) == []
    assert json.loads(openecr(server, "gc", "--json").stdout)["blobs"] == {}


@pytest.mark.parametrize("damage", ["flipped", "cut short", "gone"])
def test_what_the_disk_has_lost_is_found_and_healed_by_the_next_push(
    server: RunningServer, damage: str
) -> None:
    server.create_repository("other")
    path, other = push(server), push(server, name="other")
    whole = push(server, b"another one")
    for file in stored(server):
        if file.stat().st_size != len(CONTENT):
            continue
        if damage == "gone":
            file.unlink()
        else:
            file.write_bytes(CONTENT[:-1] if damage == "cut short" else b"\0" + CONTENT[1:])

    if damage != "flipped":  # what is sealed would tell that too, and is not here
        assert ask(server, "GET", path).status == 404, "whoever reads it finds it out"
    found = openecr(server, "scrub")

    assert found.returncode == 1
    assert f"lost {digest_of(CONTENT)}" in found.stdout.splitlines()
    for method in ("GET", "HEAD"):
        assert ask(server, method, path).status == 404
        assert ask(server, method, other).status == 404
    assert ask(server, "GET", whole).status == 200
    available = server.client().batch_check_layer_availability(
        repositoryName=NAME, layerDigests=[digest_of(CONTENT)]
    )
    assert [layer["layerAvailability"] for layer in available["layers"]] == ["UNAVAILABLE"]

    push(server)
    for healed in (path, other):
        assert ask(server, "GET", healed).body == CONTENT
    assert openecr(server, "scrub").returncode == 0


def test_bytes_that_nobody_names_are_told_and_removed(server: RunningServer) -> None:
    push(server)
    (file,) = stored(server)
    orphan = file.with_name(file.name[:2] + "f" * (len(file.name) - 2))
    orphan.write_bytes(b"left behind")

    found = openecr(server, "blobs", "audit")
    assert f"orphan {orphan.name}" in found.stdout.splitlines()
    assert found.returncode == 0
    assert orphan.exists()

    assert openecr(server, "blobs", "audit", "--remove-orphans").returncode == 0
    assert stored(server) == [file]

    file.unlink()
    missing = openecr(server, "blobs", "audit")
    assert missing.returncode == 1
    assert f"missing {digest_of(CONTENT)}" in missing.stdout.splitlines()


def test_jobs_are_listed_and_run(server: RunningServer) -> None:
    listed = openecr(server, "jobs", "list", "--json")
    kinds = {job["kind"]: job for job in json.loads(listed.stdout)}
    assert {"collect-blobs", "remove-bytes", "scrub", "audit-blobs", "audit-retention"} <= kinds.keys()
    assert kinds["collect-blobs"]["state"] == "ready"

    assert openecr(server, "jobs", "run", "collect-blobs").returncode == 0
    unknown = openecr(server, "jobs", "run", "nothing")
    assert unknown.returncode == 1
    assert "no kind of work is called nothing" in unknown.stderr
    for command in ("retry", "cancel"):
        refused = openecr(server, "jobs", command, "999")
        assert (refused.returncode, "999" in refused.stderr) == (1, True)


def test_what_fails_is_told_at_once(server: RunningServer) -> None:
    blobs, away = server.data / "blobs", server.data / "away"
    blobs.rename(away)
    blobs.write_bytes(b"no folder")

    for command in (
        ("blobs", "audit"),
        ("blobs", "audit", "--remove-orphans"),
        ("jobs", "run", "audit-blobs"),
    ):
        failed = openecr(server, *command)
        assert failed.returncode == 1
        assert " has failed: Unavailable" in failed.stderr
        assert len(failed.stderr.splitlines()) == 1
    told = [job for job in json.loads(openecr(server, "jobs", "list", "--json").stdout) if job["last_error"]]
    assert {job["kind"] for job in told} == {"audit-blobs", "remove-orphans"}

    blobs.unlink()
    away.rename(blobs)
    assert openecr(server, "blobs", "audit", "--remove-orphans").returncode == 0


def test_what_cannot_be_read_now_is_told_by_a_scrub(server: RunningServer) -> None:
    kms = server.client("kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    server.create_repository("locked", encryptionConfiguration={"encryptionType": "KMS", "kmsKey": key_id})
    push(server, name="locked")
    assert openecr(server, "scrub").returncode == 0
    kms.disable_key(KeyId=key_id)

    found = openecr(server, "scrub")

    assert (found.returncode, found.stdout.splitlines()) == (
        1,
        ["0 blobs, 0 bytes, 1 unreadable, 0 lost, 0 found again"],
    )
    kms.enable_key(KeyId=key_id)
    assert openecr(server, "scrub").returncode == 0


def test_jobs_are_listed_by_their_state(server: RunningServer) -> None:
    ready = openecr(server, "jobs", "list", "--state", "ready").stdout.splitlines()
    assert any("collect-blobs" in line for line in ready)
    assert openecr(server, "jobs", "list", "--state", "dead").stdout == ""


def test_a_deleted_repository_is_purged_soon(server: RunningServer) -> None:
    push(server)

    server.client().delete_repository(repositoryName=NAME, force=True)

    while json.loads(openecr(server, "gc", "--json").stdout)["repositories"]:
        pass  # each question takes a while; a failure ends by the test's own time
    assert openecr(server, "jobs", "run", "remove-bytes").returncode == 0
    assert stored(server) == []


def test_an_embedded_server_has_no_other_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "openecr", "worker", "--data", str(tmp_path)]
    refused = subprocess.run(
        command, env=plain_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (refused.returncode, "--database" in refused.stderr) == (1, True)
