"""OpenID Connect providers that an account trusts."""

from dataclasses import dataclass

from openecr.domain.registries import PARTITION

CLIENT_IDS_MAX = 100
"""IAM user guide, quotas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """A provider. `url` is without https://; `client_ids` are the audiences whose tokens count."""

    account_id: str
    url: str
    client_ids: tuple[str, ...]
    thumbprints: tuple[str, ...]
    created_at: int

    @property
    def arn(self) -> str:
        """Return the provider's ARN."""
        return provider_arn(self.account_id, self.url)


def provider_arn(account_id: str, url: str) -> str:
    """Return the ARN of a provider."""
    return f"arn:{PARTITION}:iam::{account_id}:oidc-provider/{url}"
