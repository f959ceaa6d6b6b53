"""Callers with a token of an OpenID Connect provider: a CI job, say, that has no secret of this server.

Two have to name the issuer: the operator, by a setting, and the account whose role is asked for, by a provider. Only
then is the issuer asked for its keys. Sources: OpenID Connect Core 1.0, sections 2 and 3.1.3.7; IAM user guide, "IAM
and AWS STS condition context keys".
"""

import base64
import binascii
import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import cast

import msgspec

from openecr.domain.callers import WebIdentity
from openecr.domain.sts_errors import IdentityClaimRejected, IdentityTokenExpired, InvalidIdentityToken
from openecr.ports.identity_providers import IdentityProviders
from openecr.store import principals
from openecr.store.database import Database

_SCHEME = "https://"
_SECOND = 1_000_000
_LEEWAY_SECONDS = 60
_PARTS = 3
_SUBJECT_MAX_CHARACTERS = 255
_VALUES_MAX = 50
_SOURCE_IDENTITY = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_TAGS_CLAIM = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY_CLAIM = "https://aws.amazon.com/source_identity"
_GITHUB = "token.actions.githubusercontent.com"
_GITHUB_CLAIMS = (
    "actor",
    "actor_id",
    "enterprise_id",
    "environment",
    "job_workflow_ref",
    "ref",
    "repository",
    "repository_id",
    "workflow",
)

Claims = Mapping[str, object]
Tags = tuple[tuple[str, str], ...]


class WebIdentities:
    """Tells who is behind an identity token."""

    def __init__(self, *, database: Database, providers: IdentityProviders, issuers: Collection[str]) -> None:
        """`issuers` are those that the operator allows, with `https://`."""
        self._database = database
        self._providers = providers
        self._issuers = frozenset(issuer.rstrip("/") for issuer in issuers)

    async def identify(self, account_id: str, token: str, *, now_at: int) -> WebIdentity:
        """Return for whom an account's provider vouches.

        Raises InvalidIdentityToken, IdentityTokenExpired, IdentityProviderUnreachable, IdentityClaimRejected.
        """
        issuer = _issuer(token)
        provider, client_ids = await self._provider(account_id, issuer)
        claims = await self._providers.verify(token, issuer=issuer)
        _check_times(claims, now_at // _SECOND)
        audiences, party = _texts(claims.get("aud")), _optional_text(claims, "azp")
        audience = party or next((each for each in audiences if each in client_ids), "")
        if audience not in client_ids:
            raise InvalidIdentityToken(message="Incorrect token audience")
        subject = _optional_text(claims, "sub")
        if subject is None or len(subject) > _SUBJECT_MAX_CHARACTERS:
            raise _malformed()
        tags, transitive_tag_keys = _tags(claims)
        return WebIdentity(
            account_id=account_id,
            provider=provider,
            subject=subject,
            audience=audience,
            claims=tuple(_trust_keys(provider, claims, audience, audiences)),
            tags=tags,
            transitive_tag_keys=transitive_tag_keys,
            source_identity=_source_identity(claims),
        )

    async def _provider(self, account_id: str, issuer: str) -> tuple[str, tuple[str, ...]]:
        """Return what the account calls the issuer, and for whom its tokens may be. Raises InvalidIdentityToken."""
        if issuer.rstrip("/") in self._issuers:
            whole = issuer.removeprefix(_SCHEME)
            for url in dict.fromkeys((whole, whole.rstrip("/"))):
                read = partial(principals.client_ids, account_id=account_id, provider_url=url)
                found = await self._database.read(read)
                if found is not None:
                    return url, found
        raise InvalidIdentityToken(message=f"No OpenIDConnect provider found in your account for {issuer}")


def _issuer(token: str) -> str:
    """Return who a token says has issued it, which is not proven yet. Raises InvalidIdentityToken."""
    parts = token.split(".")
    if len(parts) != _PARTS or not token.isascii():
        raise _malformed()
    try:
        content = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
        claims = msgspec.json.decode(content, type=dict[str, object])
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise _malformed() from error
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer.startswith(_SCHEME) or not issuer.isprintable():
        raise _malformed()
    return issuer


def _malformed() -> InvalidIdentityToken:
    return InvalidIdentityToken(
        message="The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
    )


def _check_times(claims: Claims, now: int) -> None:
    """Check that a token counts now. Raises InvalidIdentityToken, IdentityTokenExpired."""
    expires, issued, begins = (_seconds(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None or issued is None:
        raise _malformed()
    if expires <= now:
        raise IdentityTokenExpired(
            message=f"Token expired: current date/time {now} must be before the expiration date/time {expires}"
        )
    if max(issued, begins or 0) > now + _LEEWAY_SECONDS:
        raise InvalidIdentityToken(message=f"The ID Token is not valid yet: current date/time {now}")


def _seconds(claims: Claims, name: str) -> int | None:
    """Whole seconds, and nothing that only looks like them."""
    value = claims.get(name)
    if value is not None and type(value) is not int:
        raise _malformed()
    return value


def _optional_text(claims: Claims, name: str) -> str | None:
    value = claims.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise _malformed()
    return value


def _texts(value: object) -> tuple[str, ...]:
    """One text or a list of them. Raises InvalidIdentityToken."""
    many = cast("list[object]", value) if isinstance(value, list) else [value]
    if len(many) > _VALUES_MAX or not all(isinstance(each, str) for each in many):
        raise _malformed()
    return tuple(cast("list[str]", many))


def _trust_keys(
    provider: str, claims: Claims, audience: str, audiences: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what trust policies may ask of the token. Where it has `azp`, that is who it is for."""
    yield "aud", (audience,) if "azp" in claims else audiences
    if "azp" in claims:
        yield "oaud", audiences
    yield "sub", (str(claims["sub"]),)
    if "amr" in claims:
        yield "amr", _texts(claims["amr"])
    if provider.partition("/")[0] == _GITHUB:
        for name in _GITHUB_CLAIMS:
            value = claims.get(name)
            if isinstance(value, str):
                yield name, (value,)


def _tags(claims: Claims) -> tuple[Tags, tuple[str, ...]]:
    """Return the tags that the provider gives the session, and which of them are passed on."""
    if _TAGS_CLAIM not in claims:
        return (), ()
    try:
        wanted = msgspec.convert(claims[_TAGS_CLAIM], _WantedTags)
    except msgspec.ValidationError as error:
        raise IdentityClaimRejected(message=f"The claim {_TAGS_CLAIM} is malformed.") from error
    tags = tuple((key, values[0]) for key, values in wanted.principal_tags.items() if len(values) == 1)
    if len(tags) != len(wanted.principal_tags):
        raise IdentityClaimRejected(message="A session tag has exactly one value.")
    return tags, tuple(wanted.transitive_tag_keys)


class _WantedTags(msgspec.Struct):
    principal_tags: dict[str, list[str]] = {}
    transitive_tag_keys: list[str] = []


def _source_identity(claims: Claims) -> str | None:
    value = claims.get(_SOURCE_IDENTITY_CLAIM)
    if value is None:
        return None
    if not isinstance(value, str) or _SOURCE_IDENTITY.fullmatch(value) is None:
        raise IdentityClaimRejected(message=f"The claim {_SOURCE_IDENTITY_CLAIM} is malformed.")
    return value
