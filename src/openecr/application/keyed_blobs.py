"""Blobs of repositories with a key of KMS.

A blob's data key is sealed under its share key, and that, in each link, under the own key of the repository that holds
it. Content is shared within one registry and one key of KMS: ECR opens the share key through one of the repositories
that hold it, and seals it for the next.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from openecr.application.data_keys import BLOB_PURPOSE, Seal, blob_context, cannot_open
from openecr.application.kms.repository_keys import Use, repository_key, uses_key
from openecr.application.kms.vaults import Vault, Vaults
from openecr.domain.blobs import StoredBlob
from openecr.domain.callers import RequestContext
from openecr.domain.digests import Digest
from openecr.domain.errors import RepositoryNotFound, Unavailable
from openecr.domain.kms_errors import KmsFailed
from openecr.domain.repositories import KMS, Repository
from openecr.engines.sealing import KEY_BYTES
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import keyed_blobs
from openecr.store.database import Database
from openecr.store.keyed_blobs import Holder, Place, PlaceChanged

LINK_PURPOSE = "link-key"
HOLDERS_TRIED = 200
"""An upload asks so many repositories for a share key, all of which may be closed; the server's own reads ask all."""

_HOLDERS_READ = 50
_CLOSED_TO_ALL = frozenset({"DisabledException", "KMSInvalidStateException", "NotFoundException"})
"""What KMS says of the key that all of them have: whoever is asked next would hear the same."""

_ATTEMPTS = 10
_AGENT = "ecr.amazonaws.com"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedUpload:
    """An upload to such a repository at its end: its vault is open, and the blob's key and header are known."""

    repository: Repository
    context: RequestContext
    vault: Vault
    upload_id: str
    digest: Digest
    header: bytes
    data_key: bytes


class KeyedBlobs:
    """Seals and opens what blobs of such repositories have in their rows."""

    def __init__(self, *, database: Database, vaults: Vaults, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._vaults = vaults
        self._clock = clock
        self._ids = ids

    async def open(self, repository: Repository, context: RequestContext) -> Vault | None:
        """Return a repository's vault for a push; None: it has no key of KMS.

        Raises KmsFailed where that may not be used.
        """
        return await self._vaults.open(repository, context, Use.PUSH)

    # --- reads ---

    async def unlock(self, blob: StoredBlob, repository: Repository, context: RequestContext) -> StoredBlob:
        """Return a blob that a repository holds, with its data key. Raises KmsFailed, Unavailable."""
        if not blob.key_id:
            return blob
        vault = await self._vaults.open(repository, context)
        if vault is None or blob.link_key is None:
            raise cannot_open(f"{repository.arn} has no key to {blob.digest}")
        return self._with_data_key(blob, _open_share_key(vault, blob.link_key, blob.digest))

    async def unlock_for_server(self, blob: StoredBlob) -> StoredBlob:
        """Return a blob with its data key, through whichever repository can open it. Raises Unavailable."""
        if not blob.key_id or blob.data_key is not None:
            return blob
        context = RequestContext(
            requested_at=self._clock.now(),
            request_id=self._ids.uuid(),
            region="",
            source_address="",
            is_secure_transport=True,
            user_agent=_AGENT,
        )
        share_key = await self._shared_key(blob.blob_id, blob.digest, context, at_most=None)
        if share_key is None:
            raise cannot_open(f"no repository that holds {blob.digest} may use its key")
        return self._with_data_key(blob, share_key)

    def _with_data_key(self, blob: StoredBlob, share_key: bytes) -> StoredBlob:
        header, sealed_key = blob.header, blob.sealed_key
        if header is None or sealed_key is None:
            raise cannot_open(f"{blob.digest} is shared under a key, and not sealed")
        share = Vault(share_key, self._ids)
        try:
            data_key = share.unseal(BLOB_PURPOSE, sealed_key, associated=blob_context(blob.digest, header))
        except ValueError:
            raise cannot_open(f"the key of {blob.digest} does not open") from None
        return replace(blob, data_key=data_key)

    # --- mounts ---

    async def link_key(
        self, blob: StoredBlob, source: Repository, target: Repository, context: RequestContext
    ) -> bytes | None:
        """Return a blob's share key for another repository, or None where it cannot be had from the source.

        Raises KmsFailed where the target's own key cannot be used, Unavailable.
        """
        vault = await self._vaults.open(target, context)
        try:
            of_source = await self._vaults.open(source, context)
            if vault is None or of_source is None or blob.link_key is None:
                return None
            share_key = _open_share_key(of_source, blob.link_key, blob.digest)
        except (KmsFailed, RepositoryNotFound, Unavailable):
            return None
        return vault.seal(LINK_PURPOSE, share_key, associated=_context(blob.digest))

    # --- uploads ---

    async def commit(self, upload: KeyedUpload, write: Callable[[Seal], Awaitable[T]]) -> T:
        """Seal a blob for its row and its link, and `write` it; that raises PlaceChanged to have it sealed anew.

        Raises Unavailable, and what `write` raises.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await write(await self._seal(upload))
            except PlaceChanged:
                continue
        raise Unavailable(message="Others are pushing the same layer. Try again.", context=str(upload.digest))

    async def _seal(self, upload: KeyedUpload) -> Seal:
        repository, digest = upload.repository, upload.digest
        key_id = sharing_key_id(repository)
        place = await self._database.read(
            partial(
                keyed_blobs.find_place,
                repository_id=repository.id,
                region=repository.registry.region,
                key_id=key_id,
                digest=digest,
            )
        )
        key_id, share_key = await self._share_key(upload, place)
        vault = Vault(share_key, self._ids)
        return Seal(
            header=upload.header,
            sealed_key=vault.seal(
                BLOB_PURPOSE, upload.data_key, associated=blob_context(digest, upload.header)
            ),
            key_id=key_id,
            link_key=upload.vault.seal(LINK_PURPOSE, share_key, associated=_context(digest)),
            place=place,
        )

    async def _share_key(self, upload: KeyedUpload, place: Place) -> tuple[str, bytes]:
        """Return within which key a blob is shared, and its share key: the one that others have, or a new one."""
        if place.own is not None and place.own.sealed_key is not None:
            return place.own.key_id, _open_share_key(upload.vault, place.own.sealed_key, upload.digest)
        if place.shared_blob_id is None:
            return place.key_id, self._ids.token(KEY_BYTES)
        shared = await self._shared_key(place.shared_blob_id, upload.digest, upload.context)
        if shared is not None:
            return place.key_id, shared
        # Whoever holds this content may not use its key now, and may again later: their blob stays as it is.
        return f"{place.key_id}/{upload.upload_id}", self._ids.token(KEY_BYTES)

    async def _shared_key(
        self, blob_id: int, digest: Digest, context: RequestContext, *, at_most: int | None = HOLDERS_TRIED
    ) -> bytes | None:
        """Return the share key of a blob through one of the repositories that hold it, or None.

        So many are tried; `at_most` None: all.
        """
        after, tried = 0, 0
        while at_most is None or tried < at_most:
            holders = await self._database.scan(
                partial(keyed_blobs.list_holders, blob_id=blob_id, after=after, limit=_HOLDERS_READ)
            )
            for holder in holders:
                share_key, closed = await self._through(holder, digest, context)
                if share_key is not None or closed in _CLOSED_TO_ALL:
                    return share_key
            if len(holders) < _HOLDERS_READ:
                return None
            after, tried = holders[-1].repository.id, tried + len(holders)
        return None

    async def _through(
        self, holder: Holder, digest: Digest, context: RequestContext
    ) -> tuple[bytes | None, str]:
        """Open a share key through one repository; else return KMS's code, where it was KMS that closed it."""
        context = replace(context, region=holder.repository.registry.region)
        try:
            vault = await self._vaults.open(holder.repository, context)
            return (None if vault is None else _open_share_key(vault, holder.sealed_key, digest)), ""
        except KmsFailed as failure:
            return None, failure.kms_error
        except (RepositoryNotFound, Unavailable):
            return None, ""


def sharing_key_id(repository: Repository) -> str:
    """Return within what a repository's content is shared: account and key of KMS, or nothing but the region.

    Any other type of encryption under the key than KMS is a place of its own, as it is for mounts.
    """
    if not uses_key(repository):
        return ""
    shared = f"{repository.registry.account_id}/{repository_key(repository).name.key_id}"
    kind = repository.settings.encryption.encryption_type
    return shared if kind == KMS else f"{shared}/{kind}"


def _open_share_key(vault: Vault, sealed: bytes, digest: Digest) -> bytes:
    try:
        return vault.unseal(LINK_PURPOSE, sealed, associated=_context(digest))
    except ValueError:
        raise cannot_open(f"the share key of {digest} does not open") from None


def _context(digest: Digest) -> bytes:
    return str(digest).encode()
