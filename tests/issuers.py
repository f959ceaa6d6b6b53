"""An OpenID Connect issuer for tests: an https server of its own, with a CA and keys that nobody else has."""

import base64
import json
import ssl
import time
import warnings
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from openecr.adapters import tls

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"
AUDIENCE = "sts.amazonaws.com"
SUBJECT = "repo:acme/app:ref:refs/heads/main"

Key = RSAKey | ECKey
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@cache
def rsa_key(key_id: str = "first", *, bits: int = 2048) -> RSAKey:
    """A key that is made once: making one takes its time."""
    with warnings.catch_warnings(category=SecurityWarning, action="ignore"):
        return RSAKey.generate_key(bits, {"kid": key_id, "use": "sig"})


@cache
def ec_key(curve: str = "P-256") -> ECKey:
    """A key on a curve, whose name is its id."""
    return ECKey.generate_key(curve, {"kid": curve, "use": "sig"})


@dataclass(slots=True, kw_only=True)
class Issuer:
    """What the issuer answers may be changed at any time. `requests` counts them by path."""

    url: str
    ca_file: Path
    keys: list[Key] = field(default_factory=lambda: [rsa_key()])
    answers: dict[str, Handler] = field(default_factory=dict[str, Handler])
    requests: Counter[str] = field(default_factory=Counter[str])

    @property
    def provider(self) -> str:
        """The name under which an account knows the issuer."""
        return self.url.removeprefix("https://")

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token says; None takes a claim away."""
        now = int(time.time())
        good: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": now,
            "exp": now + 300,
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, *, key: Key | None = None, algorithm: str = "RS256", **changes: Any) -> str:
        """A token with the claims of a good one, but for changes."""
        signing = key or rsa_key()
        header = {"alg": algorithm, "typ": "JWT", "kid": signing.kid}
        return jws.serialize_compact(
            header, json.dumps(self.claims(**changes)), signing, algorithms=[algorithm]
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer as an issuer does, or as the test says."""
        self.requests[request.path] += 1
        if request.path in self.answers:
            return await self.answers[request.path](request)
        documents: Mapping[str, Any] = {
            DISCOVERY: {"issuer": self.url, "jwks_uri": self.url + KEYS},
            KEYS: {"keys": [key.as_dict(private=False) for key in self.keys]},
        }
        if request.path not in documents:
            raise web.HTTPNotFound
        return web.json_response(documents[request.path])


def unsigned(head: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    """A token that no library would make."""
    parts = (json.dumps(head).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@asynccontextmanager
async def running_issuer(folder: Path) -> AsyncGenerator[Issuer]:
    """Serve an issuer on a port of the loopback interface, as `localhost`."""
    names = tls.registry_names(regions=("us-east-1",), domains=("localhost",), plain_names=(), addresses=())
    files = tls.ensure_certificate(folder, names, now_at=time.time_ns() // 1000)
    assert files.authority is not None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    issuer = Issuer(url="", ca_file=files.authority)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", issuer.answer)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        issuer.url = f"https://localhost:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()
