"""The master key is rotated: everything works before, between and after, and no blob is touched."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningServer, plain_environment, running_server
from tests.scenario.drivers import WireDriver, authorization
from tests.scenario.images import Registry, SmallImage, digest_of
from tests.scenario.storages import Variables

pytestmark = pytest.mark.timeout(300)
"""Many programs are started, which a busy machine takes long for."""

CONTEXT = {"team": "build"}
ALL = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
KINDS = {"plain": "AES256", "keyed": "KMS"}


@pytest.fixture
def server(tmp_path: Path, database: Variables) -> Iterator[RunningServer]:
    with running_server(tmp_path, settings=database) as running:
        yield running


def openecr(server: RunningServer, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openecr", *arguments, "--data", str(server.data)]
    return subprocess.run(
        command,
        env=plain_environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def counts(server: RunningServer) -> dict[int, int]:
    """How many rows hang on each master key."""
    done = openecr(server, "keys", "status", "--json")
    assert done.returncode == 0, done.stderr
    return {key["number"]: key["rows"] for key in json.loads(done.stdout)["keys"]}


def blob_files(server: RunningServer) -> dict[str, tuple[bytes, int]]:
    """Every stored blob: its bytes, and when they were written."""
    files = [path for path in (server.data / "blobs").rglob("*") if path.is_file()]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


class Story:
    """What must work at any time: logins, pulls, a key of KMS, a user's key, an upload in the middle."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.image = SmallImage.named("an image that outlives a master key")
        iam = server.client("iam")
        iam.create_user(UserName="ann")
        iam.put_user_policy(UserName="ann", PolicyName="all", PolicyDocument=json.dumps(ALL))
        made = iam.create_access_key(UserName="ann")["AccessKey"]
        self.ann = {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
        }
        kms = server.client("kms")
        self.key = kms.create_key()["KeyMetadata"]["Arn"]
        self.secret = kms.encrypt(KeyId=self.key, Plaintext=b"ours", EncryptionContext=CONTEXT)[
            "CiphertextBlob"
        ]
        for name, kind in KINDS.items():
            server.create_repository(name, encryptionConfiguration={"encryptionType": kind})
            self.registry(name).push(self.image, "v1")
        self.uploads = {name: self._begin(name) for name in KINDS}

    def registry(self, name: str, **key: Any) -> Registry:
        """A repository after a login of now."""
        return Registry(WireDriver(self.server), authorization(self.server.client(**key)), name)

    def _begin(self, name: str) -> str:
        registry = self.registry(name)
        answer = registry.call("PATCH", registry.start_upload(), b"the first half, ")
        assert answer.status == 202, answer
        return answer.headers["location"].removeprefix(f"/v2/{name}")

    def check(self) -> None:
        """Log in anew, as root and as the user, pull, and decrypt."""
        for key in ({}, self.ann):
            for name in KINDS:
                registry = self.registry(name, **key)
                assert registry.call("GET", "/manifests/v1").body == self.image.manifest()
                for content in (self.image.config, self.image.layer):
                    assert registry.call("GET", f"/blobs/{digest_of(content)}").body == content
        opened = self.server.client("kms").decrypt(CiphertextBlob=self.secret, EncryptionContext=CONTEXT)
        assert opened["Plaintext"] == b"ours"

    def end_uploads(self) -> None:
        """Send the second halves of what was begun at the start."""
        content = b"the first half, and the second"
        for name, where in self.uploads.items():
            registry = self.registry(name)
            ended = registry.call("PUT", f"{where}?digest={digest_of(content)}", content[16:])
            assert ended.status == 201, ended
            assert registry.call("GET", f"/blobs/{digest_of(content)}").body == content


def test_a_master_key_is_rotated_and_the_old_one_thrown_away(server: RunningServer) -> None:
    story = Story(server)
    stored = blob_files(server)
    keys = server.data / "keys"
    before = counts(server)
    assert list(before) == [1]

    added = openecr(server, "keys", "add")
    assert (added.returncode, added.stdout) == (0, f"{keys / 'master-000002.key'}\n"), added.stderr
    server.stop()
    server.restart()
    story.check()
    assert counts(server) == {1: before[1], 2: 0}

    done = openecr(server, "keys", "rewrap")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (f"{before[1]} rows, {before[1]} sealed anew under master key 2, 0 unopened\n")
    assert counts(server) == {1: 0, 2: before[1]}
    told = openecr(server, "keys", "status").stdout.splitlines()
    assert told == ["master key 1 opens: 0 rows", f"master key 2 seals: {before[1]} rows"]
    story.check()

    server.stop()
    server.settings["OPENECR_SEALING_KEY"] = "1"
    server.restart()
    back = openecr(server, "keys", "rewrap")
    assert back.stdout == (f"{before[1]} rows, {before[1]} sealed anew under master key 1, 0 unopened\n")
    server.stop()
    del server.settings["OPENECR_SEALING_KEY"]
    server.restart()
    assert openecr(server, "keys", "rewrap").returncode == 0
    assert counts(server) == {1: 0, 2: before[1]}

    server.stop()
    (keys / "master-000001.key").unlink()
    server.restart()
    story.check()
    assert blob_files(server) == stored
    story.end_uploads()
    assert openecr(server, "keys", "rewrap").returncode == 0


def test_a_new_key_does_not_seal_before_it_may(server: RunningServer) -> None:
    openecr(server, "keys", "add")
    server.stop()
    server.settings["OPENECR_SEALING_KEY"] = "1"
    server.restart()
    before = counts(server)
    server.client("iam").create_user(UserName="ann")
    server.client("iam").create_access_key(UserName="ann")

    assert counts(server) == {1: before[1] + 1, 2: 0}
    server.stop()
    refused = openecr(server, "serve", "--sealing-key", "3", "--port", str(server.port))
    assert refused.returncode == 1
    assert refused.stderr == "openecr: there is no master key 3, which is to seal (--sealing-key)\n"


def test_the_next_key_of_the_environment_is_printed_and_kept_nowhere(tmp_path: Path) -> None:
    first = f"1:{'a1' * 32}"
    with running_server(tmp_path, settings={"OPENECR_MASTER_KEYS": first}) as server:
        live = openecr(server, "keys", "add")
        assert live.returncode == 0, live.stderr
        second = live.stdout.strip()
        assert second.startswith("2:")
        assert len(second) == len(first)
        server.stop()
        away = openecr(server, "keys", "add", OPENECR_MASTER_KEYS=first)
        assert away.stdout.startswith("2:")
        assert away.stdout != live.stdout
        server.settings["OPENECR_MASTER_KEYS"] = f"{first},{second}"
        server.restart()
        assert openecr(server, "keys", "rewrap").returncode == 0
        server.stop()
        server.settings["OPENECR_MASTER_KEYS"] = second
        server.restart()
        assert server.client().describe_repositories()["repositories"] == []


def test_the_number_of_a_key_that_was_taken_out_is_not_given_again(server: RunningServer) -> None:
    keys = server.data / "keys"
    openecr(server, "keys", "add")
    server.stop()
    server.restart()
    server.stop()
    (keys / "master-000002.key").unlink()

    away = openecr(server, "keys", "add", **server.settings)

    assert away.returncode == 0, away.stderr
    assert away.stdout == f"{keys / 'master-000003.key'}\n", "warnings are on standard error"
    (keys / "master-000003.key").unlink()
    server.restart()
    live = openecr(server, "keys", "add")
    assert (live.returncode, live.stdout) == (0, f"{keys / 'master-000003.key'}\n"), live.stderr


def test_no_key_is_added_where_there_is_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "openecr", "keys", "add", "--data", str(tmp_path / "none")],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "holds no master key that another could follow" in done.stderr
    assert not (tmp_path / "none").exists()
