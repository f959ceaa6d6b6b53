"""The commit point of an upload: blob, link and the end of the session, in one transaction."""

from collections.abc import Sequence

from openecr.application.data_keys import Seal
from openecr.application.limits import Limits
from openecr.domain.blobs import StoredBlob, Upload
from openecr.domain.digests import Digest
from openecr.domain.errors import InvalidLayerPart, UploadNotFound
from openecr.domain.repositories import Repository
from openecr.ports.clock import Clock
from openecr.store import blobs as blob_rows
from openecr.store import doomed, keyed_blobs, repositories, uploads
from openecr.store.connections import Connection
from openecr.store.uploads import Part

SECOND = 1_000_000


class UploadEnds:
    """How sessions end, inside the unit of work of whoever ends them."""

    def __init__(self, *, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits

    def remove(self, connection: Connection, upload_id: str, *, kept: str = "") -> None:
        """Remove a session with its parts, and doom every location of theirs but the one that is kept."""
        now = self._clock.now()
        late = now + self._limits.doomed_seconds * SECOND
        uploads.remove(connection, upload_id, kept=kept, not_before=now, unfinished_not_before=late)

    def commit(
        self,
        connection: Connection,
        *,
        repository: Repository,
        upload: Upload,
        parts: Sequence[Part],
        digest: Digest,
        location: str,
        seal: Seal,
        checked: frozenset[str],
    ) -> tuple[StoredBlob, bool]:
        """The only commit point: blob, link and the end of the session, in one transaction.

        Returns whether the repository has the blob only now. Raises PlaceChanged, and ContentUnchecked where content
        that is kept has a location that is not among those that were `checked`.
        """
        now = self._clock.now()
        repositories.require_live(connection, repository)
        current = uploads.find(connection, repository.id, upload.id, upload.owner)
        if current is None:
            raise not_found(repository, upload.id)
        check_offset(current, upload.received_bytes)
        named = uploads.whole_parts(uploads.list_parts(connection, upload.id), upload.received_bytes)
        assert named == parts, "recorded parts never change"
        region = repository.registry.region
        if seal.place is not None:
            keyed_blobs.check(connection, seal.place, repository.id, region, digest)
        content = blob_rows.keep(
            connection,
            region,
            digest,
            key_id=seal.key_id,
            size_bytes=upload.received_bytes,
            location=location,
            header=seal.header,
            sealed_key=seal.sealed_key,
            checked=checked,
            now=now,
        )
        self.remove(connection, upload.id, kept=content.location)
        if content.lost_location is not None:
            late = now + self._limits.doomed_seconds * SECOND
            doomed.add(connection, [content.lost_location], not_before=late)
        grace_until = now + self._limits.link_grace_seconds * SECOND
        is_linked = blob_rows.link(
            connection,
            repository.id,
            digest,
            content.blob_id,
            grace_until=grace_until,
            sealed_key=seal.link_key,
        )
        blob = StoredBlob(
            blob_id=content.blob_id,
            digest=digest,
            size_bytes=upload.received_bytes,
            location=content.location,
            header=content.header,
            sealed_key=content.sealed_key,
            key_id=seal.key_id,
            link_key=seal.link_key,
        )
        return blob, is_linked or content.lost_location is not None


def check_offset(upload: Upload, first_byte: int | None) -> None:
    """Raise InvalidLayerPart unless a part that begins there is the next one."""
    if first_byte is not None and first_byte != upload.received_bytes:
        raise InvalidLayerPart(
            upload_id=upload.id, first_byte=first_byte, received_bytes=upload.received_bytes
        )


def not_found(repository: Repository, upload_id: str) -> UploadNotFound:
    """Return what to tell of a session that is not there."""
    return UploadNotFound(
        upload_id=upload_id, repository_name=repository.name, registry_id=repository.registry.account_id
    )
