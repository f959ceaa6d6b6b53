"""A registry in one process, over SQLite and files, reached through its face."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.application.account_settings import AccountSettings
from openecr.application.accounts import Accounts
from openecr.application.authentication import Authenticator
from openecr.application.authorization import Authorizer
from openecr.application.authorization_tokens import AuthorizationTokens
from openecr.application.blobs import Blobs
from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys
from openecr.application.images import Images
from openecr.application.limits import Limits
from openecr.application.losses import Losses
from openecr.application.pull_times import PullTimes
from openecr.application.repositories import Repositories
from openecr.application.sessions import Sessions
from openecr.application.uploads import Uploads
from openecr.domain.callers import RequestContext, Root
from openecr.domain.decisions import Grant, Outcome, Requirement
from openecr.domain.registries import RegistryId
from openecr.domain.repositories import RepositorySettings
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase
from openecr.testing.clocks import MovableClock
from openecr.web.hosts import RegistryHosts
from openecr.web.oci.call import Services
from openecr.web.oci.pipeline import RegistryFace
from tests.keyed import keyed_blobs_of, vaults_of
from tests.unit.web.oci.client import Client, basic

ACCOUNT = "000000000000"
OTHER_ACCOUNT = "111111111111"
REGION = "us-east-1"
START = 1_700_000_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The face and what a test does behind its back."""

    face: RegistryFace
    clock: MovableClock
    outcomes: list[Outcome]
    authorizer: Authorizer
    repositories: Repositories
    account_settings: AccountSettings
    owner: Root
    password: str
    stranger_password: str

    async def grant(self, repository_name: str | None, *actions: str) -> Grant:
        """What the owner may do."""
        registry = RegistryId(account_id=ACCOUNT, region=REGION)
        context = RequestContext(
            requested_at=START,
            request_id="test",
            region=REGION,
            source_address="127.0.0.1",
            is_secure_transport=False,
            user_agent="test",
        )
        requirement = Requirement(actions=actions, registry=registry, repository_name=repository_name)
        return await self.authorizer.authorize(self.owner, context, requirement)

    async def create(self, name: str, settings: RepositorySettings | None = None) -> None:
        """Make a repository."""
        grant = await self.grant(name, "ecr:CreateRepository")
        await self.repositories.create(grant, settings or RepositorySettings(), {})


@asynccontextmanager
async def open_registry(folder: Path, *, min_free_bytes: int = 0) -> AsyncIterator[Registry]:
    """A registry whose data is in `folder`, with a reserve of free space."""
    failures: list[BaseException] = []
    migrate_sqlite(folder / "metadata.db", folder / "activity.db")
    async with AsyncExitStack() as stack:
        metadata = SqliteDatabase(folder / "metadata.db", on_failure=failures.append)
        stack.push_async_callback(metadata.close)
        activity = SqliteDatabase(folder / "activity.db", on_failure=failures.append)
        stack.push_async_callback(activity.close)
        blob_store = FileBlobStore(folder / "blobs", min_free_bytes=min_free_bytes, min_free_ratio=0)
        stack.push_async_callback(blob_store.close)
        yield await _compose(metadata, activity, blob_store)
    assert failures == []


async def _compose(metadata: SqliteDatabase, activity: SqliteDatabase, blob_store: FileBlobStore) -> Registry:
    clock, ids, limits = MovableClock(START), SystemIds(), Limits()
    keys = MasterKeyRing({1: b"k" * MASTER_KEY_BYTES})
    accounts = Accounts(database=metadata, keys=keys, clock=clock, ids=ids)
    stranger_key, owner_key = await accounts.ensure(OTHER_ACCOUNT), await accounts.ensure(ACCOUNT)
    owner = Root(account_id=ACCOUNT, access_key_id=owner_key.access_key_id)
    stranger = Root(account_id=OTHER_ACCOUNT, access_key_id=stranger_key.access_key_id)
    tokens = AuthorizationTokens(keys=keys, clock=clock)
    authorizer = Authorizer(database=metadata)
    repositories = Repositories(database=metadata, clock=clock, limits=limits)
    services = _services(metadata, activity, blob_store, keys, clock)
    hosts = RegistryHosts(
        default=RegistryId(account_id=ACCOUNT, region=REGION),
        regions=(REGION,),
        domains=("localhost",),
        plain_names=(),
        scheme="http",
        port=5050,
        default_host="localhost:5050",
    )
    outcomes: list[Outcome] = []
    face = RegistryFace(
        services=services,
        authenticator=Authenticator(
            database=metadata,
            keys=keys,
            clock=clock,
            tokens=tokens,
            sessions=Sessions(database=metadata, keys=keys, clock=clock, carried_seconds=60 * 60),
        ),
        resolve_host=hosts.resolve,
        clock=clock,
        record=outcomes.append,
    )
    return Registry(
        face=face,
        clock=clock,
        outcomes=outcomes,
        authorizer=authorizer,
        repositories=repositories,
        account_settings=AccountSettings(database=metadata),
        owner=owner,
        password=tokens.issue(owner, REGION).token_text,
        stranger_password=tokens.issue(stranger, REGION).token_text,
    )


def _services(
    metadata: SqliteDatabase,
    activity: SqliteDatabase,
    blob_store: FileBlobStore,
    keys: MasterKeyRing,
    clock: MovableClock,
) -> Services:
    ids, limits = SystemIds(), Limits()
    keyed = keyed_blobs_of(metadata, keys, clock)
    data_keys = DataKeys(keys=keys, ids=ids, encrypts=True)
    contents = Contents(store=blob_store, data_keys=data_keys)
    losses = Losses(database=metadata, store=blob_store, contents=contents)
    return Services(
        authorizer=Authorizer(database=metadata),
        images=Images(
            database=metadata,
            pull_times=PullTimes(database=activity, clock=clock),
            check_space=blob_store.check_space,
            vaults=vaults_of(metadata, keys, clock),
            clock=clock,
            limits=limits,
        ),
        blobs=Blobs(
            database=metadata,
            contents=contents,
            keyed=keyed,
            losses=losses,
            keys=keys,
            clock=clock,
            limits=limits,
        ),
        uploads=Uploads(
            database=metadata,
            blobs=blob_store,
            contents=contents,
            data_keys=data_keys,
            keyed=keyed,
            losses=losses,
            clock=clock,
            ids=ids,
            limits=limits,
        ),
        repositories=Repositories(database=metadata, clock=clock, limits=limits),
        limits=limits,
    )


async def open_client(registry: Registry) -> Client:
    """The owner's client, with two empty repositories."""
    for name in ("app", "other"):
        await registry.create(name)
    return Client(registry.face, basic(registry.password))


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with open_registry(tmp_path) as opened:
        yield opened


@pytest.fixture
async def client(registry: Registry) -> Client:
    return await open_client(registry)


@pytest.fixture
async def mounting(registry: Registry) -> None:
    """The account lets blobs be mounted."""
    await registry.account_settings.put(
        await registry.grant(None, "ecr:PutAccountSetting"), "BLOB_MOUNTING", "ENABLED"
    )
