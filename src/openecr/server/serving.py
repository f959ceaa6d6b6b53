"""Serving: from the start to the end of a server's process."""

import asyncio
import gc
import ipaddress
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import structlog
import uvloop
from granian.server.embed import Server as GranianServer

from openecr.adapters import tls
from openecr.adapters.clocks import SystemClock
from openecr.adapters.connections import address_of, end_idle_connections
from openecr.adapters.data_folder import DataFolder
from openecr.adapters.descriptors import raise_descriptor_limit
from openecr.adapters.env_file import ClientEnvironment, write_environment
from openecr.adapters.ids import SystemIds
from openecr.adapters.listening import check_port, wait_until_listening
from openecr.domain.accounts import RootKey
from openecr.domain.errors import CannotStart
from openecr.domain.registries import RegistryId
from openecr.jobs.routines import Routine, run_routines
from openecr.jobs.worker import Worker
from openecr.server.composition import Parts, compose
from openecr.server.jobs import kinds_of, routines_of
from openecr.server.keys import add_key
from openecr.server.starting import started
from openecr.server.stopping import Stopping, end_work
from openecr.settings import Settings
from openecr.store.database import DatabaseFailed
from openecr.web.control import ControlServer
from openecr.web.granian_server import make_server
from openecr.web.rsgi import RsgiApplication
from openecr.web.work_commands import WorkCommands

_LOG = structlog.get_logger(__name__)

_LOOKS_PER_IDLE_TIME = 4
"""How often idle connections are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the operator is told once the server answers."""

    settings: Settings
    default: RegistryId
    registry_host: str
    root_key: RootKey
    environment_file: Path
    ca_file: Path | None


def run(settings: Settings, announce: Callable[[Started], None]) -> int:
    """Serve until a signal, and return the exit status. Raises CannotStart."""
    _check_transport(settings)
    with DataFolder.acquire(settings.data) as folder:
        check_port(settings.host, settings.port)
        raise_descriptor_limit()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_Serving(settings, folder, announce).serve())


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

    def __init__(self, settings: Settings, folder: DataFolder, announce: Callable[[Started], None]) -> None:
        self._settings = settings
        self._folder = folder
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
            composing = compose(
                self._settings, self._folder, clock=SystemClock(), ids=SystemIds(), on_failure=fail
            )
            async with started(composing, self._stop) as parts:
                if parts is not None:
                    await self._serve(parts)
        except DatabaseFailed as error:
            self._failure = self._failure or error
        if self._failure is not None:
            _LOG.critical("stopped: the database failed", error=repr(self._failure))
            return 1
        return 0

    async def _serve(self, parts: Parts) -> None:
        told = self._told(parts)  # the `env` file is there before anybody is answered
        application = RsgiApplication(parts.web.handle, idle_seconds=self._settings.idle_seconds)
        granian = self._granian(application)
        serving = asyncio.create_task(granian.serve())  # noqa: TID251 -- the server's own; ended in _shut_down
        jobs = asyncio.create_task(self._work(parts, self._idle_connections(application)))  # noqa: TID251 -- the same
        control = self._control(parts)
        await control.start()
        try:
            await wait_until_listening(self._settings.host, self._settings.port, serving)
            self._announce(told)
            gc.collect()
            gc.freeze()  # what was made until now stays: no collection while serving has to walk through it
            stopping = asyncio.create_task(self._stop.wait())  # noqa: TID251 -- ended below
            await asyncio.wait({stopping, serving, jobs}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        finally:
            await self._shut_down(granian, application, serving, jobs, control, stopping=parts.stopping)

    async def _work(self, parts: Parts, *routines: Routine) -> None:
        """Do what is to be done beside requests, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(partial(run_routines, *routines_of(parts), *routines))
            if self._settings.worker:
                worker = Worker(parts.jobs, kinds_of(parts), ids=SystemIds())
                # Of an embedded server's database there is no other worker.
                group.start_soon(partial(worker.run, is_alone=self._settings.database is None))

    async def _shut_down(
        self,
        granian: GranianServer,
        application: RsgiApplication,
        serving: "asyncio.Task[None]",
        jobs: "asyncio.Task[None]",
        control: ControlServer,
        *,
        stopping: Stopping,
    ) -> None:
        """Stop listening, let requests finish or cancel them, then stop what works behind them."""
        stopping.for_requests()  # its time begins
        granian.stop()  # type: ignore[no-untyped-call]  # Granian leaves it untyped
        await control.close()
        cancelled = await application.stop(
            patience_seconds=stopping.for_requests(), cancel_seconds=stopping.reserve_seconds
        )
        if cancelled:
            _LOG.warning("requests were cancelled", requests=cancelled)
        await end_work(jobs, stopping)
        with suppress(TimeoutError, asyncio.CancelledError):  # files are sent without the application
            await asyncio.wait_for(serving, stopping.for_responses())

    def _idle_connections(self, application: RsgiApplication) -> Routine:
        """Who is served is never idle: the application bounds the time of bodies itself."""
        idle_seconds = self._settings.idle_seconds

        async def end() -> None:
            busy = {address_of(client) for client in application.clients()}
            ended = end_idle_connections(self._settings.port, idle_seconds=idle_seconds, busy=busy)
            if ended:
                _LOG.info("idle connections were ended", connections=ended)

        return Routine(name="idle connections", run=end, interval_seconds=idle_seconds / _LOOKS_PER_IDLE_TIME)

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
            work=WorkCommands(
                jobs=parts.jobs,
                kinds=[kind.name for kind in kinds_of(parts)],
                collection=parts.collection,
                rewrapping=parts.rewrapping,
                keys=parts.keys,
                add_key=partial(add_key, self._settings, parts.metadata, parts.master_keys),
            ),
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

    def _told(self, parts: Parts) -> Started:
        default = parts.hosts.default
        return Started(
            settings=self._settings,
            default=default,
            registry_host=parts.hosts.host(default),
            root_key=parts.root_key,
            environment_file=self._write_environment(parts.root_key, default.region),
            ca_file=None if self._certificate is None else self._certificate.authority,
        )
