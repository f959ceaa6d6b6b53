"""The checks of `openecr doctor`."""

import asyncio
import enum
import os
import shutil
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openecr.adapters import tls
from openecr.adapters.clocks import SystemClock
from openecr.adapters.data_folder import is_strange
from openecr.adapters.env_file import FILE_NAME
from openecr.adapters.listening import check_port
from openecr.adapters.private_files import others_may_read
from openecr.cli.control import ask
from openecr.domain.errors import OperatorError
from openecr.settings import DatabaseUrl, Settings
from openecr.store.postgres_migrating import SchemaState, examine_postgresql, find_weaknesses
from openecr.web.control import Command

_EARLIEST_AT = 1_750_000_000_000_000
"""June 2025, before this program was written: a clock that tells less is wrong."""

_CLOCK_TOLERANCE_SECONDS = 60
_SECOND = 1_000_000
_CONNECT_SECONDS = 5


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    level: Level
    text: str
    mend: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Check everything, in the order in which things fail at a start."""
    yield from _data_folder(settings)
    if settings.database is not None:
        yield from _database(settings.database, may_migrate=settings.migrate)
    server = _server(settings)
    yield _port(settings, server)
    yield from _names(settings)
    yield _clock(settings.data)
    yield _space(settings)
    yield from _tls(settings, is_running=server is not None)


def _ok(text: str) -> Finding:
    return Finding(level=Level.OK, text=text)


def _note(text: str, mend: str = "") -> Finding:
    return Finding(level=Level.NOTE, text=text, mend=mend)


def _problem(text: str, mend: str) -> Finding:
    return Finding(level=Level.PROBLEM, text=text, mend=mend)


def _data_folder(settings: Settings) -> Iterator[Finding]:
    data, keys = settings.data, settings.keys or settings.data / "keys"
    if not data.exists():
        parent = next(folder for folder in data.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield _ok(f"the data folder {data} will be made at the first start")
        else:
            yield _problem(f"{data} cannot be made: {parent} is not writable", "choose another --data")
        return
    if not data.is_dir() or not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield _problem(
            f"{data} is no folder that this user may write to", "chown it, or choose another --data"
        )
        return
    if is_strange(data):
        yield _problem(f"{data} holds other things than OpenECR's data", "give --data a new or empty folder")
        return
    exposed = [path for path in _private_paths(data, keys) if others_may_read(path)]
    for path in exposed:
        mode = "700" if path.is_dir() else "600"
        yield _problem(f"others may read {path}", f"chmod {mode} {path}")
    has_keys = bool(settings.master_keys or settings.keys_kms_keys) or any(keys.glob("master-*.key"))
    if (data / "metadata.sqlite").exists() and not has_keys:
        yield _problem(f"{keys} holds no master key", "put master-*.key back from your backup")
    elif not exposed:
        yield _ok(f"the data folder {data} is writable and private")


def _private_paths(data: Path, keys: Path) -> list[Path]:
    secret = [
        data,
        data / FILE_NAME,
        keys,
        *keys.glob("*.key"),
        *(data / "tls").glob("*.key"),
    ]
    return [path for path in secret if path.exists()]


def _database(url: DatabaseUrl, *, may_migrate: bool) -> Iterator[Finding]:
    try:
        state = asyncio.run(examine_postgresql(url.text))
        weaknesses = asyncio.run(find_weaknesses(url.text))
    except OperatorError as error:
        yield _problem(f"{url}: {error.message}", "start PostgreSQL; check --database and libpq's variables")
        return
    for weakness in weaknesses:
        yield _problem(
            f"{url} has {weakness}: a crash may lose what was acknowledged", "turn it on in postgresql.conf"
        )
    if state is SchemaState.OLDER and not may_migrate:
        yield _problem(f"{url} has an earlier version's schema", "openecr migrate, or --migrate")
        return
    told = {
        SchemaState.EMPTY: "is empty; the first start makes the schema",
        SchemaState.OLDER: "has an earlier version's schema; the start brings it up to date",
        SchemaState.CURRENT: "answers, its schema up to date",
        SchemaState.NEWER: "answers, its schema a newer version's that this one can work with",
    }
    yield _ok(f"{url} {told[state]}")


def _server(settings: Settings) -> dict[str, Any] | None:
    """Return what the server that runs on this folder says of itself, or None."""
    try:
        return ask(settings.data, Command(command="status"))
    except OperatorError:
        return None


def _port(settings: Settings, server: dict[str, Any] | None) -> Finding:
    where = f"port {settings.port} of {settings.host}"
    if server is not None:
        endpoint, pid = server.get("endpoint", ""), server.get("pid", "")
        return _ok(f"a server runs on this data folder: process {pid} at {endpoint}")
    try:
        check_port(settings.host, settings.port)
    except OperatorError as error:
        return _problem(error.message, f"find it: ss -ltnp 'sport = :{settings.port}'")
    return _ok(f"{where} is free")


def _names(settings: Settings) -> Iterator[Finding]:
    """Look up the names that clients are told. A name that is not told by default is only noted."""
    account = settings.account or "000000000000"
    full = [f"{account}.dkr.ecr.{region}.{settings.domains[0]}" for region in settings.regions]
    told = [urllib.parse.urlsplit(settings.endpoint_url).hostname or ""]
    told += (
        [settings.repository_host.partition(":")[0]]
        if settings.repository_host not in {"auto", "full"}
        else []
    )
    told += full if settings.repository_host == "full" else full[1:]
    missing = [name for name in dict.fromkeys((*told, *settings.vanity_names)) if not _resolves(name)]
    if missing:
        yield _problem(f"names do not resolve: {', '.join(missing)}", _hosts_line(settings, missing))
    else:
        yield _ok("the names that clients are told resolve")
    if full[0] not in told and not _resolves(full[0]):
        yield _note(
            f"{full[0]} does not resolve here; localhost:{settings.port} means the same registry",
            _hosts_line(settings, [full[0]]),
        )


def _resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return False


def _hosts_line(settings: Settings, names: list[str]) -> str:
    address = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104 -- compared
    return f"echo '{address} {' '.join(names)}' | sudo tee -a /etc/hosts   (or real DNS)"


def _clock(data: Path) -> Finding:
    now_at = SystemClock().now()
    mend = "set the clock: sudo timedatectl set-ntp true"
    if now_at < _EARLIEST_AT:
        return _problem("the clock is years behind: signatures and certificates will fail", mend)
    files = [path for path in (data / "metadata.sqlite", data / "metadata.sqlite-wal") if path.exists()]
    newest_at = max((path.stat().st_mtime_ns // 1_000 for path in files), default=0)
    if newest_at > now_at + _CLOCK_TOLERANCE_SECONDS * _SECOND:
        return _problem("the database was written in the future: the clock was set back, or was wrong", mend)
    return _ok("the clock is plausible")


def _space(settings: Settings) -> Finding:
    folder = next(path for path in (settings.data, *settings.data.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    reserve = max(settings.storage_min_free_bytes, int(settings.storage_min_free_ratio * usage.total))
    text = f"{usage.free / 2**30:.1f} GiB are free; uploads are refused below {reserve / 2**30:.1f} GiB"
    if usage.free < reserve:
        return _problem(text, "delete images, make room, or lower --storage-min-free-bytes and -ratio")
    return _ok(text)


def _tls(settings: Settings, *, is_running: bool) -> Iterator[Finding]:
    files = _tls_files(settings)
    if files is None:
        yield (
            _ok("plain HTTP")
            if not settings.force_http
            else _note("plain HTTP is forced: others can listen in")
        )
        return
    if settings.tls == "auto" and not files.certificate.exists():
        yield _ok("the local CA and the certificate will be made at the first start")
        return
    problems = tls.check_certificate(files, now_at=SystemClock().now())
    mend = (
        "restart the server, which renews it" if settings.tls == "auto" else "install a renewed certificate"
    )
    for problem in problems:
        yield _problem(problem, mend)
    if not problems:
        yield _ok(f"the certificate {files.certificate} is in order")
    if files.authority is not None:
        yield from _trust(settings, files.authority)
    if is_running:
        yield _handshake(settings, files)


def _tls_files(settings: Settings) -> tls.TlsFiles | None:
    if settings.tls_cert is not None and settings.tls_key is not None:
        return tls.TlsFiles(certificate=settings.tls_cert, key=settings.tls_key)
    if settings.tls == "auto":
        return tls.certificate_files(settings.data)
    return None


def _trust(settings: Settings, authority: Path) -> Iterator[Finding]:
    """Compare what docker and podman were told to trust with the CA of today."""
    host = f"localhost:{settings.port}" if settings.repository_host == "auto" else settings.repository_host
    hints = tls.trust_hints(authority, [host])
    for program, folder, hint in zip(
        ("docker", "podman"), ("/etc/docker/certs.d", "/etc/containers/certs.d"), hints, strict=False
    ):
        trusted = Path(folder) / host / "ca.crt"
        command = hint.partition(":")[2].strip()
        if not trusted.exists():
            yield _note(f"{program} was not told to trust the CA for {host}", command)
        elif trusted.read_bytes() != authority.read_bytes():
            yield _problem(f"{trusted} is another CA's", command)
        else:
            yield _ok(f"{program} trusts the CA for {host}")


def _handshake(settings: Settings, files: tls.TlsFiles) -> Finding:
    endpoint = urllib.parse.urlsplit(settings.endpoint_url)
    context = ssl.create_default_context(cafile=None if files.authority is None else str(files.authority))
    name = endpoint.hostname or ""
    try:
        with (
            socket.create_connection((name, settings.port), timeout=_CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            return _ok(f"the server's certificate is trusted for {name}")
    except OSError as error:  # ssl.SSLError among them
        return _problem(
            f"TLS to {settings.endpoint_url} failed: {error}", "restart the server; check its names"
        )
