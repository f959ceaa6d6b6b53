"""OpenID Connect providers: made, looked at, changed and deleted. Whether one counts the operator says too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from openecr.application.audit import audited
from openecr.application.iam import entities
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.iam_errors import EntityAlreadyExists, IamLimitExceeded, InvalidInput, NoSuchEntity
from openecr.domain.oidc_providers import (
    CLIENT_IDS_MAX,
    SCHEME,
    THUMBPRINTS_MAX,
    OidcProvider,
    host_and_path,
    provider_arn,
)
from openecr.ports.clock import Clock
from openecr.store import accounts, iam_tags, oidc_providers
from openecr.store.connections import Connection
from openecr.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedProvider:
    """A provider with its tags."""

    provider: OidcProvider
    tags: Mapping[str, str]


class OidcProviders:
    """The use cases of providers."""

    def __init__(self, *, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits

    async def create(
        self,
        grant: Grant,
        url: str,
        *,
        client_ids: Sequence[str],
        thumbprints: Sequence[str],
        tags: Mapping[str, str],
    ) -> OidcProvider:
        """Make a provider. Raises InvalidInput, EntityAlreadyExists, IamLimitExceeded."""
        provider = _checked(
            OidcProvider(
                account_id=grant.registry.account_id,
                url=host_and_path(url),
                client_ids=tuple(dict.fromkeys(client_ids)),
                thumbprints=tuple(thumbprints),
                created_at=self._clock.now(),
            )
        )

        def unit(connection: Connection) -> OidcProvider:
            found = oidc_providers.list_of(connection, provider.account_id)
            if any(each.url == provider.url for each in found):
                raise EntityAlreadyExists(message=f"Provider with url {SCHEME}{provider.url} already exists.")
            entities.check_quota(
                len(found), self._limits.oidc_providers_per_account, "OpenIdConnectProvidersPerAccount"
            )
            oidc_providers.add(connection, provider)
            iam_tags.put(connection, provider.arn, tags)
            accounts.raise_epoch(connection, provider.account_id)
            return provider

        return await self._database.write(audited(grant, unit))

    async def get(self, grant: Grant, arn: str) -> DescribedProvider:
        """Return a provider. Raises NoSuchEntity."""

        def read(connection: Connection) -> DescribedProvider:
            provider = find(connection, grant, arn)
            return DescribedProvider(provider=provider, tags=iam_tags.list_of(connection, provider.arn))

        return await self._database.read(read)

    async def list(self, grant: Grant) -> Sequence[OidcProvider]:
        """Return all of the account's providers."""
        account_id = grant.registry.account_id
        return await self._database.scan(lambda connection: oidc_providers.list_of(connection, account_id))

    async def add_client_id(self, grant: Grant, arn: str, client_id: str) -> None:
        """Add an audience; it may be there already. Raises NoSuchEntity, IamLimitExceeded."""

        def changed(provider: OidcProvider) -> OidcProvider:
            return replace(provider, client_ids=tuple(dict.fromkeys((*provider.client_ids, client_id))))

        await self._change(grant, arn, changed)

    async def remove_client_id(self, grant: Grant, arn: str, client_id: str) -> None:
        """Remove an audience; it need not be there. Raises NoSuchEntity."""

        def changed(provider: OidcProvider) -> OidcProvider:
            return replace(
                provider, client_ids=tuple(each for each in provider.client_ids if each != client_id)
            )

        await self._change(grant, arn, changed)

    async def set_thumbprints(self, grant: Grant, arn: str, thumbprints: Sequence[str]) -> None:
        """Replace the thumbprints. Raises NoSuchEntity, InvalidInput."""
        await self._change(grant, arn, lambda provider: replace(provider, thumbprints=tuple(thumbprints)))

    async def delete(self, grant: Grant, arn: str) -> None:
        """Delete a provider. Raises NoSuchEntity."""

        def unit(connection: Connection) -> None:
            provider = find(connection, grant, arn)
            iam_tags.remove_all(connection, provider.arn)
            oidc_providers.remove(connection, provider)
            accounts.raise_epoch(connection, provider.account_id)

        await self._database.write(audited(grant, unit))

    async def _change(self, grant: Grant, arn: str, changed: Callable[[OidcProvider], OidcProvider]) -> None:
        def unit(connection: Connection) -> None:
            provider = find(connection, grant, arn)
            oidc_providers.change(connection, _checked(changed(provider)))
            accounts.raise_epoch(connection, provider.account_id)

        await self._database.write(audited(grant, unit))


def find(connection: Connection, grant: Grant, arn: str) -> OidcProvider:
    """Return the provider that an ARN names. Raises NoSuchEntity."""
    account_id = grant.registry.account_id
    url = arn.removeprefix(provider_arn(account_id, ""))
    is_text = url.isascii() and url.isprintable()  # PostgreSQL's text takes no NUL
    found = oidc_providers.find(connection, account_id, url) if is_text else None
    if found is None or found.arn != arn:
        raise NoSuchEntity(message=f"OpenIDConnect Provider not found for arn {arn}")
    return found


def _checked(provider: OidcProvider) -> OidcProvider:
    if len(provider.client_ids) > CLIENT_IDS_MAX:
        raise IamLimitExceeded(
            message=f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENT_IDS_MAX}"
        )
    if len(provider.thumbprints) > THUMBPRINTS_MAX:
        raise InvalidInput(message=f"Thumbprint list must contain no more than {THUMBPRINTS_MAX} entries.")
    return provider
