"""OpenID Connect providers over HTTPS: their keys, kept, and the signatures that these prove.

Whoever can name an issuer in a token makes this server ask it, so the asking is narrow: issuers that the operator
allows, TLS, no redirect, no address of a private network that is not listed, little time and few bytes. Sources: OpenID
Connect Discovery 1.0, section 4; RFC 7517; RFC 8725, sections 3.1 and 3.2.
"""

import asyncio
import base64
import errno
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import structlog
from joserfc import jwk, jws
from joserfc.errors import JoseError

from openecr.domain.sts_errors import IdentityProviderUnreachable, InvalidIdentityToken
from openecr.ports.clock import Clock

_LOG = structlog.get_logger(__name__)

DISCOVERY_PATH = "/.well-known/openid-configuration"
MAX_BYTES = 1024 * 1024
TIMEOUT_SECONDS = 5.0
FRESH_SECONDS = 60 * 60
STALE_SECONDS = 24 * 60 * 60
"""So long keys are used when the provider cannot be asked for new ones."""

REFETCH_SECONDS = 60
"""A key that is not known is asked for at most this often, and so is a provider that did not answer."""

_SECOND = 1_000_000
_KEYS_MAX = 100
_RSA_MIN_BITS = 2_048
_URL_MAX_CHARACTERS = 2_048
_ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
}
"""Algorithms by the type of key and the curve that they need (RFC 7518, section 3.1)."""

_Key = jwk.RSAKey | jwk.ECKey
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_Address = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
"""What a name is resolved to: as `socket.socket` takes it, and where to connect."""


@dataclass(slots=True)
class _Known:
    """What is known of an issuer. Instants of the last answer and the last attempt."""

    keys: Sequence[_Key] = ()
    fetched_at: int | None = None
    tried_at: int | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class _Refused(Exception):
    """An answer that is not taken; the text is for the log."""


class OidcProviders:
    """Proves tokens of OpenID Connect providers."""

    def __init__(
        self,
        *,
        clock: Clock,
        ca_file: Path | None = None,
        private_networks: Sequence[str] = (),
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """`ca_file`: certificates (PEM) that are trusted beside those of the system."""
        self._clock = clock
        self._tls = ssl.create_default_context()
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=str(ca_file))
        self._networks = tuple(ipaddress.ip_network(network) for network in private_networks)
        self._timeout = timeout_seconds
        self._known: dict[str, _Known] = {}

    async def verify(self, token: str, *, issuer: str) -> Mapping[str, object]:
        """Return the claims of a token that a key of this issuer has signed."""
        algorithm, key_id = _head(token)
        known = self._known.setdefault(issuer, _Known())
        key = _find(known.keys, algorithm, key_id)
        if key is None or not self._is_younger(known.fetched_at, FRESH_SECONDS):
            key = await self._ask(issuer, known, algorithm, key_id)
        try:
            signed = jws.deserialize_compact(token, key, algorithms=[algorithm])
            claims: object = json.loads(signed.payload)
        except (JoseError, ValueError, RecursionError) as error:
            raise InvalidIdentityToken(message="The ID Token's signature is invalid") from error
        if not isinstance(claims, dict):
            raise InvalidIdentityToken(message="The ID Token has no claims")
        return cast("dict[str, object]", claims)

    async def _ask(self, issuer: str, known: _Known, algorithm: str, key_id: str | None) -> _Key:
        """Fetch the keys, unless that was just tried; one request at a time asks, the others wait for it."""
        async with known.lock:
            if not self._is_younger(known.tried_at, REFETCH_SECONDS):
                known.tried_at = self._clock.now()
                try:
                    known.keys = await self._fetch(issuer)
                    known.fetched_at = self._clock.now()
                except (_Refused, aiohttp.ClientError, TimeoutError, OSError, ValueError, JoseError) as error:
                    _LOG.warning("an identity provider tells no keys", issuer=issuer, error=str(error)[:512])
        if not self._is_younger(known.fetched_at, STALE_SECONDS):
            raise IdentityProviderUnreachable(
                message="Couldn't retrieve verification key from your identity provider, please reference "
                "AssumeRoleWithWebIdentity documentation for requirements"
            )
        key = _find(known.keys, algorithm, key_id)
        if key is None:
            raise InvalidIdentityToken(
                message="Couldn't retrieve verification key from your identity provider, please reference "
                "AssumeRoleWithWebIdentity documentation for requirements"
            )
        return key

    def _is_younger(self, instant_at: int | None, seconds: int) -> bool:
        return instant_at is not None and self._clock.now() - instant_at < seconds * _SECOND

    async def _fetch(self, issuer: str) -> Sequence[_Key]:
        connector = aiohttp.TCPConnector(
            ssl=self._tls, socket_factory=self._socket, force_close=True, use_dns_cache=False
        )
        async with (
            asyncio.timeout(self._timeout),
            aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        ):
            document = await _get(session, issuer.rstrip("/") + DISCOVERY_PATH)
            if document.get("issuer") != issuer:
                raise _Refused("the discovery document is another issuer's")
            return _keys_of(await _get(session, document.get("jwks_uri")))

    def _socket(self, address: _Address) -> socket.socket:
        """Make the socket for an address that may be connected to: whatever name or redirect led here."""
        family, kind, protocol, _, destination = address
        if not self._may_connect(str(destination[0])):
            raise OSError(errno.EACCES, f"{destination[0]} is an address of a private network")
        made = socket.socket(family, kind, protocol)
        made.settimeout(0)
        return made

    def _may_connect(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._networks):
            return True
        return address.is_global and not address.is_multicast


async def _get(session: aiohttp.ClientSession, url: object) -> Mapping[str, object]:
    """Return a JSON object. Raises _Refused, ValueError, and what the client raises."""
    if not isinstance(url, str) or len(url) > _URL_MAX_CHARACTERS:
        raise _Refused("there is no URL")
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        raise _Refused(f"{url} is no https URL")
    headers = {"accept": "application/json", "accept-encoding": "identity"}
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != HTTPStatus.OK:
            raise _Refused(f"{url} answers {response.status}")
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > MAX_BYTES:
                raise _Refused(f"{url} answers more than {MAX_BYTES} bytes")
    try:
        document: object = json.loads(content)
    except RecursionError as error:
        raise _Refused(f"{url} answers what nests too deep") from error
    if not isinstance(document, dict):
        raise _Refused(f"{url} answers no JSON object")
    return cast("dict[str, object]", document)


def _keys_of(document: Mapping[str, object]) -> Sequence[_Key]:
    """Return the keys for signatures of a key set; those that nothing here can use are left out."""
    members = document.get("keys")
    if not isinstance(members, list) or len(cast("list[object]", members)) > _KEYS_MAX:
        raise _Refused("the key set has no keys, or too many")
    keys: list[_Key] = []
    for member in cast("list[object]", members):
        if not isinstance(member, dict) or cast("dict[str, object]", member).get("use", "sig") != "sig":
            continue
        key = _key(cast("dict[str, Any]", member))
        if key is not None:
            keys.append(key)
    return keys


def _key(member: dict[str, Any]) -> _Key | None:
    public = {name: value for name, value in member.items() if name in _PUBLIC_MEMBERS}
    try:
        match member.get("kty"):
            case "RSA":
                # Looked at before: joserfc takes a weak key, and warns.
                is_strong = len(_decoded(public["n"])) * 8 >= _RSA_MIN_BITS
                return jwk.RSAKey.import_key(public) if is_strong else None
            case "EC":
                return jwk.ECKey.import_key(public)
            case _:
                return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


_PUBLIC_MEMBERS = frozenset({"kty", "kid", "alg", "use", "n", "e", "crv", "x", "y"})


def _head(token: str) -> tuple[str, str | None]:
    """Return the algorithm and the key's id that a token names. Raises InvalidIdentityToken."""
    head = token.partition(".")[0]
    try:
        members: object = json.loads(_decoded(head))
    except (ValueError, RecursionError) as error:
        raise InvalidIdentityToken(message="The ID Token provided is not a valid JWT") from error
    named = cast("dict[str, object]", members) if isinstance(members, dict) else {}
    algorithm, key_id = named.get("alg"), named.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise InvalidIdentityToken(message="The ID Token is signed with an algorithm that is not allowed")
    if key_id is not None and not isinstance(key_id, str):
        raise InvalidIdentityToken(message="The ID Token provided is not a valid JWT")
    return algorithm, key_id


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _find(keys: Sequence[_Key], algorithm: str, key_id: str | None) -> _Key | None:
    """Return the key of that id which the algorithm can use; without an id, the only one that it can."""
    kind, curve = _ALGORITHMS[algorithm]
    fitting = [
        key
        for key in keys
        if key.key_type == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key_id in {None, key.kid}
    ]
    if not fitting or (key_id is None and len(fitting) > 1):
        return None
    return fitting[0]
