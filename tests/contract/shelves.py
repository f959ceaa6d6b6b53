"""Repositories whose blobs are uploaded, read and collected, over real files, without a face in front."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select, update

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.application.account_settings import AccountSettings
from openecr.application.blobs import Blobs
from openecr.application.collection import Collection
from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys
from openecr.application.images import Images, PutImage, PutRules
from openecr.application.limits import Limits
from openecr.application.losses import Losses
from openecr.application.pull_times import PullTimes
from openecr.application.repositories import Repositories
from openecr.application.uploads import FinishRules, Uploads
from openecr.domain.blobs import StoredBlob
from openecr.domain.decisions import Grant
from openecr.domain.digests import Digest
from openecr.domain.errors import UploadInterrupted
from openecr.domain.repositories import RepositorySettings
from openecr.ports.blobs import BlobStore
from openecr.store.connections import Connection, Row
from openecr.store.database import Database
from openecr.store.statements import Statement
from openecr.store.tables import (
    BLOBS,
    DOOMED,
    IMAGE_BLOBS,
    IMAGE_PULLS,
    LINKS,
    REPOSITORIES,
    UPLOAD_PARTS,
    UPLOADS,
)
from openecr.testing.clocks import MovableClock
from tests.contract.databases import Databases
from tests.contract.galleries import NOW, grant_for, image_of
from tests.keyed import keyed_blobs_of, vaults_of

LIMITS = Limits(
    layer_part_min_bytes=10,
    upload_idle_seconds=100,
    link_grace_seconds=1_000,
    doomed_seconds=50,
    sealed_from_seconds=5_000,
)
NO_GRACE = replace(LIMITS, link_grace_seconds=0, doomed_seconds=0, sealed_from_seconds=0)

ALL_BLOBS = Statement(
    select(
        BLOBS.c.location,
        BLOBS.c.digest,
        BLOBS.c.size_bytes,
        BLOBS.c.state,
        BLOBS.c.id,
        BLOBS.c.header,
        BLOBS.c.sealed_key,
    )
)
ALL_PARTS = Statement(select(UPLOAD_PARTS.c.location, UPLOAD_PARTS.c.size_bytes))
ALL_DOOMED = Statement(select(DOOMED.c.location, DOOMED.c.not_before))
ALL_UPLOADS = Statement(select(UPLOADS.c.id))
ALL_REPOSITORIES = Statement(select(REPOSITORIES.c.id))
ALL_LINKS = Statement(select(LINKS.c.repository_id, LINKS.c.digest))
_OF_IMAGES = (IMAGE_BLOBS.c.repository_id == LINKS.c.repository_id) & (IMAGE_BLOBS.c.digest == LINKS.c.digest)
ALL_PULLS = Statement(select(IMAGE_PULLS.c.image_id))
NEEDED = Statement(
    select(IMAGE_BLOBS.c.digest, BLOBS.c.location)
    .join_from(IMAGE_BLOBS, LINKS, _OF_IMAGES, isouter=True)
    .join(BLOBS, LINKS.c.blob_id == BLOBS.c.id, isouter=True)
)
SET_HEADER = Statement(
    update(BLOBS).where(BLOBS.c.digest == bindparam("the_digest")).values(header=bindparam("the_header"))
)
LOSE = Statement(update(BLOBS).where(BLOBS.c.digest == bindparam("the_digest")).values(state="lost"))


async def chunks_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def interrupted_after(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    raise UploadInterrupted


def digests_of(*contents: bytes, algorithm: str = "sha256") -> list[Digest]:
    return [Digest.of(content, algorithm) for content in contents]


class Shelf:
    """A server's parts that handle blobs. Calls are on the repository `app` unless another grant is given."""

    def __init__(
        self,
        databases: Databases,
        folder: Path,
        *,
        limits: Limits = LIMITS,
        database: Database | None = None,
        blobs: BlobStore | None = None,
        files: FileBlobStore | None = None,
        encrypts: bool = True,
    ) -> None:
        self.database = database or databases.metadata
        self.files = files or FileBlobStore(folder / "blobs", min_free_bytes=0, min_free_ratio=0)
        self.store: BlobStore = blobs or self.files
        self.clock = MovableClock(NOW)
        self.limits = limits
        self.keys = MasterKeyRing({1: b"k" * MASTER_KEY_BYTES})
        self.data_keys = DataKeys(keys=self.keys, ids=SystemIds(), encrypts=encrypts)
        self.contents = self.contents_of(self.store)
        self.repositories = Repositories(database=self.database, clock=self.clock, limits=limits)
        self.settings = AccountSettings(database=self.database)
        self.losses = Losses(database=self.database, store=self.store, contents=self.contents)
        self.uploads = self.another_process()
        self.blobs = Blobs(
            database=self.database,
            contents=self.contents,
            keyed=keyed_blobs_of(self.database, self.keys, self.clock),
            losses=self.losses,
            keys=self.keys,
            clock=self.clock,
            limits=limits,
        )
        self.activity = databases.activity
        self.pull_times = PullTimes(database=self.activity, clock=self.clock)
        self.images = Images(
            database=self.database,
            pull_times=self.pull_times,
            check_space=self.store.check_space,
            vaults=vaults_of(self.database, self.keys, self.clock),
            clock=self.clock,
            limits=limits,
        )
        self.collection = Collection(
            database=self.database,
            activity=self.activity,
            blobs=self.store,
            clock=self.clock,
            limits=limits,
        )
        self.grant = grant_for("app")

    def contents_of(self, store: BlobStore) -> Contents:
        """Another process's."""
        return Contents(store=store, data_keys=self.data_keys)

    def another_process(self) -> Uploads:
        """Uploads that remember nothing of these."""
        return Uploads(
            database=self.database,
            blobs=self.store,
            contents=self.contents,
            data_keys=self.data_keys,
            keyed=keyed_blobs_of(self.database, self.keys, self.clock),
            losses=self.losses,
            clock=self.clock,
            ids=SystemIds(),
            limits=self.limits,
        )

    async def open(self, name: str = "app") -> "Shelf":
        """Make the repository."""
        self.grant = await self.create(name)
        return self

    async def create(self, name: str, settings: RepositorySettings | None = None) -> Grant:
        """Make a repository."""
        created = await self.repositories.create(grant_for(name), settings or RepositorySettings(), {})
        return grant_for(name, created)

    async def push(
        self,
        *contents: bytes,
        grant: Grant | None = None,
        algorithm: str = "sha256",
        rules: FinishRules = FinishRules.REGISTRY,
    ) -> StoredBlob:
        """Upload a blob, in as many parts as there are contents."""
        grant = grant or self.grant
        upload = await self.uploads.start(grant)
        for content in contents:
            await self.uploads.append(grant, upload.id, chunks_of(content))
        digests = digests_of(b"".join(contents), algorithm=algorithm)
        return await self.uploads.finish(grant, upload.id, digests, rules=rules)

    async def push_image(
        self, config: str = "config", layer: str = "layer", grant: Grant | None = None
    ) -> PutImage:
        """Upload the blobs of an image, and the image."""
        grant = grant or self.grant
        for name in (config, layer):
            await self.push(name.encode(), grant=grant)
        return await self.put(config, layer, grant=grant)

    async def put(self, config: str = "config", layer: str = "layer", grant: Grant | None = None) -> PutImage:
        """Push only the manifest."""
        content = image_of(config, [layer])
        return await self.images.put(grant or self.grant, content, media_type=None, rules=PutRules.REGISTRY)

    async def read(self, blob: StoredBlob) -> bytes:
        """Read all of a blob."""
        return b"".join([chunk async for chunk in self.blobs.open(blob, 0, blob.size_bytes)])

    async def set_header(self, digest: Digest, header: bytes) -> None:
        """Let a row say that its bytes are in a format, as a later version may have left it."""
        await self.database.write(
            lambda connection: connection.execute(SET_HEADER, the_digest=str(digest), the_header=header)
        )

    async def lose(self, digest: Digest) -> None:
        """Let a blob have proved bad."""
        await self.database.write(lambda connection: connection.execute(LOSE, the_digest=str(digest)))

    async def rows(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Ask the database."""

        def scan(connection: Connection) -> list[Row]:
            return connection.fetch_all(statement, **parameters)

        return await self.database.scan(scan)

    async def pulled(self) -> set[int]:
        """The images whose pull time is stored."""
        rows = await self.activity.scan(lambda connection: connection.fetch_all(ALL_PULLS))
        return {row[0] for row in rows}

    async def locations(self) -> set[str]:
        """Every stored location."""
        return {location async for location in self.files.iterate()}

    async def collect_everything(self) -> None:
        """Collect until nothing is left that could go, however long that would take."""
        for _ in range(2):
            self.clock.move(seconds=self.limits.upload_idle_seconds + self.limits.link_grace_seconds)
            await self.collection.collect()
        self.clock.move(seconds=self.limits.doomed_seconds)
        await self.collection.collect()

    async def check(self) -> None:
        """Check what must hold at every moment."""
        blobs = await self.rows(ALL_BLOBS)
        parts = await self.rows(ALL_PARTS)
        doomed = await self.rows(ALL_DOOMED)
        stored = await self.locations()
        named = [row[0] for row in (*blobs, *parts, *doomed)]
        assert stored <= set(named), "a file that the database does not know stays for ever"
        assert len(named) == len(set(named)), "a location has one owner"
        reader = Contents(store=self.files, data_keys=self.data_keys)
        for location, digest, size_bytes, state, blob_id, header, sealed_key in blobs:
            if state == "stored":
                blob = StoredBlob(
                    blob_id=blob_id,
                    digest=Digest.parse(digest),
                    size_bytes=size_bytes,
                    location=location,
                    header=header,
                    sealed_key=sealed_key,
                )
                data = b"".join([chunk async for chunk in reader.open(blob, 0, size_bytes)])
                algorithm, _, encoded = digest.partition(":")
                assert (len(data), hashlib.new(algorithm, data).hexdigest()) == (size_bytes, encoded)
        missing = [digest for digest, location in await self.rows(NEEDED) if location not in stored]
        assert missing == [], "an image has lost a blob"

    async def check_settled(self, *expected: bytes) -> None:
        """Check that exactly these contents are left once everything that may go has gone."""
        await self.collect_everything()
        await self.check()
        blobs = await self.rows(ALL_BLOBS)
        assert sorted(row[1] for row in blobs) == sorted(map(str, digests_of(*expected)))
        assert await self.locations() == {row[0] for row in blobs}
        assert await self.rows(ALL_PARTS) == await self.rows(ALL_UPLOADS) == await self.rows(ALL_DOOMED) == []
