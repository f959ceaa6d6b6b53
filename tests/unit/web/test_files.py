"""Sending files: whole, in part, and to clients that go away."""

import asyncio
import os
from pathlib import Path

import pytest

from openecr.engines.sealing import SEGMENT_BYTES, Damaged, Extent, ExtentSealer, Layout, SealedContent
from openecr.web.files import CHUNK_BYTES, opened, read_cached, sealed_pieces, send_file, send_sealed

CONTENT = os.urandom(3 * CHUNK_BYTES + 17)


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
    [(0, len(CONTENT)), (1, 2), (CHUNK_BYTES - 1, CHUNK_BYTES + 1), (5, len(CONTENT) - 5), (7, 7)],
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

    assert collector.received == CONTENT[:CHUNK_BYTES]


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


class Sealed:
    """Content that is sealed in a file, each with a key of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = os.urandom(2 * SEGMENT_BYTES + 17)
        key, extent = os.urandom(32), Extent(os.urandom(16), len(self.content))
        sealer = ExtentSealer(key, extent.id, os.urandom)
        path.write_bytes(b"".join((*sealer.update([self.content]), *sealer.end())))
        self.opener = SealedContent(Layout([extent]), key)

    async def send(self, start: int, stop: int) -> bytes:
        collector = Collector()
        with opened(self.path) as descriptor:
            await send_sealed(
                descriptor, self.opener, start, stop, begin=lambda: collector, gone=collector.gone
            )
        return collector.received


SEALED_RANGES = [
    (0, 2 * SEGMENT_BYTES + 17),
    (1, 2),
    (SEGMENT_BYTES - 1, SEGMENT_BYTES + 1),
    (5, 2 * SEGMENT_BYTES),
]


async def test_sealed_files_that_are_sent_at_once_are_not_mixed_up(tmp_path: Path) -> None:
    files = [Sealed(tmp_path / str(number)) for number in range(3)]
    asked = [(file, start, stop) for start, stop in SEALED_RANGES for file in files]

    sent = await asyncio.gather(*(file.send(start, stop) for file, start, stop in asked))

    assert sent == [file.content[start:stop] for file, start, stop in asked]


@pytest.mark.parametrize(("start", "stop"), SEALED_RANGES)
def test_pieces_of_a_sealed_file_are_what_was_asked_for(tmp_path: Path, start: int, stop: int) -> None:
    file = Sealed(tmp_path / "blob")
    with opened(file.path) as descriptor:
        pieces = b"".join(bytes(piece) for piece in sealed_pieces(descriptor, file.opener, start, stop))
    assert pieces == file.content[start:stop]


async def test_nothing_of_a_segment_that_is_cut_short_is_given(tmp_path: Path) -> None:
    file = Sealed(tmp_path / "blob")
    os.truncate(file.path, file.path.stat().st_size - 1)
    with opened(file.path) as descriptor:
        pieces = sealed_pieces(descriptor, file.opener, 0, len(file.content))
        assert b"".join(bytes(next(pieces)) for _ in range(2)) == file.content[: 2 * SEGMENT_BYTES]
        with pytest.raises(Damaged):
            next(pieces)
    with pytest.raises(Damaged):
        await file.send(2 * SEGMENT_BYTES, len(file.content))
