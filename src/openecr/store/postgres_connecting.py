"""Connecting to PostgreSQL as libpq does, where its URL or its environment says more than the driver knows.

Of several hosts one is taken that takes changes: reads, too, never come from a standby, which may lag behind.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

RawConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What asyncpg raises. A deadline that passes is an OSError too."""

_CONNECT_SECONDS = 10
_CONNECT_SECONDS_OF_MANY = 3
"""A host that is away must not use up the time of the others."""
_CONNECT_SECONDS_MAX = 60
_STATEMENTS_KEPT = 1024
_PORT = "5432"
_AT_START = ("application_name", "options")
"""All others are set afterwards: `default_transaction_read_only` would make a server look like a standby, and PgBouncer
takes few at the start."""

_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)

_IGNORED = frozenset(
    {
        "client_encoding",  # it is UTF-8
        "gssdelegation",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "sslcertmode",
        "sslcompression",
        "sslkeylogfile",
        "sslsni",  # sent, where TLS is used and the host is a name
        "tcp_user_timeout",
    }
)
"""What makes no connection less safe when it is not heeded (PostgreSQL manual, 34.1.2)."""

_TAKEN = {
    "channel_binding": ("PGCHANNELBINDING", frozenset({"prefer", "disable"})),
    "gssencmode": ("PGGSSENCMODE", frozenset({"prefer", "disable"})),
    "hostaddr": ("PGHOSTADDR", frozenset[str]()),
    "replication": (None, frozenset({"false", "off", "no", "0"})),
    "require_auth": ("PGREQUIREAUTH", frozenset[str]()),
    "requirepeer": ("PGREQUIREPEER", frozenset[str]()),
    "sslcrldir": ("PGSSLCRLDIR", frozenset[str]()),
    "target_session_attrs": ("PGTARGETSESSIONATTRS", frozenset({"any", "primary", "read-write"})),
}
"""Promises that the driver cannot keep, by the values that it can; whoever asks for others must hear of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a URL and libpq's environment say together. `hosts` is empty where there is no more than one."""

    url: str
    hosts: tuple[tuple[str, int], ...]
    target: str
    seconds: float
    settings: Mapping[str, str]


class Connector:
    """Makes connections to one database, first where the last one was made."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._last = 0

    async def connect(
        self, settings: Mapping[str, str], *, command_seconds: float | None = None
    ) -> RawConnection:
        """Connect, with settings of the server for the session.

        Whatever database and role say, a commit waits until it is on the disk, and on a standby's where the server
        waits for one. Raises DRIVER_ERRORS.
        """
        there = read_url(self._url, os.environ)
        if not there.hosts:
            return await _connect(there, settings, command_seconds, None)
        count = len(there.hosts)
        errors: list[Exception] = []
        for place in [(self._last + step) % count for step in range(count)]:
            try:
                connection = await _connect(there, settings, command_seconds, there.hosts[place])
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched) as error:
                errors.append(error)
                continue
            self._last = place
            return connection
        raise errors[0]


async def _connect(
    there: Destination,
    settings: Mapping[str, str],
    command_seconds: float | None,
    host: tuple[str, int] | None,
) -> RawConnection:
    address, port = host or (None, None)
    first = {name: value for name, value in settings.items() if name in _AT_START}
    later = [f"SET {name} = '{value}'" for name, value in settings.items() if name not in first]
    connection = await asyncpg.connect(
        there.url,
        host=address,
        port=port,
        timeout=there.seconds,
        command_timeout=command_seconds,
        statement_cache_size=_STATEMENTS_KEPT,
        max_cached_statement_lifetime=0,
        max_cacheable_statement_size=0,
        server_settings={**first, **there.settings},
        target_session_attrs=SessionAttribute(there.target),
    )
    try:
        await connection.execute("; ".join((*later, _DURABLE)))
    except BaseException:
        connection.terminate()
        raise
    return connection


def read_url(url: str, environment: Mapping[str, str]) -> Destination:
    """Read a URL that the settings have checked. Raises asyncpg.ClientConfigurationError for what cannot be kept."""
    parts = urlsplit(url)
    said = dict(parse_qsl(parts.query))
    settings: dict[str, str] = {}
    for name, (variable, taken) in _TAKEN.items():
        value = said.get(name) or (environment.get(variable) if variable else None)
        if value and value not in taken:
            raise _not_kept(name, value)
    options = said.pop("options", "") or environment.get("PGOPTIONS", "")
    if options:
        settings["options"] = options
    fallback = said.pop("fallback_application_name", "")
    application = said.pop("application_name", "") or environment.get("PGAPPNAME", "") or fallback
    if application:
        settings["application_name"] = application
    target = said.pop("target_session_attrs", "") or environment.get("PGTARGETSESSIONATTRS", "")
    hosts = _hosts(parts.netloc.rpartition("@")[2], said, environment)
    seconds = said.pop("connect_timeout", "") or environment.get("PGCONNECT_TIMEOUT", "")
    kept = {name: value for name, value in said.items() if name not in _IGNORED and name not in _TAKEN}
    return Destination(
        url=parts._replace(query=urlencode(kept)).geturl() if kept != dict(parse_qsl(parts.query)) else url,
        hosts=hosts,
        target=target or "read-write",
        seconds=_seconds(seconds, hosts),
        settings=settings,
    )


def _hosts(
    netloc: str, said: Mapping[str, str], environment: Mapping[str, str]
) -> tuple[tuple[str, int], ...]:
    """Return the hosts where there are several: the driver gives all of them together one deadline."""
    listed = unquote(netloc) or said.get("host") or environment.get("PGHOST", "")
    names = listed.split(",")
    if len(names) == 1 or "service" in said or "PGSERVICE" in environment:
        return ()
    ports = (said.get("port") or environment.get("PGPORT") or _PORT).split(",")
    if len(ports) not in {1, len(names)}:
        message = f"{len(names)} hosts and {len(ports)} ports do not fit"
        raise asyncpg.ClientConfigurationError(message)
    ports = ports * len(names) if len(ports) == 1 else ports
    return tuple(_host_and_port(name, port) for name, port in zip(names, ports, strict=True))


def _host_and_port(name: str, port: str) -> tuple[str, int]:
    if name.startswith("["):
        name, _, own = name[1:].partition("]")
        port = own.removeprefix(":") or port
    elif not name.startswith("/"):
        name, _, own = name.partition(":")
        port = own or port
    try:
        return name or "localhost", int(port)
    except ValueError:
        message = f"{port[:20]} is no port"
        raise asyncpg.ClientConfigurationError(message) from None


def _seconds(given: str, hosts: tuple[tuple[str, int], ...]) -> float:
    """How long one host may take. Zero is libpq's for ever, which a server cannot wait."""
    if given:
        try:
            seconds = int(given)
        except ValueError:
            raise _not_kept("connect_timeout", given) from None
        if seconds > 0:
            return min(seconds, _CONNECT_SECONDS_MAX)
    return _CONNECT_SECONDS_OF_MANY if hosts else _CONNECT_SECONDS


def _not_kept(name: str, value: str) -> asyncpg.ClientConfigurationError:
    return asyncpg.ClientConfigurationError(
        f"{name}={value[:100]} cannot be kept: OpenECR's driver has no such thing"
    )
