"""The private file that `openecr env` reads."""

import stat
from pathlib import Path

import pytest

from openecr.adapters.env_file import ClientEnvironment, read_environment, write_environment
from openecr.domain.errors import CannotStart

PLAIN = ClientEnvironment(
    access_key_id="AKIA0", secret="a+b/c=", region="us-east-1", endpoint_url="http://127.0.0.1:5050"
)
SECURE = ClientEnvironment(
    access_key_id="AKIA0",
    secret="s",
    region="eu-west-1",
    endpoint_url="https://x",
    ca_bundle=Path("/a b/ca.pem"),
)


@pytest.mark.parametrize("environment", [PLAIN, SECURE])
def test_what_is_written_is_read(tmp_path: Path, environment: ClientEnvironment) -> None:
    path = write_environment(tmp_path, environment)
    assert read_environment(tmp_path) == environment
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_secret_does_not_show_in_logs() -> None:
    assert PLAIN.secret not in repr(PLAIN)


def test_a_folder_where_no_server_started_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="start the server"):
        read_environment(tmp_path)


@pytest.mark.parametrize("content", [b"", b"AWS_REGION=x\n", b"\xff\xfe", b"nonsense"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "env").write_bytes(content)
    with pytest.raises(CannotStart):
        read_environment(tmp_path)
