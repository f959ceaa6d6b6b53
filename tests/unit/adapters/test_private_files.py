"""Private files are whole, private and made once."""

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from openecr.adapters.private_files import create_private_file, write_private_file


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old and longer")
    path.chmod(0o644)
    write_private_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_makers_one_wins_and_nothing_is_left_over(tmp_path: Path) -> None:
    path = tmp_path / "file"
    start = threading.Barrier(8)
    won: list[bytes] = []

    def make(number: int) -> None:
        content = str(number).encode() * 1000
        start.wait()
        if create_private_file(path, content):
            won.append(content)

    makers = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert won == [path.read_bytes()]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS])
def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "file"

    assert create_private_file(path, b"first")
    assert not create_private_file(path, b"second")

    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
