"""A repository and what can be done with its images, without a face in front."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select

from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.application.images import Images, PutImage, PutRules
from openecr.application.limits import Limits
from openecr.application.pull_times import PullTimes
from openecr.application.repositories import Repositories
from openecr.domain.callers import RequestContext, Root
from openecr.domain.decisions import Decision, Grant, Requirement, Verdict
from openecr.domain.digests import Digest
from openecr.domain.images import ImageId
from openecr.domain.manifests import OCI_INDEX, OCI_MANIFEST
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import Repository, RepositorySettings, TagMutability, TagMutabilitySetting
from openecr.store import blobs
from openecr.store.connections import Connection
from openecr.store.statements import Statement
from openecr.store.tables import IMAGE_TAGS, IMAGES
from openecr.testing.clocks import MovableClock
from tests.contract.databases import Databases
from tests.keyed import vaults_of

REGISTRY = RegistryId(account_id="000000000000", region="us-east-1")
CALLER = Root(account_id=REGISTRY.account_id, access_key_id="AKIA")
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
KEYS = MasterKeyRing({1: b"k" * MASTER_KEY_BYTES})
NOW = 1_900_000_000_000_000
CONTEXT = RequestContext(
    requested_at=NOW,
    request_id="0",
    region=REGISTRY.region,
    source_address="127.0.0.1",
    is_secure_transport=False,
    user_agent="",
)
ALL = Statement(
    select(IMAGES.c.digest, IMAGE_TAGS.c.tag)
    .join_from(IMAGES, IMAGE_TAGS, IMAGE_TAGS.c.image_id == IMAGES.c.id, isouter=True)
    .where(IMAGES.c.repository_id == bindparam("repository_id"))
    .order_by(IMAGE_TAGS.c.tag)
)
IMMUTABLE = TagMutabilitySetting(mode=TagMutability.IMMUTABLE)


def blob_digest(name: str) -> str:
    """The digest of the blob that a test calls by this name."""
    return str(Digest.of(name.encode()))


def descriptor(name: str, media_type: str = LAYER_TYPE, **more: Any) -> dict[str, Any]:
    """A descriptor of such a blob."""
    return {"mediaType": media_type, "digest": blob_digest(name), "size": len(name), **more}


def image_of(config: str = "config", layers: Sequence[str] = ("layer",), **more: Any) -> bytes:
    """The manifest of an image."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, CONFIG_TYPE),
        "layers": [descriptor(layer) for layer in layers],
    }
    return json.dumps(document | more).encode()


def index_of(*children: bytes | str, **more: Any) -> bytes:
    """The manifest of an index; children by content or by digest."""
    digests = [child if isinstance(child, str) else str(Digest.of(child)) for child in children]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": digest, "size": 1} for digest in digests],
    }
    return json.dumps(document | more).encode()


def digest(content: bytes) -> str:
    """The digest of a manifest."""
    return str(Digest.of(content))


def by_digest(content: bytes) -> ImageId:
    """An identifier."""
    return ImageId(digest=digest(content))


def by_tag(tag: str) -> ImageId:
    """An identifier."""
    return ImageId(tag=tag)


def both(content: bytes, tag: str | None = None) -> ImageId:
    """An identifier."""
    return ImageId(digest=digest(content), tag=tag)


class Gallery:
    """One repository."""

    def __init__(self, databases: Databases, limits: Limits | None = None) -> None:
        self.database = databases.metadata
        self.clock = MovableClock(NOW)
        limits = limits or Limits()
        self.pull_times = PullTimes(database=databases.activity, clock=self.clock)
        self.repositories = Repositories(database=self.database, clock=self.clock, limits=limits)
        self.images = Images(
            database=self.database,
            pull_times=self.pull_times,
            check_space=there_is_space,
            vaults=vaults_of(self.database, KEYS, self.clock),
            clock=self.clock,
            limits=limits,
        )
        self.grant = grant_for("shop/app")

    async def open(
        self, name: str = "shop/app", tag_mutability: TagMutabilitySetting | None = None
    ) -> "Gallery":
        """Make the repository, with the blobs `config` and `layer`."""
        settings = RepositorySettings(tag_mutability=tag_mutability or TagMutabilitySetting())
        repository = await self.repositories.create(grant_for(name), settings, {})
        self.grant = grant_for(name, repository)
        await self.hold("config", "layer")
        return self

    async def change(self, setting: TagMutabilitySetting) -> None:
        """Set the mutability of tags."""
        await self.repositories.set_tag_mutability(self.grant, setting)
        repository = self.grant.require_repository()
        changed = replace(repository, settings=replace(repository.settings, tag_mutability=setting))
        self.grant = grant_for(repository.name, changed)

    async def hold(self, *names: str) -> None:
        """Let the repository hold blobs."""
        repository_id = self.grant.require_repository().id

        def unit(connection: Connection) -> None:
            for name in names:
                wanted = Digest.of(name.encode())
                content = blobs.keep(
                    connection,
                    REGISTRY.region,
                    wanted,
                    size_bytes=len(name),
                    location=str(wanted),
                    header=None,
                    sealed_key=None,
                    checked={str(wanted)},
                    now=NOW,
                )
                blobs.link(connection, repository_id, wanted, content.blob_id, grace_until=NOW)

        await self.database.write(unit)

    async def drop(self, name: str) -> bool:
        """Take a blob away unless an image needs it."""
        repository_id = self.grant.require_repository().id
        wanted = Digest.of(name.encode())
        return await self.database.write(
            lambda connection: blobs.remove_link(connection, repository_id, wanted)
        )

    async def push(
        self, content: bytes, *tags: str, rules: PutRules = PutRules.REGISTRY, **more: Any
    ) -> PutImage:
        """Push a manifest."""
        return await self.images.put(
            self.grant, content, tags=tags, rules=rules, **({"media_type": None} | more)
        )

    async def tags_of(self, content: bytes) -> tuple[str, ...] | None:
        """The tags of an image, or None where it is not there."""
        listed = await self.everything()
        return listed.get(digest(content))

    async def everything(self) -> dict[str, tuple[str, ...]]:
        """Tags by digest."""
        found: dict[str, tuple[str, ...]] = {}

        def scan(connection: Connection) -> None:
            rows = connection.fetch_all(ALL, repository_id=self.grant.require_repository().id)
            for found_digest, tag in rows:
                found[found_digest] = (*found.get(found_digest, ()), *(() if tag is None else (tag,)))

        await self.database.scan(scan)
        return found


async def there_is_space() -> None:
    """What a disk with room says."""


def grant_for(name: str, repository: Repository | None = None) -> Grant:
    """What the authorizer would give."""
    return Grant(
        caller=CALLER,
        context=CONTEXT,
        requirement=Requirement(actions=("ecr:Test",), registry=REGISTRY, repository_name=name),
        verdict=Verdict(decision=Decision.ALLOW),
        repository=repository,
    )
