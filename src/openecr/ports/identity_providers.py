"""The identity provider port: tokens of OpenID Connect providers, proven by the keys that these publish."""

from collections.abc import Mapping
from typing import Protocol


class IdentityProviders(Protocol):
    """Asks providers for their keys, and proves tokens with them."""

    async def verify(self, token: str, *, issuer: str) -> Mapping[str, object]:
        """Return the claims of a token that a key of this issuer has signed; nothing else about them is checked.

        The caller has made sure that the issuer may be asked. Raises InvalidIdentityToken where no key of the issuer
        has signed the token, and IdentityProviderUnreachable where its keys cannot be had.
        """
        ...
