"""The table of settings: flags, variables, the file's keys and docs/settings.md all come from its rows."""

import ipaddress
import re
from typing import Annotated

import msgspec

from openecr.domain.registries import is_account_id, is_region
from openecr.settings.database import DATABASE_SETTINGS
from openecr.settings.s3 import BLOBS, BLOBS_OLD, S3_SETTINGS
from openecr.settings.setting import STRINGS, Setting, check_path
from openecr.settings.values import LogFormat, LogLevel, TlsChoice

_MIB = 1024 * 1024
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII)
_ISSUER = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[^?#\s]{0,512})?", re.ASCII)
_HOST_AND_PORT = re.compile(r"(?P<host>[^:]+)(:[0-9]{1,5})?", re.ASCII)


def _check_host(value: str) -> None:
    if value != "localhost":
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ValueError("it is an IP address or localhost") from None


def _check_account(value: str) -> None:
    if not is_account_id(value):
        raise ValueError("an account id has twelve digits")


def _check_regions(values: tuple[str, ...]) -> None:
    if not values or not all(map(is_region, values)) or len(set(values)) != len(values):
        raise ValueError("it needs at least one region such as us-east-1, each once")


def _check_domains(values: tuple[str, ...]) -> None:
    if not values:
        raise ValueError("it needs at least one domain")
    _check_names(values)


def _check_names(values: tuple[str, ...]) -> None:
    for value in values:
        if _HOST_NAME.fullmatch(value) is None:
            raise ValueError(f"{value!r} is no host name in lower case, without a port")


def _check_repository_host(value: str) -> None:
    match = _HOST_AND_PORT.fullmatch(value)
    if match is None or _HOST_NAME.fullmatch(match["host"]) is None:
        raise ValueError("it is auto, full, or a host name with or without a port")


def _check_networks(values: tuple[str, ...]) -> None:
    for value in values:
        try:
            ipaddress.ip_network(value)
        except ValueError:
            raise ValueError(f"{value!r} is no network such as 10.0.0.0/8") from None


def _check_issuers(values: tuple[str, ...]) -> None:
    for value in values:
        if _ISSUER.fullmatch(value) is None:
            raise ValueError(f"{value!r} is no https URL without query and fragment")


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="data",
        flag="--data",
        kind=str,
        default="",
        default_text="`openecr` in the user's data home (`~/.local/share/openecr`)",
        check=check_path,
        description="Folder that holds everything: database, blobs, keys, the `env` file.",
    ),
    *DATABASE_SETTINGS,
    BLOBS,
    BLOBS_OLD,
    Setting(
        name="host",
        flag="--host",
        kind=str,
        default="127.0.0.1",
        check=_check_host,
        description="Address to listen on. Off loopback it needs TLS, or `force_http`.",
    ),
    Setting(
        name="port",
        flag="--port",
        kind=Annotated[int, msgspec.Meta(ge=1, le=65535)],
        default=5050,
        description="TCP port to listen on, for both faces.",
    ),
    Setting(
        name="account",
        flag="--account",
        kind=str,
        default=None,
        default_text="the recorded one; `000000000000` at the first start",
        check=_check_account,
        description="Default account, twelve digits: plain names mean it. It is made, with a root access key, "
        "where it is missing.",
    ),
    Setting(
        name="regions",
        flag="--region",
        kind=STRINGS,
        default=("us-east-1",),
        check=_check_regions,
        description="Regions that are served. Plain names mean the first.",
    ),
    Setting(
        name="domains",
        flag="--domain",
        kind=STRINGS,
        default=("localhost",),
        check=_check_domains,
        description="Domains of the registry names `<account>.dkr.ecr.<region>.<domain>`. The first is the one "
        "told to clients.",
    ),
    Setting(
        name="vanity_names",
        flag="--vanity-name",
        kind=STRINGS,
        default=(),
        check=_check_names,
        description="More host names that mean the default account in the first region.",
    ),
    Setting(
        name="repository_host",
        flag="--repository-host",
        kind=str,
        default="auto",
        check=_check_repository_host,
        description="How `repositoryUri` and `proxyEndpoint` name the default registry: `auto` is "
        "`localhost:<port>`, `full` is its full name, anything else is taken as it stands (`host` or "
        "`host:port`). Every other registry has its full name.",
    ),
    Setting(
        name="tls",
        flag="--tls",
        kind=TlsChoice,
        default="off",
        description="`auto` makes a local CA and a certificate for every name of the registry.",
    ),
    Setting(
        name="tls_cert",
        flag="--tls-cert",
        kind=str,
        default=None,
        default_text="none",
        check=check_path,
        description="PEM file with a certificate of yours and its chain; needs `tls_key`.",
    ),
    Setting(
        name="tls_key",
        flag="--tls-key",
        kind=str,
        default=None,
        default_text="none",
        check=check_path,
        description="PEM file with the certificate's private key, without a passphrase.",
    ),
    Setting(
        name="force_http",
        flag="--force-http",
        kind=bool,
        default=False,
        description="Serve plain HTTP off loopback too: passwords and images can be read on the way.",
    ),
    Setting(
        name="trusted_proxies",
        flag="--trusted-proxy",
        kind=STRINGS,
        default=(),
        check=_check_networks,
        description="Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` headers are believed.",
    ),
    Setting(
        name="access_log",
        flag="--access-log",
        kind=bool,
        default=False,
        description="Log a line for every request.",
    ),
    Setting(
        name="log_format",
        flag="--log-format",
        kind=LogFormat,
        default="auto",
        description="`json` writes a JSON document per line, `console` a line to read; `auto` is `console` on a "
        "terminal, else `json`.",
    ),
    Setting(
        name="log_level",
        flag="--log-level",
        kind=LogLevel,
        default="info",
        description="Least important level that is logged.",
    ),
    Setting(
        name="audit_retention_days",
        key="audit.retention_days",
        flag="--audit-retention-days",
        kind=Annotated[int, msgspec.Meta(ge=1, le=3650)],
        default=90,
        description="Events of the audit trail, and explanations of denials, are kept for so many days.",
    ),
    Setting(
        name="audit_stream",
        key="audit.stream",
        flag="--audit-stream",
        kind=str,
        default=None,
        default_text="none",
        check=check_path,
        description="File to which every event of the audit trail is appended as a line of JSON; `-` is standard "
        "output. It may be renamed at any time: the next events make a new one. Of the processes of one database one "
        "writes each event: give it to all of them, to `openecr worker` too.",
    ),
    Setting(
        name="tokens_end_with_session",
        key="tokens.end_with_session",
        flag="--tokens-end-with-session",
        kind=bool,
        default=False,
        description="An authorization token of temporary credentials ends with them, if that is before its twelve "
        "hours.",
    ),
    Setting(
        name="oidc_issuers",
        key="oidc.issuers",
        flag="--oidc-issuer",
        kind=STRINGS,
        default=(),
        check=_check_issuers,
        description="OpenID Connect issuers whose tokens may stand for roles (`AssumeRoleWithWebIdentity`), such as "
        "`https://token.actions.githubusercontent.com`; an account names those that it trusts as well.",
    ),
    Setting(
        name="oidc_ca_file",
        key="oidc.ca_file",
        flag="--oidc-ca-file",
        kind=str,
        default=None,
        default_text="none",
        check=check_path,
        description="PEM file with certificates that issuers are trusted by, beside those of the system.",
    ),
    Setting(
        name="oidc_private_networks",
        key="oidc.private_networks",
        flag="--oidc-private-network",
        kind=STRINGS,
        default=(),
        check=_check_networks,
        description="Private networks in which issuers may be asked for their keys, such as `10.1.2.0/24`.",
    ),
    Setting(
        name="storage_min_free_bytes",
        key="storage.min_free_bytes",
        flag="--storage-min-free-bytes",
        kind=Annotated[int, msgspec.Meta(ge=0)],
        default=1024 * _MIB,
        description="Pushes are refused while less than this is free, so that deletes can always run.",
    ),
    Setting(
        name="storage_min_free_ratio",
        key="storage.min_free_ratio",
        flag="--storage-min-free-ratio",
        kind=Annotated[float, msgspec.Meta(ge=0, lt=1)],
        default=0.02,
        description="The same as a part of the file system's size. The larger one counts.",
    ),
    Setting(
        name="storage_encrypt_at_rest",
        key="storage.encrypt_at_rest",
        flag="--storage-encrypt-at-rest",
        kind=bool,
        default=True,
        description="Seal what is uploaded under the server's key ring. Where disks are encrypted already, `false` "
        "sends files without opening them. Both are read either way; where it is on, a job seals what is in clear.",
    ),
    *S3_SETTINGS,
    Setting(
        name="worker",
        flag="--worker",
        kind=bool,
        default=True,
        description="Do background work, such as collection, beside serving. Where several servers share a database, "
        "`openecr worker` can do it elsewhere.",
    ),
    Setting(
        name="connections",
        flag="--connections",
        kind=Annotated[int, msgspec.Meta(ge=1, le=65_536)],
        default=1_024,
        description="Connections that are served at once; more wait until one ends.",
    ),
    Setting(
        name="idle_seconds",
        flag="--idle-seconds",
        kind=Annotated[int, msgspec.Meta(ge=1, le=3600)],
        default=60,
        description="A connection, a request's body or the reading of an answer that makes no progress for so long "
        "is ended.",
    ),
    Setting(
        name="shutdown_seconds",
        flag="--shutdown-seconds",
        kind=Annotated[int, msgspec.Meta(ge=1, le=3600)],
        default=30,
        description="The server is gone this long after SIGTERM, whatever its clients do.",
    ),
)
