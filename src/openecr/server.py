"""The composition root: the only place, beside the test kit, that names adapters."""

import asyncio
import gc
import ipaddress
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import uvloop
from granian.server.embed import Server as GranianServer

from openecr.adapters import tls
from openecr.adapters.audit_stream import AuditStream
from openecr.adapters.blobs.files import FileBlobStore
from openecr.adapters.clocks import SystemClock
from openecr.adapters.connections import address_of, end_idle_connections
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.descriptors import raise_descriptor_limit
from openecr.adapters.env_file import ClientEnvironment, write_environment
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys.files import open_key_ring
from openecr.adapters.listening import check_port, wait_until_listening
from openecr.adapters.oidc import OidcProviders
from openecr.application.access_key_uses import AccessKeyUses
from openecr.application.accounts import Accounts
from openecr.application.audit_trail import AuditTrail
from openecr.application.authorization_tokens import TokenEnd
from openecr.application.collection import Collection
from openecr.application.explanations import Explanations
from openecr.application.limits import Limits
from openecr.application.pull_times import PullTimes
from openecr.application.use_cases import UseCases
from openecr.domain.accounts import RootKey
from openecr.domain.decisions import Outcome
from openecr.domain.errors import CannotStart, Unavailable
from openecr.domain.registries import RegistryId
from openecr.jobs.audit import audit_jobs
from openecr.jobs.runner import Job, run_jobs
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.ports.keys import KeyRing
from openecr.settings import Settings
from openecr.store.database import DatabaseFailed
from openecr.store.migrating import migrate_sqlite
from openecr.store.sqlite import SqliteDatabase
from openecr.web.app import WebApplication
from openecr.web.aws import call as aws_call
from openecr.web.aws.downloads import Downloads
from openecr.web.aws.pipeline import AwsFace
from openecr.web.control import ControlServer
from openecr.web.granian_server import make_server
from openecr.web.health import Health
from openecr.web.hosts import RegistryHosts
from openecr.web.oci import call as oci
from openecr.web.oci.pipeline import RegistryFace
from openecr.web.outcomes import record_outcome
from openecr.web.rsgi import RsgiApplication

_LOG = structlog.get_logger(__name__)

_LOOKS_PER_IDLE_TIME = 4
"""How often idle connections are looked for."""

_FLUSH_SECONDS = 5
_RARE = 60
"""What is rarely worth it is done once in so many intervals of collection."""

_CANCEL_SECONDS = 5
"""How much of the time for a shutdown is kept, at most, for what must be cancelled, and as much for the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is left to see of a server once it is put together."""

    web: WebApplication
    accounts: Accounts
    collection: Collection
    pull_times: PullTimes
    key_uses: AccessKeyUses
    trail: AuditTrail
    explanations: Explanations
    limits: Limits
    root_key: RootKey
    hosts: RegistryHosts


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the operator is told once the server answers."""

    settings: Settings
    default: RegistryId
    registry_host: str
    root_key: RootKey
    environment_file: Path
    ca_file: Path | None


@asynccontextmanager
async def compose(
    settings: Settings,
    folder: DataFolder,
    *,
    clock: Clock,
    ids: Ids,
    keys: KeyRing,
    on_failure: Callable[[BaseException], None],
) -> AsyncGenerator[Parts]:
    """Put the parts together over a data folder whose lock the caller holds; close them on the way out."""
    limits = Limits(**settings.limits)
    migrate_sqlite(folder.database, folder.activity)
    async with AsyncExitStack() as stack:
        metadata = SqliteDatabase(folder.database, on_failure=on_failure)
        stack.push_async_callback(metadata.close)
        activity = SqliteDatabase(folder.activity, on_failure=on_failure)
        stack.push_async_callback(activity.close)
        store = FileBlobStore(
            folder.blobs,
            min_free_bytes=settings.storage_min_free_bytes,
            min_free_ratio=settings.storage_min_free_ratio,
        )
        stack.push_async_callback(store.close)
        accounts = Accounts(database=metadata, keys=keys, clock=clock, ids=ids)
        root_key = await accounts.ensure(settings.account)
        hosts = _hosts(settings, RegistryId(account_id=root_key.account_id, region=settings.regions[0]))
        pull_times = PullTimes(database=activity, clock=clock)
        key_uses = AccessKeyUses(database=activity)
        trail = AuditTrail(
            metadata=metadata,
            activity=activity,
            clock=clock,
            retention_days=settings.audit_retention_days,
            stream=_stream(settings, stack),
        )
        stack.push_async_callback(_flush, pull_times, key_uses, trail)
        use_cases = UseCases(
            database=metadata,
            store=store,
            pull_times=pull_times,
            key_uses=key_uses,
            keys=keys,
            clock=clock,
            ids=ids,
            limits=limits,
            token_end=TokenEnd.WITH_SESSION if settings.tokens_end_with_session else TokenEnd.ALONE,
            identity_providers=_identity_providers(settings, clock),
            issuers=settings.oidc_issuers,
        )
        yield Parts(
            web=_web(settings, use_cases, hosts, _Records(key_uses, trail), clock=clock, ids=ids),
            accounts=accounts,
            collection=Collection(
                database=metadata, activity=activity, blobs=store, clock=clock, limits=limits
            ),
            pull_times=pull_times,
            key_uses=key_uses,
            trail=trail,
            explanations=Explanations(
                database=metadata,
                authorizer=use_cases.authorizer,
                lookup=trail.lookup,
                clock=clock,
                region=settings.regions[0],
            ),
            limits=limits,
            root_key=root_key,
            hosts=hosts,
        )


def _stream(settings: Settings, stack: AsyncExitStack) -> AuditStream | None:
    """Return where audit events go as lines, if they do; `stack` closes it."""
    if settings.audit_stream is None:
        return None
    stream = AuditStream(settings.audit_stream)
    stack.callback(stream.close)
    return stream


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
    settings: Settings, parts: UseCases, hosts: RegistryHosts, records: _Records, *, clock: Clock, ids: Ids
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
        probes=Health(is_ready=_is_ready).handle,
        ids=ids,
        trusted_proxies=settings.trusted_proxies,
        access_log=settings.access_log,
    )


async def _is_ready() -> bool:
    """Everything that serving needs is opened before the first request."""
    return True


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


def run(settings: Settings, announce: Callable[[Started], None]) -> int:
    """Serve until a signal, and return the exit status. Raises CannotStart."""
    _check_transport(settings)
    with DataFolder.acquire(settings.data) as folder:
        check_port(settings.host, settings.port)
        raise_descriptor_limit()
        keys = open_key_ring(folder.path, may_create=folder.is_new)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_Serving(settings, folder, keys, announce).serve())


def _jobs(parts: Parts) -> tuple[Job, ...]:
    interval = parts.limits.collection_interval_seconds
    collection = (
        Job(name=name, run=partial(parts.collection.run, step), interval_seconds=interval * factor)
        for steps, factor in ((parts.collection.steps, 1), (parts.collection.rare_steps, _RARE))
        for name, step in steps.items()
    )
    pull_times = Job(name="pull times", run=parts.pull_times.flush, interval_seconds=_FLUSH_SECONDS)
    key_uses = Job(name="key uses", run=parts.key_uses.flush, interval_seconds=_FLUSH_SECONDS)
    return (*collection, *audit_jobs(parts.trail), pull_times, key_uses)


def _check_transport(settings: Settings) -> None:
    """Plain HTTP is for loopback only. Raises CannotStart."""
    is_loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    if settings.scheme == "http" and not is_loopback and not settings.force_http:
        raise CannotStart(
            message=f"plain HTTP on {settings.host} would show every password to the network: "
            "use --tls auto, or --tls-cert and --tls-key, or --force-http"
        )


def _certificate(settings: Settings, data: Path) -> tls.TlsFiles | None:
    if settings.tls_cert is not None and settings.tls_key is not None:
        return tls.own_certificate(settings.tls_cert, settings.tls_key)
    if settings.tls != "auto":
        return None
    names = tls.registry_names(
        regions=settings.regions,
        domains=settings.domains,
        plain_names=settings.plain_names,
        addresses=(settings.host,),
    )
    return tls.ensure_certificate(data, names, now_at=SystemClock().now())


class _Serving:
    """One run of the server: start, wait for a reason to stop, stop within the bound."""

    def __init__(
        self, settings: Settings, folder: DataFolder, keys: KeyRing, announce: Callable[[Started], None]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._keys = keys
        self._announce = announce
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._certificate = _certificate(settings, folder.path)

    async def serve(self) -> int:
        """Run until SIGTERM, SIGINT, a `stop` through the control socket, or a failure of the database."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)

        def fail(error: BaseException) -> None:
            self._failure = error
            loop.call_soon_threadsafe(self._stop.set)

        try:
            async with compose(
                self._settings,
                self._folder,
                clock=SystemClock(),
                ids=SystemIds(),
                keys=self._keys,
                on_failure=fail,
            ) as parts:
                await self._serve(parts)
        except DatabaseFailed as error:
            self._failure = self._failure or error
        if self._failure is not None:
            _LOG.critical("stopped: the database failed", error=repr(self._failure))
            return 1
        return 0

    async def _serve(self, parts: Parts) -> None:
        started = self._started(parts)  # the `env` file is there before anybody is answered
        application = RsgiApplication(parts.web.handle, idle_seconds=self._settings.idle_seconds)
        granian = self._granian(application)
        serving = asyncio.create_task(granian.serve())  # noqa: TID251 -- the server's own; ended in _shut_down
        jobs = asyncio.create_task(run_jobs(*_jobs(parts), self._idle_connections(application)))  # noqa: TID251 -- the same
        control = self._control(parts)
        await control.start()
        try:
            await wait_until_listening(self._settings.host, self._settings.port, serving)
            self._announce(started)
            gc.collect()
            gc.freeze()  # what was made until now stays: no collection while serving has to walk through it
            stopping = asyncio.create_task(self._stop.wait())  # noqa: TID251 -- ended below
            await asyncio.wait({stopping, serving, jobs}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        finally:
            await self._shut_down(granian, application, serving, jobs, control)

    async def _shut_down(
        self,
        granian: GranianServer,
        application: RsgiApplication,
        serving: "asyncio.Task[None]",
        jobs: "asyncio.Task[None]",
        control: ControlServer,
    ) -> None:
        """Stop listening, let requests finish or cancel them, then stop what works behind them."""
        loop = asyncio.get_running_loop()
        reserve = min(_CANCEL_SECONDS, self._settings.shutdown_seconds / 3)
        close_at = loop.time() + self._settings.shutdown_seconds - reserve
        granian.stop()  # type: ignore[no-untyped-call]  # Granian leaves it untyped
        await control.close()
        patience = max(close_at - reserve - loop.time(), 0)
        cancelled = await application.stop(patience_seconds=patience, cancel_seconds=reserve)
        if cancelled:
            _LOG.warning("requests were cancelled", requests=cancelled)
        jobs.cancel()
        with suppress(asyncio.CancelledError):
            await jobs
        with suppress(TimeoutError, asyncio.CancelledError):  # files are sent without the application
            await asyncio.wait_for(serving, max(close_at - loop.time(), 0))

    def _idle_connections(self, application: RsgiApplication) -> Job:
        """Who is served is never idle: the application bounds the time of bodies itself."""
        idle_seconds = self._settings.idle_seconds

        async def end() -> None:
            busy = {address_of(client) for client in application.clients()}
            ended = end_idle_connections(self._settings.port, idle_seconds=idle_seconds, busy=busy)
            if ended:
                _LOG.info("idle connections were ended", connections=ended)

        return Job(name="idle connections", run=end, interval_seconds=idle_seconds / _LOOKS_PER_IDLE_TIME)

    def _granian(self, application: RsgiApplication) -> GranianServer:
        certificate = self._certificate
        return make_server(
            application,
            host=self._settings.host,
            port=self._settings.port,
            connections=self._settings.connections,
            idle_seconds=self._settings.idle_seconds,
            certificate=None if certificate is None else certificate.certificate,
            key=None if certificate is None else certificate.key,
        )

    def _control(self, parts: Parts) -> ControlServer:
        return ControlServer(
            self._folder.control_socket,
            accounts=parts.accounts,
            stop=self._stop.set,
            key_changed=lambda key: self._key_changed(parts, key),
            audit=parts.trail.lookup,
            explanations=parts.explanations,
            status=lambda: {
                "endpoint": self._settings.endpoint_url,
                "pid": str(os.getpid()),
                **parts.trail.counts(),
            },
        )

    def _key_changed(self, parts: Parts, key: RootKey) -> None:
        """The `env` file always holds a key that works."""
        if key.account_id == parts.hosts.default.account_id:
            self._write_environment(key, parts.hosts.default.region)

    def _write_environment(self, key: RootKey, region: str) -> Path:
        files = self._certificate
        return write_environment(
            self._folder.path,
            ClientEnvironment(
                access_key_id=key.access_key_id,
                secret=key.secret,
                region=region,
                endpoint_url=self._settings.endpoint_url,
                ca_bundle=None if files is None else files.authority,
            ),
        )

    def _started(self, parts: Parts) -> Started:
        default = parts.hosts.default
        return Started(
            settings=self._settings,
            default=default,
            registry_host=parts.hosts.host(default),
            root_key=parts.root_key,
            environment_file=self._write_environment(parts.root_key, default.region),
            ca_file=None if self._certificate is None else self._certificate.authority,
        )
