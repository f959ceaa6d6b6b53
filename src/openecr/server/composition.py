"""Puts the parts of a server together."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from openecr.adapters.audit_stream import AuditStream
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.oidc import OidcProviders
from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.accounts import Accounts
from openecr.application.audit_trail import AuditTrail
from openecr.application.authorization_tokens import TokenEnd
from openecr.application.collection import Collection
from openecr.application.explanations import Explanations
from openecr.application.jobs import Jobs
from openecr.application.kms.kms import Kms
from openecr.application.limits import Limits
from openecr.application.master_keys import MasterKeys
from openecr.application.pacing import Pace
from openecr.application.pull_times import PullTimes
from openecr.application.rewrapping import Rewrapping
from openecr.application.scrubbing import Scrubbing
from openecr.application.sealing import Sealing
from openecr.application.store_identity import StoreIdentity
from openecr.application.use_cases import UseCases
from openecr.domain.accounts import RootKey
from openecr.domain.decisions import Outcome
from openecr.domain.errors import CannotStart, Unavailable
from openecr.domain.registries import RegistryId
from openecr.ports.blobs import BlobStore
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.ports.keys import ServerKeyRing
from openecr.server.databases import Databases, open_databases
from openecr.server.readiness import Readiness
from openecr.server.stopping import Stopping
from openecr.server.storage import open_blob_store
from openecr.settings import Settings
from openecr.store.database import Database, DatabaseFailed
from openecr.web.app import WebApplication
from openecr.web.aws import call as aws_call
from openecr.web.aws.downloads import Downloads
from openecr.web.aws.pipeline import AwsFace
from openecr.web.health import Health
from openecr.web.hosts import RegistryHosts
from openecr.web.oci import call as oci
from openecr.web.oci.pipeline import RegistryFace
from openecr.web.outcomes import record_outcome

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is left to see of a server once it is put together."""

    web: WebApplication
    metadata: Database
    accounts: Accounts
    collection: Collection
    jobs: Jobs
    keys: ServerKeyRing
    kms: Kms
    master_keys: MasterKeys | None
    rewrapping: Rewrapping
    scrubbing: Scrubbing
    sealing: Sealing | None
    """None: what is stored in clear stays so."""

    pull_times: PullTimes
    key_uses: AccessKeyUses
    trail: AuditTrail
    explanations: Explanations
    limits: Limits
    root_key: RootKey
    hosts: RegistryHosts
    stopping: Stopping


@asynccontextmanager
async def compose(
    settings: Settings,
    folder: DataFolder,
    *,
    clock: Clock,
    ids: Ids,
    on_failure: Callable[[BaseException], None],
) -> AsyncGenerator[Parts]:
    """Put the parts together over a data folder whose lock the caller holds; close them on the way out."""
    limits, stopping = Limits(**settings.limits), Stopping(settings.shutdown_seconds)
    async with AsyncExitStack() as stack:
        databases = await open_databases(
            settings, folder, stack, clock=clock, stopping=stopping, on_failure=on_failure
        )
        metadata, activity, keys = databases.metadata, databases.activity, databases.keys
        opened = await open_blob_store(settings, folder, limits, stack, stopping)
        store = opened.store
        identity = StoreIdentity(database=metadata, stores=opened.placed, ids=ids)
        await identity.prove()
        accounts = Accounts(database=metadata, keys=keys, clock=clock, ids=ids)
        root_key = await accounts.ensure(settings.account)
        hosts = _hosts(settings, RegistryId(account_id=root_key.account_id, region=settings.regions[0]))
        pull_times = PullTimes(database=activity, clock=clock)
        key_uses = AccessKeyUses(database=activity)
        trail = _trail(settings, databases, clock, ids, stack)
        stack.push_async_callback(_write_notes, settings, stopping, pull_times, key_uses, trail)
        use_cases = UseCases(
            database=metadata,
            store=store,
            check_store=identity.check,
            pull_times=pull_times,
            key_uses=key_uses,
            keys=keys,
            clock=clock,
            ids=ids,
            limits=limits,
            encrypt_at_rest=settings.storage_encrypt_at_rest,
            token_end=TokenEnd.WITH_SESSION if settings.tokens_end_with_session else TokenEnd.ALONE,
            identity_providers=_identity_providers(settings, clock),
            issuers=settings.oidc_issuers,
        )
        yield Parts(
            web=_web(
                settings,
                use_cases,
                hosts,
                _Records(key_uses, trail),
                Readiness(metadata, keys, store_answers=store.answers),
                clock=clock,
                ids=ids,
            ),
            metadata=metadata,
            accounts=accounts,
            collection=_collection(databases, store, clock, limits),
            jobs=Jobs(database=metadata, clock=clock, lease_seconds=limits.job_lease_seconds),
            keys=keys,
            kms=use_cases.kms,
            master_keys=databases.master_keys,
            rewrapping=Rewrapping(database=metadata, keys=keys),
            scrubbing=_scrubbing(metadata, store, use_cases, clock),
            sealing=_sealing(settings, metadata, store, use_cases, clock=clock, ids=ids),
            pull_times=pull_times,
            key_uses=key_uses,
            trail=trail,
            explanations=_explanations(settings, metadata, use_cases, trail, clock),
            limits=limits,
            root_key=root_key,
            hosts=hosts,
            stopping=stopping,
        )


def _collection(databases: Databases, store: BlobStore, clock: Clock, limits: Limits) -> Collection:
    return Collection(
        database=databases.metadata, activity=databases.activity, blobs=store, clock=clock, limits=limits
    )


def _scrubbing(metadata: Database, store: BlobStore, use_cases: UseCases, clock: Clock) -> Scrubbing:
    return Scrubbing(
        database=metadata,
        store=store,
        read=use_cases.blobs.open,
        losses=use_cases.losses,
        clock=clock,
        pace=Pace(use_cases.limits.scrub_bytes_per_second),
    )


def _sealing(
    settings: Settings, metadata: Database, store: BlobStore, use_cases: UseCases, *, clock: Clock, ids: Ids
) -> Sealing | None:
    if not settings.storage_encrypt_at_rest:
        return None
    return Sealing(
        database=metadata,
        store=store,
        contents=use_cases.contents,
        data_keys=use_cases.data_keys,
        pace=Pace(use_cases.limits.scrub_bytes_per_second),
        clock=clock,
        ids=ids,
        limits=use_cases.limits,
    )


def _explanations(
    settings: Settings, metadata: Database, use_cases: UseCases, trail: AuditTrail, clock: Clock
) -> Explanations:
    return Explanations(
        database=metadata,
        authorizer=use_cases.authorizer,
        lookup=trail.lookup,
        clock=clock,
        region=settings.regions[0],
    )


def _trail(
    settings: Settings, databases: Databases, clock: Clock, ids: Ids, stack: AsyncExitStack
) -> AuditTrail:
    return AuditTrail(
        metadata=databases.metadata,
        activity=databases.activity,
        clock=clock,
        retention_days=settings.audit_retention_days,
        stream=_stream(settings, stack),
        process=None if settings.database is None else ids.uuid(),
    )


def _stream(settings: Settings, stack: AsyncExitStack) -> AuditStream | None:
    """Return where audit events go as lines, if they do; `stack` closes it."""
    if settings.audit_stream is None:
        return None
    stream = AuditStream(settings.audit_stream)
    stack.callback(stream.close)
    return stream


async def _write_notes(
    settings: Settings,
    stopping: Stopping,
    pull_times: PullTimes,
    key_uses: AccessKeyUses,
    trail: AuditTrail,
) -> None:
    """Write what was noted in memory, and let another process move events at once, as far as there is time.

    A file never hangs: what an embedded server noted of answered requests is written however long that takes.
    """
    try:
        async with asyncio.timeout(None if settings.database is None else stopping.for_notes()):
            await _flush(pull_times, key_uses, trail)
            with suppress(DatabaseFailed, Unavailable):
                await trail.hand_over()
    except TimeoutError:
        _LOG.warning("the database did not answer: what was noted last is not stored")


async def _flush(*noted: PullTimes | AccessKeyUses | AuditTrail) -> None:
    with suppress(DatabaseFailed, Unavailable):
        for each in noted:
            await each.flush()


def _identity_providers(settings: Settings, clock: Clock) -> OidcProviders:
    """Raises CannotStart."""
    try:
        return OidcProviders(
            clock=clock, ca_file=settings.oidc_ca_file, private_networks=settings.oidc_private_networks
        )
    except OSError as error:  # an ssl.SSLError is one
        raise CannotStart(message=f"cannot use {settings.oidc_ca_file} (oidc.ca_file): {error}") from error


@dataclass(frozen=True, slots=True)
class _Records:
    """Who hears of every request."""

    key_uses: AccessKeyUses
    trail: AuditTrail

    def record(self, outcome: Outcome) -> None:
        """Take the one outcome of each request."""
        self.key_uses.record(outcome)
        self.trail.record(outcome)
        record_outcome(outcome)


def _web(
    settings: Settings,
    parts: UseCases,
    hosts: RegistryHosts,
    records: _Records,
    readiness: Readiness,
    *,
    clock: Clock,
    ids: Ids,
) -> WebApplication:
    registry_face = RegistryFace(
        services=oci.Services(
            authorizer=parts.authorizer,
            images=parts.images,
            blobs=parts.blobs,
            uploads=parts.uploads,
            repositories=parts.repositories,
            limits=parts.limits,
        ),
        authenticator=parts.authenticator,
        resolve_host=hosts.resolve,
        clock=clock,
        record=records.record,
    )
    aws = AwsFace(
        services=aws_call.Services(
            account_settings=parts.account_settings,
            audit=records.trail.lookup,
            authorization_tokens=parts.tokens,
            blobs=parts.blobs,
            hosts=hosts,
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
        ),
        authenticator=parts.authenticator,
        authorizer=parts.authorizer,
        regions=settings.regions,
        clock=clock,
        record=records.record,
    )
    downloads = Downloads(
        blobs=parts.blobs,
        authenticator=parts.authenticator,
        authorizer=parts.authorizer,
        clock=clock,
        record=records.record,
    )
    return WebApplication(
        registry_face=registry_face.handle,
        aws_face=aws.handle,
        downloads=downloads.handle,
        probes=Health(is_ready=readiness.is_ready, has_store=readiness.has_store).handle,
        ids=ids,
        trusted_proxies=settings.trusted_proxies,
        access_log=settings.access_log,
    )


def _hosts(settings: Settings, default: RegistryId) -> RegistryHosts:
    return RegistryHosts(
        default=default,
        regions=settings.regions,
        domains=settings.domains,
        plain_names=settings.plain_names,
        scheme=settings.scheme,
        port=settings.port,
        default_host=settings.registry_host(default),
    )
