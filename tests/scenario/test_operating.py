"""An operator's day: first start, a second server by mistake, accounts, rotated keys, the doctor, the end.

Over SQLite alone: it is the day of who has one machine and a folder. `test_workers`, `test_two_servers` and
`test_moving` have that of who has PostgreSQL.
"""

import json
import os
import pty
import select
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.running import ACCOUNT, RunningServer, free_port, plain_environment, running_server

OTHER_ACCOUNT = "222222222222"
TIMEOUT_SECONDS = 60.0


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as running:
        yield running


def openecr(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "openecr", *arguments],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


def made(server: RunningServer, *arguments: str) -> dict[str, Any]:
    """What `openecr accounts ... --json` prints."""
    done = openecr("accounts", *arguments, "--json", "--data", str(server.data))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def account_of(server: RunningServer, key: dict[str, Any]) -> str:
    """The account that the server finds behind a key."""
    client = boto3.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    return str(client.get_caller_identity()["Account"])


def fresh_environment(server: RunningServer) -> dict[str, str]:
    done = openecr("env", "--data", str(server.data))
    assert done.returncode == 0, done.stderr
    pairs = (line.removeprefix("export ").split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return {name: value.strip("'") for name, value in pairs}


def key_of(environment: dict[str, str]) -> dict[str, Any]:
    return {
        "access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }


def test_the_first_start_tells_the_key_and_its_file_and_keeps_the_secret(live: RunningServer) -> None:
    environment = live.environment()
    secret = environment["AWS_SECRET_ACCESS_KEY"]
    told = live.log_tail()
    assert environment["AWS_ACCESS_KEY_ID"] in told
    assert str(live.data / "env") in told
    assert secret not in told
    assert environment["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{live.port}"
    assert stat.S_IMODE((live.data / "env").stat().st_mode) == 0o600
    live.create_repository("kept")
    live.stop()
    holders = [
        path for path in live.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert holders == [live.data / "env"]


def test_nothing_in_the_data_folder_is_open_to_others(live: RunningServer) -> None:
    assert stat.S_IMODE(live.data.stat().st_mode) == 0o700
    for name in ("control.sock", "keys/master-000001.key", "lock"):
        assert stat.S_IMODE((live.data / name).stat().st_mode) == 0o600


def test_a_second_server_on_the_folder_or_the_port_is_refused_in_one_line(
    live: RunningServer, tmp_path: Path
) -> None:
    same_folder = openecr("serve", "--data", str(live.data), "--port", str(free_port()))
    assert same_folder.returncode == 1
    assert f"in use by process {live.process.pid}:" in same_folder.stderr
    same_port = openecr("serve", "--data", str(tmp_path / "other"), "--port", str(live.port))
    assert same_port.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {live.port}" in same_port.stderr
    for refused in (same_folder, same_port):
        assert len(refused.stderr.splitlines()) == 1
    assert live.client().describe_repositories()["repositories"] == []


def test_accounts_are_made_and_listed_on_a_live_server(live: RunningServer) -> None:
    key = made(live, "create", OTHER_ACCOUNT)
    assert account_of(live, key) == OTHER_ACCOUNT
    again = openecr("accounts", "create", OTHER_ACCOUNT, "--data", str(live.data))
    assert (again.returncode, again.stderr) == (1, f"openecr: the account {OTHER_ACCOUNT} exists already\n")
    listed = openecr("accounts", "list", "--data", str(live.data)).stdout.splitlines()
    assert [line.split()[0] for line in listed] == [ACCOUNT, OTHER_ACCOUNT]
    assert listed[0].endswith("(default)")
    assert key["access_key_id"] in listed[1]


def test_accounts_are_made_and_listed_where_no_server_runs(live: RunningServer) -> None:
    live.stop()
    key = made(live, "create", OTHER_ACCOUNT)
    rotated = made(live, "rotate-key", OTHER_ACCOUNT)
    live.restart()
    assert account_of(live, rotated) == OTHER_ACCOUNT
    with pytest.raises(ClientError, match=r"InvalidClientTokenId|UnrecognizedClient"):
        account_of(live, key)


def test_a_rotated_key_stops_at_once_and_the_env_file_follows(live: RunningServer) -> None:
    before = fresh_environment(live)
    password = live.password()
    assert account_of(live, key_of(before)) == ACCOUNT
    rotated = made(live, "rotate-key", ACCOUNT)
    with pytest.raises(ClientError, match=r"InvalidClientTokenId|UnrecognizedClient"):
        account_of(live, key_of(before))
    connection = live.connection()
    connection.request("GET", "/v2/", headers={"authorization": basic(password)})
    assert connection.getresponse().status == 401
    connection.close()
    after = fresh_environment(live)
    assert key_of(after) == {name: rotated[name] for name in ("access_key_id", "secret_access_key")}
    assert account_of(live, key_of(after)) == ACCOUNT
    live.stop()
    offline = made(live, "rotate-key", ACCOUNT)
    assert fresh_environment(live)["AWS_ACCESS_KEY_ID"] == offline["access_key_id"]
    live.restart()
    assert fresh_environment(live)["AWS_ACCESS_KEY_ID"] == offline["access_key_id"]
    assert account_of(live, offline) == ACCOUNT


def basic(password: str) -> str:
    import base64

    return f"Basic {base64.b64encode(f'AWS:{password}'.encode()).decode()}"


def test_a_lost_env_file_is_written_at_the_next_start(live: RunningServer) -> None:
    before = fresh_environment(live)
    live.stop()
    (live.data / "env").unlink()
    live.restart()
    assert fresh_environment(live) == before


def test_the_server_tells_its_status_and_stops_by_command(live: RunningServer) -> None:
    status = openecr("status", "--data", str(live.data))
    assert f"pid: {live.process.pid}" in status.stdout
    assert openecr("stop", "--data", str(live.data)).returncode == 0
    assert live.process.wait(35) == 0
    assert openecr("status", "--data", str(live.data)).returncode == 1


def test_a_killed_server_leaves_nothing_in_the_way(live: RunningServer) -> None:
    before = fresh_environment(live)
    live.kill()
    assert openecr("status", "--data", str(live.data)).returncode == 1
    live.restart()
    assert fresh_environment(live) == before
    assert account_of(live, key_of(before)) == ACCOUNT


@pytest.mark.parametrize("tls", [False, True])
def test_the_doctor_finds_a_running_server_in_order(tmp_path: Path, *, tls: bool) -> None:
    with running_server(tmp_path, tls=tls) as live:
        flags = ["--data", str(live.data), "--port", str(live.port), "--storage-min-free-bytes", "0"]
        flags += ["--storage-min-free-ratio", "0", *(["--tls", "auto"] if tls else [])]
        report = openecr("doctor", *flags)
        assert report.returncode == 0, report.stdout
        assert f"process {live.process.pid}" in report.stdout
        assert ("certificate is trusted for 127.0.0.1" in report.stdout) == tls
        assert ("AWS_CA_BUNDLE" in fresh_environment(live)) == tls


@pytest.mark.skipif(sys.platform != "linux", reason="not applicable: pseudo-terminals differ")
def test_the_secret_is_shown_on_a_terminal_at_the_first_start_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = announcement(data)
    secret = dict(line.split("=", 1) for line in (data / "env").read_text().splitlines())[
        "AWS_SECRET_ACCESS_KEY"
    ]
    assert secret in first
    assert secret not in announcement(data)


def announcement(data: Path) -> str:
    """What `serve` writes to a terminal until it has said how to go on."""
    terminal, slave = pty.openpty()
    command = [sys.executable, "-m", "openecr", "serve", "--data", str(data), "--port", str(free_port())]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.DEVNULL, env=plain_environment()
    )
    os.close(slave)
    told = b""
    try:
        while b"openecr env" not in told:
            ready, _, _ = select.select([terminal], [], [], TIMEOUT_SECONDS)
            assert ready, told
            told += os.read(terminal, 65536)
    finally:
        process.terminate()
        process.wait(35)
        os.close(terminal)
    return told.decode()
