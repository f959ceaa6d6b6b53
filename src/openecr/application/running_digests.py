"""Digests of what an upload has received so far, kept in memory between its requests.

They only save time: where they are missing (after a restart, in another process) the parts are read again.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, Self

from openecr.domain.blobs import Upload
from openecr.domain.digests import ALGORITHMS, Digest

UPLOADS_KEPT = 1_024


class Hash(Protocol):
    """A running digest, as hashlib makes them."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digest of the bytes so far."""
        ...

    def copy(self) -> Self:
        """Return one that goes on from here by itself."""
        ...


@dataclass(slots=True)
class RunningDigest:
    """Running digests of the first `received_bytes` of some content, by algorithm."""

    received_bytes: int = 0
    running: dict[str, Hash] = field(default_factory=lambda: {"sha256": hashlib.sha256()})

    @classmethod
    def of_nothing(cls, algorithms: Iterable[str]) -> Self:
        """Begin with sha256 and whichever of these are served."""
        names = {"sha256", *algorithms} & {*ALGORITHMS}
        return cls(0, {name: hashlib.new(name) for name in names})

    def copy(self) -> "RunningDigest":
        """Return one that goes on from here by itself."""
        return RunningDigest(self.received_bytes, {name: each.copy() for name, each in self.running.items()})

    def update(self, data: bytes) -> None:
        """Take more bytes. Long ones belong in a worker thread."""
        for each in self.running.values():
            each.update(data)
        self.received_bytes += len(data)

    def digests(self) -> set[Digest]:
        """Return the digests of the bytes so far."""
        return {Digest(algorithm=name, encoded=each.hexdigest()) for name, each in self.running.items()}


class RunningDigests:
    """The last uploads' running digests.

    What an upload has received is settled by how much it is (a recorded part never changes), so a digest of as many
    bytes is the digest of those bytes, whichever process recorded them.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, RunningDigest] = OrderedDict()

    def at(self, upload: Upload) -> RunningDigest | None:
        """Return a copy that stands where the upload stands, or None."""
        kept = self._kept.get(upload.id)
        if kept is not None and kept.received_bytes == upload.received_bytes:
            return kept.copy()
        return RunningDigest() if upload.received_bytes == 0 else None

    def keep(self, upload_id: str, digest: RunningDigest) -> None:
        """Keep what a recorded part has led to."""
        self._kept[upload_id] = digest
        self._kept.move_to_end(upload_id)
        while len(self._kept) > UPLOADS_KEPT:
            self._kept.popitem(last=False)

    def forget(self, upload_id: str) -> None:
        """Drop what an upload that has ended needs no more."""
        self._kept.pop(upload_id, None)
