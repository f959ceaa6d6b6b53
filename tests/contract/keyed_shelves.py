"""Shelves with repositories under a key of KMS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select

from openecr.adapters.ids import SystemIds
from openecr.application.authorization import Authorizer
from openecr.application.blobs import Blobs
from openecr.application.data_keys import DataKeys
from openecr.application.images import Images
from openecr.application.keyed_blobs import KeyedBlobs
from openecr.application.kms.kms import Kms
from openecr.application.uploads import Uploads
from openecr.domain.decisions import Grant
from openecr.domain.repositories import KMS, Encryption, RepositorySettings
from openecr.ports.ids import Ids
from openecr.store import accounts
from openecr.store.database import Database
from openecr.store.statements import Statement
from openecr.store.tables import BLOBS, LINKS, MANIFESTS, UPLOADS
from tests.contract.databases import Databases
from tests.contract.galleries import REGISTRY, grant_for
from tests.contract.shelves import LIMITS, Shelf

BLOBS_OF = Statement(
    select(BLOBS.c.id, BLOBS.c.key_id, BLOBS.c.location).where(BLOBS.c.digest == bindparam("the_digest"))
)
SEALED_KEYS = [
    Statement(select(column)) for column in (BLOBS.c.sealed_key, LINKS.c.sealed_key, UPLOADS.c.sealed_key)
]

MANIFEST_CONTENTS = Statement(select(MANIFESTS.c.content))


class KeyedShelf(Shelf):
    """A shelf whose repositories are under ECR's own key of KMS.

    `ids` makes for each process what draws its nonces, keys and locations.
    """

    def __init__(
        self,
        databases: Databases,
        folder: Path,
        *,
        database: Database | None = None,
        ids: Callable[[], Ids] = SystemIds,
    ) -> None:
        self._ids = ids
        super().__init__(databases, folder, database=database)
        self.kms = self._kms(ids())
        self.blobs = Blobs(
            database=self.database,
            contents=self.contents,
            keyed=self._keyed(self.kms, ids()),
            losses=self.losses,
            keys=self.keys,
            clock=self.clock,
            limits=self.limits,
        )

    def _kms(self, ids: Ids) -> Kms:
        return Kms(
            database=self.database,
            authorizer=Authorizer(database=self.database),
            keys=self.keys,
            clock=self.clock,
            ids=ids,
            limits=self.limits,
            repositories=self.repositories,
        )

    def _keyed(self, kms: Kms, ids: Ids) -> KeyedBlobs:
        return KeyedBlobs(database=self.database, vaults=kms.vaults, clock=self.clock, ids=ids)

    def another_process(self) -> Uploads:
        """Uploads that remember nothing of these."""
        ids = self._ids()
        return Uploads(
            database=self.database,
            blobs=self.store,
            contents=self.contents,
            data_keys=DataKeys(keys=self.keys, ids=ids, encrypts=True),
            keyed=self._keyed(self._kms(ids), ids),
            losses=self.losses,
            clock=self.clock,
            ids=ids,
            limits=LIMITS,
        )

    def images_of_another_process(self) -> Images:
        """Images that remember nothing of these."""
        return Images(
            database=self.database,
            pull_times=self.pull_times,
            check_space=self.store.check_space,
            vaults=self._kms(self._ids()).vaults,
            clock=self.clock,
            limits=LIMITS,
        )

    async def create(self, name: str, settings: RepositorySettings | None = None) -> Grant:
        """Make a repository under the key, which is made with the first one."""
        await self.database.write(
            lambda connection: accounts.add(connection, REGISTRY.account_id, created_at=self.clock.now())
        )
        settings = settings or RepositorySettings(encryption=Encryption(encryption_type=KMS))
        return grant_for(name, await self.kms.repositories.create(grant_for(name), settings, {}))

    async def sealed_keys(self) -> list[bytes]:
        """Every sealed key that a blob, a link or an upload has now."""
        found: list[Any] = [row[0] for each in SEALED_KEYS for row in await self.rows(each)]
        return [bytes(key) for key in found if key is not None]

    async def sealed_manifests(self) -> list[bytes]:
        """Every manifest as its row has it."""
        return [bytes(row[0]) for row in await self.rows(MANIFEST_CONTENTS)]
