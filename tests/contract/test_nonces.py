"""No nonce is ever used twice, whatever becomes of uploads: cut anywhere, interrupted, gone on with by another process,
or written to by a connection whose session was taken.

Two segments, sealed keys or manifests with one nonce are two things that were sealed with it: the same bytes, copied,
are one.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openecr.adapters.ids import SystemIds
from openecr.application.images import PutRules
from openecr.application.uploads import Uploads
from openecr.domain.digests import Digest
from openecr.domain.errors import InvalidLayerPart, UploadInterrupted
from openecr.engines.sealing import NONCE_BYTES, OVERHEAD_BYTES, SEGMENT_BYTES, decode
from openecr.ports.ids import Ids
from tests.contract.databases import Databases
from tests.contract.keyed_shelves import KeyedShelf
from tests.contract.shelves import chunks_of, interrupted_after

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ENVELOPE_NONCE = slice(1, 1 + NONCE_BYTES)
STORED = SEGMENT_BYTES + OVERHEAD_BYTES
PERIOD = bytes(range(251))

SIZES = st.sampled_from(
    [1, 1_000, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES + 5]
)
CUTS = st.lists(st.integers(0, 2 * SEGMENT_BYTES), max_size=4)
STEPS = st.one_of(
    st.tuples(st.just("append"), SIZES, CUTS),
    st.tuples(st.just("interrupt"), SIZES, CUTS),
    st.tuples(st.just("overtake"), SIZES, SIZES),
    st.tuples(st.just("restart")),
)
HISTORIES = st.lists(STEPS, min_size=1, max_size=5)


class CountingIds(SystemIds):
    """What must never be: nonces that are counted by each process, from 0."""

    def __init__(self) -> None:
        self._count = itertools.count()

    def token(self, size_bytes: int) -> bytes:
        """Count nonces; draw all else."""
        if size_bytes != NONCE_BYTES:
            return super().token(size_bytes)
        return next(self._count).to_bytes(NONCE_BYTES, "big")


def content_of(size_bytes: int) -> bytes:
    return (PERIOD * (size_bytes // len(PERIOD) + 1))[:size_bytes]


def cut(content: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(min(place, len(content)) for place in cuts), len(content)]
    return [content[start:stop] for start, stop in itertools.pairwise(places)]


@dataclass(slots=True)
class Writer:
    """One upload, and all that was sealed until now."""

    shelf: KeyedShelf
    uploads: Uploads
    upload_id: str = ""
    content: bytes = b""
    before: set[str] = field(default_factory=set[str])
    segments: set[bytes] = field(default_factory=set[bytes])
    sealed: set[bytes] = field(default_factory=set[bytes])

    async def begin(self) -> None:
        self.before = await self.shelf.locations()
        self.upload_id = (await self.uploads.start(self.shelf.grant)).id
        self.sealed |= set(await self.shelf.sealed_keys())

    async def append(self, size_bytes: int, cuts: Sequence[int]) -> None:
        content = content_of(size_bytes)
        await self.uploads.append(self.shelf.grant, self.upload_id, chunks_of(*cut(content, cuts)))
        self.content += content

    async def interrupt(self, size_bytes: int, cuts: Sequence[int]) -> None:
        content = content_of(size_bytes)
        with pytest.raises(UploadInterrupted):
            await self.uploads.append(
                self.shelf.grant, self.upload_id, interrupted_after(*cut(content, cuts))
            )
        self.content += content

    async def overtake(self, stale_bytes: int, size_bytes: int) -> None:
        """Let another process take the session while this one writes, and this one go on."""
        has_begun, may_go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            content = content_of(stale_bytes)
            yield content[: stale_bytes // 2]
            has_begun.set()
            await may_go_on.wait()
            yield content[stale_bytes // 2 :]

        stale = asyncio.create_task(self.uploads.append(self.shelf.grant, self.upload_id, slow()))
        await has_begun.wait()
        self.restart_now()
        await self.append(size_bytes, ())
        may_go_on.set()
        with pytest.raises(InvalidLayerPart):
            await stale

    async def restart(self) -> None:
        self.restart_now()

    def restart_now(self) -> None:
        self.uploads = self.shelf.another_process()

    async def finish(self) -> None:
        for location in (
            await self.shelf.locations() - self.before
        ):  # parts, those that nobody counts included
            self.segments |= set(segments_of(self.stored(location), None))
        blob = await self.uploads.finish(self.shelf.grant, self.upload_id, [Digest.of(self.content)])
        found = await self.shelf.blobs.get(self.shelf.grant, blob.digest)
        assert await self.shelf.read(found) == self.content
        self.segments |= set(segments_of(self.stored(found.location), found.header))
        await self.put_images(blob.digest)
        self.sealed |= {*await self.shelf.sealed_keys(), *await self.shelf.sealed_manifests()}

    async def put_images(self, digest: Digest) -> None:
        """Push two images that are made of the blob, each through a process of its own."""
        part = {"mediaType": OCI_CONFIG, "digest": str(digest), "size": len(self.content)}
        for name in ("one", "other"):
            content = msgspec.json.encode(
                {
                    "schemaVersion": 2,
                    "mediaType": OCI_MANIFEST,
                    "config": part,
                    "layers": [],
                    "annotations": {"name": name},
                }
            )
            images = self.shelf.images_of_another_process()
            await images.put(self.shelf.grant, content, media_type=None, rules=PutRules.REGISTRY)

    def stored(self, location: str) -> bytes:
        path = self.shelf.files.path(location)
        assert path is not None
        return path.read_bytes()


def segments_of(stored: bytes, header: bytes | None) -> Iterator[bytes]:
    """Cut what is stored into its segments; without a header it is one extent, a part of an upload."""
    if header is None:
        for start in range(0, len(stored), STORED):
            yield stored[start : start + STORED]
        return
    layout = decode(header)
    for segment in layout.segments(0, layout.size_bytes):
        yield stored[segment.stored_start : segment.stored_stop]


async def check(shelf: KeyedShelf, history: list[tuple[str, ...]]) -> None:
    """Write one blob as the history says, twice, to two repositories, and compare all nonces that were ever used."""
    written, sealed = set[bytes](), set[bytes]()
    for _ in range(2):
        shelf.grant = await shelf.create(SystemIds().uuid())
        writer = Writer(shelf, shelf.another_process())
        await writer.begin()
        for name, *arguments in history:
            await getattr(writer, name)(*arguments)
        await writer.finish()
        written |= writer.segments
        sealed |= writer.sealed
    nonces = [segment[:NONCE_BYTES] for segment in written] + [key[ENVELOPE_NONCE] for key in sealed]

    assert len(sealed) >= 8, "two keys of uploads, a blob's, a link's, and two manifests of each repository"
    assert len(set(nonces)) == len(nonces), "a nonce was used twice"


@pytest.fixture
def make_shelf(databases: Databases, tmp_path: Path) -> Callable[[Callable[[], Ids]], KeyedShelf]:
    return lambda ids: KeyedShelf(databases, tmp_path, ids=ids)


@settings(
    max_examples=10,  # each example is a history
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=HISTORIES)
async def test_no_nonce_repeats_under_any_chunking_restart_or_stale_writer(
    make_shelf: Callable[[Callable[[], Ids]], KeyedShelf], history: list[tuple[str, ...]]
) -> None:
    shelf = make_shelf(SystemIds)
    try:
        await check(shelf, history)
    finally:
        await shelf.files.close()


@pytest.mark.parametrize("step", [("append", SEGMENT_BYTES + 1, ()), ("overtake", 1_000, 1_000)])
async def test_nonces_that_are_counted_are_found_out(
    make_shelf: Callable[[Callable[[], Ids]], KeyedShelf], step: tuple[str, ...]
) -> None:
    """What the test above would say of a counter that begins anew with each process."""
    shelf = make_shelf(CountingIds)
    with pytest.raises(AssertionError, match="a nonce was used twice"):
        await check(shelf, [step])
    await shelf.files.close()
