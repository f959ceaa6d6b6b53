"""What can go wrong with temporary credentials, in STS's sentences (STS API reference, "Errors")."""

from openecr.domain.errors import DomainError


class InvalidSessionParameter(DomainError):
    """Tags, or the keys of those that are passed on, contradict each other or the calling session."""


class PackedPolicyTooLarge(DomainError):
    """Session policies and tags are longer than a session may carry."""


class InvalidIdentityToken(DomainError):
    """A token of an identity provider is malformed, forged, for somebody else, or of a provider that is not known."""


class IdentityTokenExpired(DomainError):
    """A token of an identity provider is past its time."""


class IdentityProviderUnreachable(DomainError):
    """An identity provider did not tell its keys; trying again may help."""


class IdentityClaimRejected(DomainError):
    """A claim of an identity token cannot become part of a session."""
