"""Sending files: whole, in part, and to clients that go away."""

import asyncio
import os
from pathlib import Path

import pytest

from openecr.web.files import SEGMENT_BYTES, opened, read_cached, send_file

CONTENT = os.urandom(3 * SEGMENT_BYTES + 17)


class Collector:
    """Keeps what is sent; leaves after `patience` chunks."""

    def __init__(self, patience: int = 1000) -> None:
        self.received = b""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._patience = patience

    async def send_bytes(self, data: bytes | bytearray) -> None:
        self.received += data
        self._patience -= 1
        if self._patience == 0:
            self.gone.set_result(None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, len(CONTENT)), (1, 2), (SEGMENT_BYTES - 1, SEGMENT_BYTES + 1), (5, len(CONTENT) - 5), (7, 7)],
)
async def test_exactly_the_asked_bytes_are_sent(file: Path, start: int, stop: int) -> None:
    collector = Collector()

    with opened(file) as descriptor:
        await send_file(descriptor, start, stop, collector, collector.gone)

    assert collector.received == CONTENT[start:stop]


async def test_nothing_more_is_read_for_a_client_that_has_gone(file: Path) -> None:
    collector = Collector(patience=1)

    with opened(file) as descriptor:
        await send_file(descriptor, 0, len(CONTENT), collector, collector.gone)

    assert collector.received == CONTENT[:SEGMENT_BYTES]


async def test_a_file_that_ends_early_is_an_error(file: Path) -> None:
    collector = Collector()

    with opened(file) as descriptor, pytest.raises(OSError, match=f"ends at {len(CONTENT)}"):
        await send_file(descriptor, 0, len(CONTENT) + 1, collector, collector.gone)


def test_a_small_range_is_read_whole_or_not_at_all(file: Path) -> None:
    with opened(file) as descriptor:
        assert read_cached(descriptor, 3, 1000) in {CONTENT[3:1000], None}
        assert read_cached(descriptor, len(CONTENT) - 1, len(CONTENT) + 1) is None


def test_a_missing_file_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), opened(tmp_path / "nothing"):
        pass
