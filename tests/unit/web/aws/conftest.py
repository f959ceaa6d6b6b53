"""The AWS face in one process, over SQLite and files, with botocore as its client."""

import shutil
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.adapters.oidc import OidcProviders
from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.accounts import Accounts
from openecr.application.audit_lookup import AuditLookup
from openecr.application.authentication import Authenticator
from openecr.application.authorization import Authorizer
from openecr.application.authorization_tokens import TokenEnd
from openecr.application.limits import Limits
from openecr.application.pull_times import PullTimes
from openecr.application.use_cases import UseCases
from openecr.domain.decisions import Outcome
from openecr.domain.registries import RegistryId
from openecr.ports.blobs import BlobStore
from openecr.store.database import Database
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase
from openecr.testing.aws import AwsClient
from openecr.testing.clocks import MovableClock
from openecr.web.aws.call import Services
from openecr.web.aws.downloads import Downloads
from openecr.web.aws.pipeline import AwsFace
from openecr.web.hosts import RegistryHosts

ACCOUNT = "000000000000"
OTHER_ACCOUNT = "111111111111"
REGION = "us-east-1"
OTHER_REGION = "eu-west-1"
LIMITS = Limits(repositories_per_registry=20, layer_part_min_bytes=100, resource_tags_per_repository=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The face, its doors and what a test does behind their backs."""

    face: AwsFace
    downloads: Downloads
    services: Services
    accounts: Accounts
    authenticator: Authenticator
    authorizer: Authorizer
    clock: MovableClock
    outcomes: list[Outcome]
    key: tuple[str, str]
    stranger_key: tuple[str, str]

    def client(self, service: str = "ecr", **options: Any) -> AwsClient:
        """Return a client of the default account's root."""
        return AwsClient(self.face.handle, self.key, service=service, **options)

    def stranger(self, service: str = "ecr", **options: Any) -> AwsClient:
        """Return a client of another account's root."""
        return AwsClient(self.face.handle, self.stranger_key, service=service, **options)


async def refused(client: AwsClient, operation: str, **parameters: Any) -> tuple[str, str]:
    """Call what must fail; return code and message."""
    with pytest.raises(ClientError) as raised:
        await client.call(operation, **parameters)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture(scope="session")
def empty_databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with migrated databases, to be copied: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    migrate_sqlite(folder / "metadata.db", folder / "activity.db")
    return folder


@pytest.fixture
async def house(tmp_path: Path, empty_databases: Path) -> AsyncIterator[House]:
    """A server's worth of parts."""
    failures: list[BaseException] = []
    for name in ("metadata.db", "activity.db"):
        shutil.copy(empty_databases / name, tmp_path / name)
    async with AsyncExitStack() as stack:
        metadata = SqliteDatabase(tmp_path / "metadata.db", on_failure=failures.append)
        stack.push_async_callback(metadata.close)
        activity = SqliteDatabase(tmp_path / "activity.db", on_failure=failures.append)
        stack.push_async_callback(activity.close)
        store = FileBlobStore(tmp_path / "blobs", min_free_bytes=0, min_free_ratio=0)
        stack.push_async_callback(store.close)
        yield await _compose(metadata, activity, store)
    assert failures == []


HOSTS = RegistryHosts(
    default=RegistryId(account_id=ACCOUNT, region=REGION),
    regions=(REGION, OTHER_REGION),
    domains=("localhost",),
    plain_names=(),
    scheme="http",
    port=5050,
    default_host="localhost:5050",
)


async def _compose(metadata: Database, activity: Database, store: BlobStore) -> House:
    # botocore signs with the time of this machine.
    clock, ids = MovableClock(time.time_ns() // 1000), SystemIds()
    keys = MasterKeyRing({1: b"k" * MASTER_KEY_BYTES})
    accounts = Accounts(database=metadata, keys=keys, clock=clock, ids=ids)
    own, strangers = await accounts.ensure(ACCOUNT), await accounts.create(OTHER_ACCOUNT)
    parts = UseCases(
        database=metadata,
        store=store,
        pull_times=PullTimes(database=activity, clock=clock),
        key_uses=AccessKeyUses(database=activity),
        keys=keys,
        clock=clock,
        ids=ids,
        limits=LIMITS,
        encrypt_at_rest=True,
        token_end=TokenEnd.ALONE,
        identity_providers=OidcProviders(clock=clock),
        issuers=(),
    )
    services = Services(
        account_settings=parts.account_settings,
        audit=AuditLookup(metadata=metadata, activity=activity),
        authorization_tokens=parts.tokens,
        blobs=parts.blobs,
        hosts=HOSTS,
        iam=parts.iam,
        images=parts.images,
        kms=parts.kms,
        registry_policies=parts.registry_policies,
        repositories=parts.repositories,
        repository_policies=parts.repository_policies,
        sessions=parts.sessions,
        sts=parts.sts,
        uploads=parts.uploads,
        web_identities=parts.web_identities,
    )
    outcomes: list[Outcome] = []
    return House(
        face=AwsFace(
            services=services,
            authenticator=parts.authenticator,
            authorizer=parts.authorizer,
            regions=(REGION, OTHER_REGION),
            clock=clock,
            record=outcomes.append,
        ),
        downloads=Downloads(
            blobs=services.blobs,
            authenticator=parts.authenticator,
            authorizer=parts.authorizer,
            clock=clock,
            record=outcomes.append,
        ),
        services=services,
        accounts=accounts,
        authenticator=parts.authenticator,
        authorizer=parts.authorizer,
        clock=clock,
        outcomes=outcomes,
        key=(own.access_key_id, own.secret),
        stranger_key=(strangers.access_key_id, strangers.secret),
    )


@pytest.fixture
async def ecr(house: House) -> AwsClient:
    """A client of ECR with an empty repository `app`."""
    client = house.client()
    await client.call("create_repository", repositoryName="app")
    return client
