"""Answers are sent at the pace of whoever reads them, and end with it."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openecr.web.pipes import LARGE_BYTES, LARGE_PIPES, PIPE_MAX_BYTES, Pipe, ReaderStalled, send_paced

CHUNK = os.urandom(256 * 1024)
COUNT = 4 * PIPE_MAX_BYTES // len(CHUNK)


class Source:
    """Chunks, and how many of them were asked for."""

    def __init__(self, count: int = COUNT) -> None:
        self.taken = 0
        self.begun = asyncio.Event()
        self._count = count

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(self._count):
            self.taken += 1
            self.begun.set()
            yield CHUNK


class Reader:
    """Opens what it is given as an HTTP server does: by its path, at once."""

    def __init__(self) -> None:
        self.descriptor = -1
        self.started = asyncio.Event()

    def start(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.started.set()

    async def read_all(self) -> bytes:
        with os.fdopen(self.descriptor, "rb") as file:
            return await asyncio.to_thread(file.read)

    async def read(self, size_bytes: int) -> bytes:
        return await asyncio.to_thread(os.read, self.descriptor, size_bytes)

    def close(self) -> None:
        os.close(self.descriptor)


def nobody() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


def descriptors() -> set[str]:
    return {file.name for file in Path("/proc/self/fd").iterdir()}


async def test_every_chunk_arrives_in_order() -> None:
    source, reader = Source(), Reader()
    before = descriptors()
    sending = asyncio.create_task(send_paced(reader.start, source.chunks(), nobody(), idle_seconds=30))
    await reader.started.wait()

    content = await reader.read_all()
    await sending

    assert content == CHUNK * COUNT
    assert descriptors() == before


async def test_a_reader_that_takes_nothing_is_given_up_and_little_was_read_for_it() -> None:
    source, reader = Source(), Reader()
    before = descriptors()

    with pytest.raises(ReaderStalled):
        await send_paced(reader.start, source.chunks(), nobody(), idle_seconds=0.05)

    assert source.taken == 1
    reader.close()
    assert descriptors() == before


async def test_a_reader_that_goes_away_ends_the_sending() -> None:
    source, reader = Source(), Reader()
    before = descriptors()
    sending = asyncio.create_task(send_paced(reader.start, source.chunks(), nobody(), idle_seconds=30))
    await reader.started.wait()
    taken = 0
    while taken <= 2 * PIPE_MAX_BYTES:
        taken += len(await reader.read(PIPE_MAX_BYTES))

    reader.close()
    await sending

    assert source.taken < COUNT
    assert descriptors() == before


async def test_a_disconnect_ends_the_sending_before_anybody_reads() -> None:
    source, gone = Source(), nobody()
    before = descriptors()
    sending = asyncio.create_task(send_paced(lambda _: None, source.chunks(), gone, idle_seconds=30))
    await source.begun.wait()

    gone.set_result(None)
    await sending

    assert source.taken == 1
    assert descriptors() == before


async def test_a_source_that_fails_ends_the_answer_short() -> None:
    reader = Reader()
    before = descriptors()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a beginning"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await send_paced(reader.start, chunks(), nobody(), idle_seconds=30)

    assert await reader.read_all() == b"a beginning"
    assert descriptors() == before


def test_a_pipe_that_cannot_be_made_leaves_nothing_behind() -> None:
    usual = Pipe()
    folder, before = usual.path.parent, descriptors()
    names = set(folder.iterdir())
    first, second = (os.open(os.devnull, os.O_RDONLY) for _ in range(2))
    os.close(first)
    os.close(second)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(first, second), hard))  # one end can be opened
    try:
        with pytest.raises(OSError, match="Too many open files"):
            Pipe()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert set(folder.iterdir()) == names
    assert descriptors() == before
    usual.close()


def test_so_many_pipes_are_large_at_a_time() -> None:
    def room(pipe: Pipe) -> int:
        return pipe.put(memoryview(bytes(2 * LARGE_BYTES)))

    usual = Pipe()
    large = [Pipe(is_large=True) for _ in range(LARGE_PIPES)]
    another = Pipe(is_large=True)
    assert [room(pipe) for pipe in large] == [LARGE_BYTES] * LARGE_PIPES
    assert room(another) == room(usual) < LARGE_BYTES

    for pipe in (*large, another, usual):
        pipe.close()
    again = Pipe(is_large=True)
    assert room(again) == LARGE_BYTES
    again.close()


async def test_what_is_opened_too_late_is_no_other_file(tmp_path: Path) -> None:
    """A server opens the path in a thread of its own: by then another file may be open under any number."""
    paths: list[str] = []

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a beginning"
        raise OSError("the disk is gone")

    for _ in range(3):
        with pytest.raises(OSError, match="the disk is gone"):
            await send_paced(paths.append, chunks(), nobody(), idle_seconds=30)
    secret = tmp_path / "secret"
    secret.write_bytes(b"another's")
    with secret.open("rb"), secret.open("rb"), secret.open("rb"):
        for path in paths:
            with pytest.raises(FileNotFoundError):
                os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert len(set(paths)) == 3
