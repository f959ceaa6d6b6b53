"""The data folder: private, one process at a time, one format."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openecr.adapters.data_folder import DataFolder, DataFolderBusy
from openecr.domain.errors import CannotStart

HOLD = """
import sys
from pathlib import Path
from openecr.adapters.data_folder import DataFolder
folder = DataFolder.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def hold_elsewhere(path: Path) -> subprocess.Popen[str]:
    """A process that has taken the folder."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.communicate()


def test_a_second_process_is_kept_out_and_told_by_whom(tmp_path: Path) -> None:
    holder = hold_elsewhere(tmp_path)
    try:
        with pytest.raises(DataFolderBusy, match=f"in use by process {holder.pid}:"):
            DataFolder.acquire(tmp_path)
    finally:
        end(holder)


def test_a_killed_process_leaves_the_folder_free(tmp_path: Path) -> None:
    holder = hold_elsewhere(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    DataFolder.acquire(tmp_path).release()


def test_a_released_folder_can_be_taken_again(tmp_path: Path) -> None:
    with DataFolder.acquire(tmp_path), pytest.raises(DataFolderBusy):
        DataFolder.acquire(tmp_path)
    DataFolder.acquire(tmp_path).release()


def test_a_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    folder = DataFolder.acquire(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", "print('runs', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "runs\n"
        folder.release()
        DataFolder.acquire(tmp_path).release()
    finally:
        end(child)


def test_the_folder_is_made_private_with_its_parents(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with DataFolder.acquire(path) as folder:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert folder.is_new
        folder.database.touch()
        assert not folder.is_new


def test_a_folder_that_others_could_enter_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    DataFolder.acquire(tmp_path).release()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_of_another_format_is_refused_and_not_held(tmp_path: Path) -> None:
    DataFolder.acquire(tmp_path).release()
    (tmp_path / "format").write_text("99\n")
    for _ in range(2):
        with pytest.raises(CannotStart, match="has format '99'"):
            DataFolder.acquire(tmp_path)


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(CannotStart, match="Not a directory"):
        DataFolder.acquire(path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(CannotStart, match="holds other things"):
        DataFolder.acquire(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_with_settings_or_of_a_start_that_failed_is_used(tmp_path: Path) -> None:
    for name in ("openecr.toml", "lock", ".format.0123456789abcdef"):
        (tmp_path / name).touch()
    (tmp_path / "lost+found").mkdir()
    DataFolder.acquire(tmp_path).release()
    (tmp_path / "anything").touch()
    DataFolder.acquire(tmp_path).release()
