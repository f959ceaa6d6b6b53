"""Events as lines, to a file that may be rotated or a reader that may be slow."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from openecr.adapters.audit_stream import CHUNKS_MAX, AuditStream
from openecr.domain.errors import CannotStart


def test_lines_are_appended_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    first, second = AuditStream(str(path)), AuditStream(str(path))
    first(b"1\n")
    first.close()
    second(b"2\n3\n")
    second.close()

    assert path.read_bytes() == b"1\n2\n3\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (first.lost_lines, second.lost_lines) == (0, 0)


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit", tmp_path / "audit.1"
    stream = AuditStream(str(path))
    path.rename(moved)
    stream(b"after\n")
    stream.close()

    assert (path.read_bytes(), moved.read_bytes()) == (b"after\n", b"")


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot write audit events"):
        AuditStream(str(tmp_path / "nowhere" / "audit"))


def test_what_cannot_be_written_later_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    stream = AuditStream(str(folder / "audit"))
    (folder / "audit").unlink()
    folder.rmdir()
    stream(b"1\n2\n")
    stream.close()

    assert stream.lost_lines == 2


def test_a_reader_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR)
    stream = AuditStream(str(path))
    for _ in range(CHUNKS_MAX + 2):
        stream(b"x" * 100_000 + b"\n")  # more than the pipe holds: the thread waits with the first
    assert stream.lost_lines > 0

    closed = threading.Event()

    def read_all() -> None:
        while not closed.is_set():
            os.read(pipe, 1024 * 1024)

    reader = threading.Thread(target=read_all)
    reader.start()
    stream.close()
    closed.set()
    os.write(pipe, b"the end")  # wakes the reader
    reader.join()
    os.close(pipe)


def test_standard_output_has_the_lines() -> None:
    program = (
        "from openecr.adapters.audit_stream import AuditStream\n"
        "stream = AuditStream('-')\nstream(b'{}\\n')\nstream.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)

    assert done.stdout == b"{}\n"
