"""Data keys: each blob has one, which is drawn when its upload begins and kept sealed wherever it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from openecr.domain.blobs import Upload
from openecr.domain.digests import Digest
from openecr.domain.errors import Unavailable
from openecr.engines.sealing import KEY_BYTES, Extent, ExtentSealer, encode
from openecr.ports.blobs import Sealer
from openecr.ports.ids import Ids
from openecr.ports.keys import KeyRing, ServerKeyRing
from openecr.store.keyed_blobs import Place
from openecr.store.uploads import Part

UPLOAD_PURPOSE = "upload-key"
BLOB_PURPOSE = "blob-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """How rows tell what a blob's stored bytes are: nothing at all of bytes in clear.

    Under a key of KMS: `key_id` within which the blob is shared, `link_key` of its link, and the `place` that the
    commit must still find as it was.
    """

    header: bytes | None = None
    sealed_key: bytes | None = None
    key_id: str = ""
    link_key: bytes | None = None
    place: Place | None = None


IN_CLEAR = Seal()


class DataKeys:
    """Draws data keys, and seals them under the server's key ring, or a `vault`: of a repository with a key of KMS."""

    def __init__(self, *, keys: ServerKeyRing, ids: Ids, encrypts: bool) -> None:
        """`encrypts` is about uploads that begin; those that have begun go on as they are."""
        self._keys = keys
        self._ids = ids
        self._encrypts = encrypts

    def check_open(self) -> None:
        """Ask before a data key is used that was opened earlier. Raises Unavailable."""
        self._keys.check_open()

    def for_upload(self, upload_id: str, vault: KeyRing | None = None) -> bytes | None:
        """Draw the key of a blob to be; return it sealed, or None where parts are to be stored in clear."""
        return self.draw_for_upload(upload_id, vault) if self._encrypts or vault is not None else None

    def draw_for_upload(self, upload_id: str, vault: KeyRing | None = None) -> bytes:
        """Draw a key, whatever the setting says."""
        ring = vault or self._keys
        return ring.seal(UPLOAD_PURPOSE, self.draw(), associated=upload_id.encode())

    def draw(self) -> bytes:
        """Return a new key that no other blob has."""
        return self._ids.token(KEY_BYTES)

    def of_upload(self, upload: Upload, vault: KeyRing | None = None) -> bytes | None:
        """Return the key of a blob to be; None: its parts are in clear. Raises Unavailable."""
        if upload.sealed_key is None:
            return None
        ring = vault or self._keys
        try:
            return ring.unseal(UPLOAD_PURPOSE, upload.sealed_key, associated=upload.id.encode())
        except ValueError:
            raise cannot_open(f"the key of upload {upload.id} was sealed by another key ring") from None

    def sealer(self, upload: Upload, location: str, vault: KeyRing | None = None) -> Sealer | None:
        """Return what seals a part of an upload; None: it is stored in clear. Raises Unavailable."""
        key = self.of_upload(upload, vault)
        return None if key is None else self.extent_sealer(key, location)

    def extent_sealer(self, key: bytes, location: str) -> Sealer:
        """Return what seals, under a blob's key, the extent that is stored first at this location."""
        return ExtentSealer(key, extent_id(location), self._ids.token)

    def seal_blob(self, upload: Upload, parts: Sequence[Part], digest: Digest) -> Seal:
        """Return what a blob of these parts has in its row. Raises Unavailable."""
        key = self.of_upload(upload)
        return IN_CLEAR if key is None else self.seal_key(key, parts, digest)

    def seal_key(self, key: bytes, parts: Sequence[Part], digest: Digest) -> Seal:
        """Return what a blob of these parts, sealed with this key, has in its row."""
        header = header_of(parts)
        sealed = self._keys.seal(BLOB_PURPOSE, key, associated=blob_context(digest, header))
        return Seal(header=header, sealed_key=sealed)

    def of_blob(self, digest: Digest, header: bytes, sealed_key: bytes) -> bytes:
        """Return the key of a blob that hangs on the key ring. Raises Unavailable."""
        try:
            return self._keys.unseal(BLOB_PURPOSE, sealed_key, associated=blob_context(digest, header))
        except ValueError:
            raise cannot_open(f"the key of {digest} was sealed by another key ring") from None


def header_of(parts: Sequence[Part]) -> bytes:
    """Return the header of a blob of these parts."""
    return encode([Extent(extent_id(part.location), part.size_bytes or 0) for part in parts])


def extent_id(location: str) -> bytes:
    """Return the id of the extent whose first place this is."""
    return bytes.fromhex(location)


def blob_context(digest: Digest, header: bytes) -> bytes:
    """Return what a blob's sealed key vouches for: what the blob is, and how it is stored."""
    return str(digest).encode() + b"\0" + header


def cannot_open(context: str) -> Unavailable:
    """Return what to tell of bytes whose key is not to be had."""
    return Unavailable(message="A layer could not be read", context=context)
