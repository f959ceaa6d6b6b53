"""Host names: which registry a host means, and which name a registry is told by.

Shapes: ECR user guide ("Amazon ECR endpoints"); `<account>.dkr.ecr.<region>.<domain>`, its FIPS and dual-stack forms.
"""

import ipaddress
import re
from collections.abc import Sequence

from openecr.domain.errors import RegistryNotServed
from openecr.domain.registries import RegistryId

AWS_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "on.aws", "on.amazonwebservices.com.cn")
"""Served too, for whoever points real ECR names at this server."""

_REGISTRY_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]{1,40})\.(?P<domain>[a-z0-9.-]{1,253})",
    re.ASCII,
)
_HOST_MAX_CHARACTERS = 255
_CACHE_HOSTS = 1024


class RegistryHosts:
    """Reads and writes the registry's host names. Chosen once at start."""

    def __init__(
        self,
        *,
        default: RegistryId,
        regions: Sequence[str],
        domains: Sequence[str],
        plain_names: Sequence[str],
        scheme: str,
        port: int,
        default_host: str,
    ) -> None:
        """`default_host` is how the default registry is told, port included; `plain_names` mean it as well."""
        self._default = default
        self._regions = frozenset(regions)
        self._domains = tuple(domains)
        self._served_domains = frozenset((*domains, *AWS_DOMAINS))
        self._plain_names = frozenset(("localhost", *(name.lower() for name in plain_names)))
        self._scheme = scheme
        self._port = port
        self._default_host = default_host
        self._cache: dict[str, RegistryId] = {}

    @property
    def default(self) -> RegistryId:
        """Return the registry that plain names mean."""
        return self._default

    def resolve(self, host: str) -> RegistryId:
        """Return the registry that a Host header means. Raises RegistryNotServed."""
        known = self._cache.get(host)
        if known is not None:
            return known
        registry = self._parse(_without_port(host.lower()))
        if len(self._cache) < _CACHE_HOSTS:
            self._cache[host] = registry
        return registry

    def host(self, registry: RegistryId) -> str:
        """Return the name, with its port, by which clients reach a registry."""
        if registry == self._default:
            return self._default_host
        name = f"{registry.account_id}.dkr.ecr.{registry.region}.{self._domains[0]}"
        return name if self._port == self._scheme_port else f"{name}:{self._port}"

    def endpoint(self, registry: RegistryId) -> str:
        """Return the registry's URL, without a path: ECR's `proxyEndpoint`."""
        return f"{self._scheme}://{self.host(registry)}"

    def repository_uri(self, registry: RegistryId, repository_name: str) -> str:
        """Return what `docker pull` takes."""
        return f"{self.host(registry)}/{repository_name}"

    @property
    def _scheme_port(self) -> int:
        return 443 if self._scheme == "https" else 80

    def _parse(self, name: str) -> RegistryId:
        match = _REGISTRY_HOST.fullmatch(name)
        if match is not None and match["domain"] in self._served_domains:
            if match["region"] not in self._regions:
                raise RegistryNotServed(message=f"The region '{match['region']}' is not served here")
            return RegistryId(account_id=match["account"], region=match["region"])
        if name in self._plain_names or _is_loopback(name):
            return self._default
        raise RegistryNotServed(
            message=f"Could not resolve registry id from host {name[:_HOST_MAX_CHARACTERS]}"
        )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") <= 1 else host


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
