"""Keys of OpenID Connect issuers: asked for narrowly, kept, and used for the algorithms that they are for."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from joserfc import jws
from joserfc.jwk import RSAKey

from openecr.adapters.oidc import (
    FRESH_SECONDS,
    MAX_BYTES,
    REFETCH_SECONDS,
    STALE_SECONDS,
    OidcProviders,
)
from openecr.domain.sts_errors import IdentityProviderUnreachable, InvalidIdentityToken
from openecr.testing.clocks import MovableClock
from tests.issuers import DISCOVERY, KEYS, SUBJECT, Issuer, ec_key, rsa_key, running_issuer, unsigned

LOOPBACK = ("127.0.0.0/8", "::1/128")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The issuer's certificate is made once."""
    return tmp_path_factory.mktemp("issuer")


@pytest.fixture
async def issuer(folder: Path) -> AsyncIterator[Issuer]:
    async with running_issuer(folder) as running:
        yield running


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock(1_900_000_000_000_000)


@pytest.fixture
def providers(issuer: Issuer, clock: MovableClock) -> OidcProviders:
    return OidcProviders(clock=clock, ca_file=issuer.ca_file, private_networks=LOOPBACK)


async def test_a_token_leads_to_its_claims(issuer: Issuer, providers: OidcProviders) -> None:
    claims = await providers.verify(issuer.token(), issuer=issuer.url)
    assert (claims["iss"], claims["sub"]) == (issuer.url, SUBJECT)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
async def test_algorithms_on_rsa(issuer: Issuer, providers: OidcProviders, algorithm: str) -> None:
    assert await providers.verify(issuer.token(algorithm=algorithm), issuer=issuer.url)


@pytest.mark.parametrize(("algorithm", "curve"), [("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521")])
async def test_algorithms_on_curves(
    issuer: Issuer, providers: OidcProviders, algorithm: str, curve: str
) -> None:
    issuer.keys = [rsa_key(), ec_key("P-256"), ec_key("P-384"), ec_key("P-521")]
    token = issuer.token(key=ec_key(curve), algorithm=algorithm)
    assert await providers.verify(token, issuer=issuer.url)


@pytest.mark.parametrize("algorithm", ["PS256", "PS512"])
async def test_other_algorithms_are_refused_unasked(
    issuer: Issuer, providers: OidcProviders, algorithm: str
) -> None:
    with pytest.raises(InvalidIdentityToken, match="algorithm"):
        await providers.verify(issuer.token(algorithm=algorithm), issuer=issuer.url)
    assert not issuer.requests


@pytest.mark.parametrize("algorithm", ["none", "NONE", "HS256", "EdDSA", "RS1", "", None, 5, ["RS256"]])
async def test_what_is_no_signature_is_refused(
    issuer: Issuer, providers: OidcProviders, algorithm: object
) -> None:
    token = unsigned({"alg": algorithm, "kid": "first"}, issuer.claims(), b"x" * 256)
    with pytest.raises(InvalidIdentityToken):
        await providers.verify(token, issuer=issuer.url)


async def test_a_public_key_is_no_shared_secret(issuer: Issuer, providers: OidcProviders) -> None:
    body = unsigned({"alg": "HS256", "kid": "first"}, issuer.claims()).removesuffix(".")
    mark = hmac.digest(rsa_key().as_pem(private=False), body.encode(), "sha256")
    token = f"{body}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"
    with pytest.raises(InvalidIdentityToken):
        await providers.verify(token, issuer=issuer.url)


async def test_a_changed_token_is_refused(issuer: Issuer, providers: OidcProviders) -> None:
    head, claims, signature = issuer.token().split(".")
    other = unsigned({}, issuer.claims(sub="repo:evil/app")).split(".")[1]
    for token in (f"{head}.{other}.{signature}", f"{head}.{claims}.", f"{head}.{claims}.AAAA", f"{head}.."):
        with pytest.raises(InvalidIdentityToken):
            await providers.verify(token, issuer=issuer.url)


@pytest.mark.parametrize(
    "text", ["", ".", "...", "é.é.é", "e30.e30.e30", "W10.e30.e30", "bm90anNvbg.e30.e30"]
)
async def test_what_is_no_token_is_refused_unasked(
    issuer: Issuer, providers: OidcProviders, text: str
) -> None:
    with pytest.raises(InvalidIdentityToken):
        await providers.verify(text, issuer=issuer.url)
    assert not issuer.requests


async def test_keys_in_the_token_itself_count_for_nothing(issuer: Issuer, providers: OidcProviders) -> None:
    own = RSAKey.generate_key(2048)
    head = {"alg": "RS256", "kid": "first", "jwk": own.as_dict(private=False), "jku": issuer.url + "/evil"}
    registry = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False)
    token = jws.serialize_compact(head, json.dumps(issuer.claims()), own, registry=registry)
    with pytest.raises(InvalidIdentityToken):
        await providers.verify(token, issuer=issuer.url)
    assert "/evil" not in issuer.requests


# --- keys are kept ---------------------------------------------------------------------------------------------------


async def test_keys_are_asked_for_once_an_hour(
    issuer: Issuer, providers: OidcProviders, clock: MovableClock
) -> None:
    for _ in range(3):
        await providers.verify(issuer.token(), issuer=issuer.url)
    clock.move(seconds=FRESH_SECONDS - 1)
    await providers.verify(issuer.token(), issuer=issuer.url)
    assert issuer.requests == {DISCOVERY: 1, KEYS: 1}
    clock.move(seconds=1)
    await providers.verify(issuer.token(), issuer=issuer.url)
    assert issuer.requests == {DISCOVERY: 2, KEYS: 2}


async def test_many_at_once_ask_once(issuer: Issuer, providers: OidcProviders) -> None:
    await asyncio.gather(*(providers.verify(issuer.token(), issuer=issuer.url) for _ in range(8)))
    assert issuer.requests == {DISCOVERY: 1, KEYS: 1}


async def test_a_new_key_is_asked_for_at_most_once_a_minute(
    issuer: Issuer, providers: OidcProviders, clock: MovableClock
) -> None:
    await providers.verify(issuer.token(), issuer=issuer.url)
    issuer.keys.append(rsa_key("second"))
    token = issuer.token(key=rsa_key("second"))
    for _ in range(3):
        with pytest.raises(InvalidIdentityToken, match="verification key"):
            await providers.verify(token, issuer=issuer.url)
    clock.move(seconds=REFETCH_SECONDS)
    assert await providers.verify(token, issuer=issuer.url)
    for _ in range(3):
        with pytest.raises(InvalidIdentityToken):
            await providers.verify(issuer.token(key=rsa_key("third")), issuer=issuer.url)
    assert issuer.requests[KEYS] == 2


async def test_an_issuer_that_is_down_is_believed_for_a_day(
    issuer: Issuer, providers: OidcProviders, clock: MovableClock
) -> None:
    await providers.verify(issuer.token(), issuer=issuer.url)
    issuer.answers[DISCOVERY] = broken
    clock.move(seconds=STALE_SECONDS - 1)
    assert await providers.verify(issuer.token(), issuer=issuer.url)
    clock.move(seconds=REFETCH_SECONDS)
    with pytest.raises(IdentityProviderUnreachable):
        await providers.verify(issuer.token(), issuer=issuer.url)


async def test_a_token_without_a_keys_id_takes_the_only_key(issuer: Issuer, providers: OidcProviders) -> None:
    token = jws.serialize_compact({"alg": "RS256"}, json.dumps(issuer.claims()), rsa_key())
    assert await providers.verify(token, issuer=issuer.url)


# --- answers that are not taken --------------------------------------------------------------------------------------


async def broken(request: web.Request) -> web.StreamResponse:
    raise web.HTTPInternalServerError


def says(document: object) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(document)

    return answer


async def redirects(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(location="/elsewhere")


async def floods(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b'{"keys": []' + b" " * MAX_BYTES + b"}")


async def nests(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"[" * 500_000)


async def zipped(request: web.Request) -> web.StreamResponse:
    answer = web.json_response({"keys": []})
    answer.enable_compression(web.ContentCoding.gzip)
    answer.headers["content-encoding"] = "gzip"
    return answer


BAD_KEYS: Mapping[str, Any] = {
    "broken": broken,
    "redirect": redirects,
    "flood": floods,
    "nested": nests,
    "zipped": zipped,
    "list": says([]),
    "no keys": says({}),
    "keys of no list": says({"keys": {}}),
    "too many keys": says({"keys": [5] * 101}),
}


@pytest.mark.parametrize("name", BAD_KEYS)
@pytest.mark.parametrize("path", [DISCOVERY, KEYS])
async def test_an_answer_that_is_not_as_it_should_be_gives_no_keys(
    issuer: Issuer, providers: OidcProviders, name: str, path: str
) -> None:
    issuer.answers[path] = BAD_KEYS[name]
    for _ in range(2):
        with pytest.raises(IdentityProviderUnreachable):
            await providers.verify(issuer.token(), issuer=issuer.url)
    assert issuer.requests[path] == 1
    assert "/elsewhere" not in issuer.requests


async def test_discovery_has_to_be_the_issuers_own_and_lead_to_https(
    issuer: Issuer, providers: OidcProviders, clock: MovableClock
) -> None:
    for document in (
        {"issuer": "https://localhost", "jwks_uri": issuer.url + KEYS},
        {"issuer": issuer.url, "jwks_uri": issuer.url.replace("https", "http") + KEYS},
        {"issuer": issuer.url, "jwks_uri": "file:///etc/passwd"},
        {"issuer": issuer.url, "jwks_uri": issuer.url.replace("//", "//me@") + KEYS},
        {"issuer": issuer.url},
    ):
        issuer.answers[DISCOVERY] = says(document)
        with pytest.raises(IdentityProviderUnreachable):
            await providers.verify(issuer.token(), issuer=issuer.url)
        clock.move(seconds=REFETCH_SECONDS)
    assert issuer.requests == {DISCOVERY: 5}


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "RSA", "kid": "first"},
        {"kty": "RSA", "kid": "first", "n": 5, "e": []},
        {"kty": "oct", "kid": "first", "k": "AAAA"},
        rsa_key().as_dict(private=False) | {"use": "enc"},
        5,
    ],
)
async def test_keys_that_nothing_can_be_done_with_are_left_out(
    issuer: Issuer, providers: OidcProviders, key: Any
) -> None:
    keys: list[Any] = [key, ec_key().as_dict(private=False)]
    issuer.answers[KEYS] = says({"keys": keys})
    with pytest.raises(InvalidIdentityToken):
        await providers.verify(issuer.token(), issuer=issuer.url)
    assert await providers.verify(issuer.token(key=ec_key(), algorithm="ES256"), issuer=issuer.url)


async def test_a_weak_key_proves_nothing(issuer: Issuer, providers: OidcProviders) -> None:
    weak = rsa_key("weak", bits=1024)
    issuer.keys = [weak]
    with pytest.raises(InvalidIdentityToken):
        await providers.verify(issuer.token(key=weak), issuer=issuer.url)


async def test_an_issuer_that_dawdles_is_given_up(issuer: Issuer, clock: MovableClock) -> None:
    hung = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await hung.wait()
        return web.Response()

    issuer.answers[KEYS] = hang
    providers = OidcProviders(
        clock=clock, ca_file=issuer.ca_file, private_networks=LOOPBACK, timeout_seconds=0.3
    )
    with pytest.raises(IdentityProviderUnreachable):
        await providers.verify(issuer.token(), issuer=issuer.url)
    hung.set()


# --- where it may ask ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_private_networks_are_not_asked_unless_they_are_listed(
    issuer: Issuer, clock: MovableClock, host: str
) -> None:
    providers = OidcProviders(clock=clock, ca_file=issuer.ca_file, private_networks=("10.0.0.0/8",))
    url = issuer.url.replace("localhost", host)
    with pytest.raises(IdentityProviderUnreachable):
        await providers.verify(issuer.token(), issuer=url)
    assert not issuer.requests


async def test_a_certificate_that_nobody_vouches_for_is_refused(issuer: Issuer, clock: MovableClock) -> None:
    providers = OidcProviders(clock=clock, private_networks=LOOPBACK)
    with pytest.raises(IdentityProviderUnreachable):
        await providers.verify(issuer.token(), issuer=issuer.url)
    assert not issuer.requests
