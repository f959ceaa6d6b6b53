"""Private files are whole, private and made once."""

import errno
import stat
import threading
from pathlib import Path

import pytest

from openecr.adapters.private_files import create_private_file, rename_to_new, write_private_file


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
def test_a_file_system_without_hard_links_will_do(tmp_path: Path, number: int) -> None:
    def refuse(file: Path, name: Path) -> None:
        raise OSError(number, "no hard links here", str(file), None, str(name))

    first, second, name = (tmp_path / each for each in ("first", "second", "name"))
    for file in (first, second):
        file.write_text(file.name)

    rename_to_new(first, name, link=refuse)
    with pytest.raises(FileExistsError):
        rename_to_new(second, name, link=refuse)

    assert name.read_text() == "first"
    assert not first.exists()
