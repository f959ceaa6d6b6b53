"""Vaults: what the own key of a repository locks, where the repository has a key of KMS.

Whether ECR may use the key of KMS is read from the database for every request; only the opened key is kept.
"""

from collections import OrderedDict
from typing import Protocol

from openecr.application.kms.repository_keys import Use, uses_key
from openecr.domain.callers import RequestContext
from openecr.domain.errors import RepositoryNotFound, Unavailable
from openecr.domain.repositories import Repository
from openecr.engines.sealing import NONCE_BYTES, close_envelope, open_envelope
from openecr.ports.ids import Ids
from openecr.store import repositories
from openecr.store.database import Database

VAULTS_KEPT = 4_096


class Vault:
    """A `KeyRing` of one key. Safe for use from several threads."""

    __slots__ = ("_ids", "_key")

    def __init__(self, key: bytes, ids: Ids) -> None:
        self._key = key
        self._ids = ids

    def seal(self, purpose: str, plaintext: bytes, *, associated: bytes = b"") -> bytes:
        """Encrypt."""
        return close_envelope(self._key, self._ids.token(NONCE_BYTES), purpose, plaintext, associated)

    def unseal(self, purpose: str, sealed: bytes, *, associated: bytes = b"") -> bytes:
        """Decrypt. Raises ValueError."""
        return open_envelope(self._key, purpose, sealed, associated)


class KeyUse(Protocol):
    """What is asked of KMS for a repository, each time anew (`kms.RepositoryKeys`)."""

    async def check(self, repository: Repository, context: RequestContext, use: Use = Use.PULL) -> None:
        """Check that the repository's key may be used now. Raises KmsFailed, Unavailable."""
        ...

    async def open(
        self, repository: Repository, context: RequestContext, blob: bytes, use: Use = Use.PULL
    ) -> bytes:
        """Decrypt the repository's own key. Raises KmsFailed."""
        ...


class Vaults:
    """Opens the vaults of repositories."""

    def __init__(self, *, database: Database, keys: KeyUse, ids: Ids) -> None:
        self._database = database
        self._keys = keys
        self._ids = ids
        self._kept: OrderedDict[tuple[int, bytes], Vault] = OrderedDict()

    async def open(
        self, repository: Repository, context: RequestContext, use: Use = Use.PULL
    ) -> Vault | None:
        """Return a repository's vault; None: it has no key of KMS. Raises KmsFailed where that may not be used."""
        if not uses_key(repository):
            return None
        sealed = await self._database.read(
            lambda connection: repositories.find_sealed_key(connection, repository)
        )
        if sealed is None:
            raise await self._missing(repository)
        kept = self._kept.get((repository.id, sealed))
        if kept is not None:
            self._kept.move_to_end((repository.id, sealed))
            await self._keys.check(repository, context, use)
            return kept
        vault = Vault(await self._keys.open(repository, context, sealed, use), self._ids)
        self._kept[repository.id, sealed] = vault
        if len(self._kept) > VAULTS_KEPT:
            self._kept.popitem(last=False)
        return vault

    async def _missing(self, repository: Repository) -> Exception:
        """Return what to tell of a repository whose own key is not there."""
        if await self._database.read(lambda connection: repositories.is_live(connection, repository)):
            return Unavailable(
                message="The repository cannot be read", context=f"{repository.arn} has no key"
            )
        return RepositoryNotFound(repository_name=repository.name, registry_id=repository.registry.account_id)
