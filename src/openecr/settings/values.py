"""What the operator chose, as one frozen value."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from openecr.domain.registries import RegistryId

TlsChoice = Literal["off", "auto"]
LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
ServerSideEncryption = Literal["none", "AES256", "aws:kms"]

_REPOSITORY_HOST_WORDS = ("auto", "full")
_SCHEME_PORTS = {"http": 80, "https": 443}
_IPV4 = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """A bucket, and what its objects' names begin with: nothing, or something that ends in a slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """Where PostgreSQL is. `text` is as it was given, with the password that may be in it; `shown` is without."""

    text: str = field(repr=False)
    shown: str

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator chose. `limits` holds only what was changed; `account` None means the recorded default.

    `blobs` and `keys` None mean the folders of those names in the data folder, `database` None SQLite there.
    """

    data: Path
    database: DatabaseUrl | None
    database_connections: int
    migrate: bool
    keys: Path | None
    master_keys: tuple[str, ...] = field(repr=False)
    sealing_key: int | None
    keys_kms_keys: tuple[str, ...]
    keys_old: Path | None
    keys_kms_endpoint: str | None
    keys_kms_region: str | None
    keys_kms_ca_file: Path | None
    keys_kms_check_seconds: int
    keys_kms_trust_seconds: int
    blobs: Path | S3Place | None
    blobs_old: Path | S3Place | None
    host: str
    port: int
    account: str | None
    regions: tuple[str, ...]
    domains: tuple[str, ...]
    vanity_names: tuple[str, ...]
    repository_host: str
    tls: TlsChoice
    tls_cert: Path | None
    tls_key: Path | None
    force_http: bool
    trusted_proxies: tuple[str, ...]
    access_log: bool
    log_format: LogFormat
    log_level: LogLevel
    audit_retention_days: int
    audit_stream: str | None
    tokens_end_with_session: bool
    oidc_issuers: tuple[str, ...]
    oidc_ca_file: Path | None
    oidc_private_networks: tuple[str, ...]
    storage_min_free_bytes: int
    storage_min_free_ratio: float
    storage_encrypt_at_rest: bool
    s3_endpoint: str | None
    s3_region: str | None
    s3_path_style: bool
    s3_ca_file: Path | None
    s3_access_key_id: str | None
    s3_secret_access_key: str | None = field(repr=False)
    s3_server_side_encryption: ServerSideEncryption
    s3_kms_key_id: str | None
    s3_redirect: bool
    s3_redirect_seconds: int
    worker: bool
    connections: int
    idle_seconds: int
    shutdown_seconds: int
    limits: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def scheme(self) -> Literal["http", "https"]:
        """Return what the server speaks."""
        return "https" if self.tls == "auto" or self.tls_cert is not None else "http"

    @property
    def endpoint_url(self) -> str:
        """Return where clients on this machine reach the server."""
        if self.tls_cert is not None:  # a certificate of the operator's seldom names an address
            return f"https://{(*self.vanity_names, 'localhost')[0]}:{self.port}"
        address = ipaddress.ip_address(self.host)
        if address.is_unspecified:
            address = ipaddress.ip_address("127.0.0.1" if address.version == _IPV4 else "::1")
        name = str(address) if address.version == _IPV4 else f"[{address}]"
        return f"{self.scheme}://{name}:{self.port}"

    @property
    def plain_names(self) -> tuple[str, ...]:
        """Return the names, without ports, that mean the default registry, beside the loopback ones."""
        if self.repository_host in _REPOSITORY_HOST_WORDS:
            return self.vanity_names
        return (*self.vanity_names, self.repository_host.partition(":")[0])

    def registry_host(self, default: RegistryId) -> str:
        """Return the name, with its port, by which `repositoryUri` tells the default registry."""
        if self.repository_host == "auto":
            return f"localhost:{self.port}"
        if self.repository_host != "full":
            return self.repository_host
        return f"{default.account_id}.dkr.ecr.{default.region}.{self.domains[0]}{self.port_suffix}"

    @property
    def port_suffix(self) -> str:
        """Return what a host name is followed by: nothing where the port goes without saying."""
        return "" if self.port == _SCHEME_PORTS[self.scheme] else f":{self.port}"
