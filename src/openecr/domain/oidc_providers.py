"""OpenID Connect providers that an account trusts."""

import re
from dataclasses import dataclass

from openecr.domain.iam_errors import InvalidInput
from openecr.domain.registries import PARTITION

SCHEME = "https://"
CLIENT_IDS_MAX = 100
"""IAM user guide, quotas."""

THUMBPRINTS_MAX = 5
"""CreateOpenIDConnectProvider, ThumbprintList."""

_HOST_AND_PATH = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)?", re.ASCII
)


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


def host_and_path(url: str) -> str:
    """Return a provider's URL without https://; a slash at its end is part of it. Raises InvalidInput."""
    rest = url.removeprefix(SCHEME)
    if not url.startswith(SCHEME) or _HOST_AND_PATH.fullmatch(rest) is None:
        raise InvalidInput(message="Invalid Open ID Connect Provider URL")
    return rest
