"""Windows of an upload are handed to the disk while more arrives."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from openecr.adapters.blobs.write_behind import SYNC_RANGE, WINDOW_BYTES, SyncRange, WriteBehind

MEBIBYTE = 1024 * 1024
START, WAIT = 2, 7


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def refuse(descriptor: int, offset: int, size_bytes: int, flags: int) -> None:
    """Answer as a sandbox does for a call that it does not know."""
    raise OSError(errno.ENOSYS, f"not implemented: {descriptor} {offset} {size_bytes} {flags}")


def test_each_window_is_started_when_it_is_full_and_waited_for_when_the_next_one_is(descriptor: int) -> None:
    calls: list[tuple[int, int, int]] = []
    behind = WriteBehind(descriptor, lambda _, offset, size, flags: calls.append((offset, size, flags)))
    for _ in range(3 * WINDOW_BYTES // MEBIBYTE + 1):
        behind.wrote(MEBIBYTE)

    assert calls == [
        (0, WINDOW_BYTES, START),
        (WINDOW_BYTES, WINDOW_BYTES, START),
        (0, WINDOW_BYTES, WAIT),
        (2 * WINDOW_BYTES, WINDOW_BYTES, START),
        (WINDOW_BYTES, WINDOW_BYTES, WAIT),
    ]


@pytest.mark.parametrize("sync_range", [SYNC_RANGE, refuse])
def test_what_the_disk_refuses_is_told(sync_range: SyncRange) -> None:
    behind = WriteBehind(1_000_000, sync_range)
    behind.wrote(WINDOW_BYTES - 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        behind.wrote(1)


@pytest.mark.parametrize("sync_range", [SYNC_RANGE, refuse])
def test_what_was_written_is_there(descriptor: int, sync_range: SyncRange) -> None:
    behind = WriteBehind(descriptor, sync_range)
    for number in range(20):
        behind.wrote(os.write(descriptor, bytes([number]) * MEBIBYTE))

    assert os.pread(descriptor, 21 * MEBIBYTE, 0) == b"".join(
        bytes([number]) * MEBIBYTE for number in range(20)
    )
