"""The content of blobs, whatever its bytes look like where they are stored."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from openecr.application.data_keys import DataKeys, cannot_open, extent_id
from openecr.domain.blobs import StoredBlob, Upload
from openecr.domain.errors import ContentDamaged
from openecr.engines.sealing import (
    Damaged,
    Extent,
    Layout,
    SealedContent,
    StreamOpener,
    UnknownFormat,
    decode,
)
from openecr.ports.blobs import BlobStore
from openecr.ports.keys import KeyRing
from openecr.store.uploads import Part

CONTENTS_KEPT = 4_096
EXTENTS_KEPT = 64
"""What is of more extents is not kept: it takes more memory than it saves time."""


@dataclass(frozen=True, slots=True)
class BlobFile:
    """A file that holds a blob; `sealed` opens its segments, None: it holds the content itself."""

    path: Path
    sealed: SealedContent | None


class Contents:
    """Opens what is sealed, and gives what is in clear as it is."""

    def __init__(self, *, store: BlobStore, data_keys: DataKeys) -> None:
        self._store = store
        self._data_keys = data_keys
        self._kept: OrderedDict[tuple[bytes, bytes], SealedContent] = OrderedDict()

    def file(self, blob: StoredBlob) -> BlobFile | None:
        """Return the file that holds the blob, where there is one. Raises Unavailable."""
        path = self._store.path(blob.location)
        return None if path is None else BlobFile(path, self._sealed(blob))

    async def redirect(self, blob: StoredBlob) -> str | None:
        """Return a URL at which the store itself gives the blob's bytes, where it does. Raises Unavailable."""
        return None if blob.header is not None else await self._store.redirect(blob.location)

    async def open(self, blob: StoredBlob, start: int, stop: int) -> AsyncGenerator[bytes]:
        """Read bytes [start, stop) of the content in chunks. Raises Unavailable, ContentDamaged."""
        async with aclosing(self._read(blob.location, self._sealed(blob), start, stop)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def open_part(
        self, upload: Upload, part: Part, vault: KeyRing | None = None
    ) -> AsyncGenerator[bytes]:
        """Read all of a part of an upload. Raises Unavailable, ContentDamaged."""
        key, size_bytes = self._data_keys.of_upload(upload, vault), part.size_bytes or 0
        layout = Layout([Extent(extent_id(part.location), size_bytes)])
        sealed = None if key is None else SealedContent(layout, key)
        async with aclosing(self._read(part.location, sealed, 0, size_bytes)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def stored(self, location: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        """Read stored bytes [start, stop) as they are. Raises Unavailable, ContentDamaged."""
        async with aclosing(_closable(self._store.open(location, start, stop))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _read(
        self, location: str, sealed: SealedContent | None, start: int, stop: int
    ) -> AsyncGenerator[bytes]:
        if start >= stop:
            return
        opener = None if sealed is None else StreamOpener(sealed, start, stop)
        first, end = (start, stop) if opener is None else (opener.stored_start, opener.stored_stop)
        try:
            async with aclosing(_closable(self._store.open(location, first, end))) as stored:
                async for chunk in stored:
                    if opener is None:
                        yield chunk
                        continue
                    for piece in await asyncio.to_thread(partial(opener.update, (chunk,))):
                        yield piece
            if opener is not None:
                opener.end()
        except Damaged as damage:
            raise ContentDamaged(message="A layer is damaged", context=f"{location}: {damage}") from damage

    def _sealed(self, blob: StoredBlob) -> SealedContent | None:
        """Return what opens a blob's segments; opened keys are kept for as long as they are asked for.

        Raises Unavailable, also where the key is kept and the ring is closed.
        """
        header, sealed_key = blob.header, blob.sealed_key
        if header is None:
            return None
        if sealed_key is None:
            raise cannot_open(f"{blob.digest} is sealed and there is no key to it")
        self._data_keys.check_open()
        kept = self._kept.get((sealed_key, header))
        if kept is not None:
            self._kept.move_to_end((sealed_key, header))
            return kept
        try:
            layout = decode(header)
        except UnknownFormat as error:
            raise cannot_open(f"{blob.digest} has a format that is not known here: {error}") from error
        if layout.size_bytes != blob.size_bytes:
            raise cannot_open(f"the header of {blob.digest} is of another blob")
        key = blob.data_key or self._data_keys.of_blob(blob.digest, header, sealed_key)
        sealed = SealedContent(layout, key)
        if len(layout.extents) <= EXTENTS_KEPT:
            self._kept[sealed_key, header] = sealed
            if len(self._kept) > CONTENTS_KEPT:
                self._kept.popitem(last=False)
        return sealed


def stored_size_of(blob: StoredBlob) -> int | None:
    """Return how many bytes must be stored for a blob; None where its format is not known here."""
    if blob.header is None:
        return blob.size_bytes
    try:
        return decode(blob.header).stored_size_bytes
    except UnknownFormat:
        return None


def _closable(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Say of a store's chunks what they are: a generator, whose end closes what it has open without waiting."""
    return cast("AsyncGenerator[bytes]", chunks)
