"""What can go wrong with keys, aliases and grants, in KMS's sentences (KMS API reference, "Errors" of each action)."""

from openecr.domain.errors import DomainError


class KmsNotFound(DomainError):
    """What the request names does not exist."""


class KmsInvalidArn(DomainError):
    """An ARN that cannot name what it should."""


class KeyDisabled(DomainError):
    """The key is disabled."""

    def __init__(self, arn: str) -> None:
        super().__init__(message=f"{arn} is disabled.")


class KmsInvalidState(DomainError):
    """The key's state does not allow it."""


class InvalidCiphertext(DomainError):
    """A ciphertext is none of ours, was changed, or has another encryption context. KMS gives no reason."""

    def __init__(self) -> None:
        super().__init__(message="")


class IncorrectKey(DomainError):
    """A ciphertext is another key's than the one that is named."""

    def __init__(self) -> None:
        super().__init__(
            message="The key ID in the request does not identify a CMK that can perform this operation."
        )


class InvalidGrantToken(DomainError):
    """A grant token that no grant has."""


class InvalidGrantId(DomainError):
    """An id that no grant has."""


class InvalidAliasName(DomainError):
    """An alias may not be called that."""


class AliasAlreadyExists(DomainError):
    """The alias names a key already."""

    def __init__(self, arn: str) -> None:
        super().__init__(message=f"An alias with the name {arn} already exists")


class KmsLimitExceeded(DomainError):
    """A quota of keys, aliases, grants, tags or rotations is used up."""


class MalformedKeyPolicy(DomainError):
    """A key policy breaks the policy language, names nobody, or would lock its author out."""


class InvalidKeyTag(DomainError):
    """A tag is given twice, reserved, or cannot be."""


class UnsupportedKey(DomainError):
    """A kind of key, or a thing to do with one, that this server has not."""


class InvalidMarker(DomainError):
    """A marker that no list gave."""

    def __init__(self) -> None:
        super().__init__(message="The marker is invalid.")


class DryRunSucceeded(DomainError):
    """Everything was right, and nothing was done: so it was asked for."""

    def __init__(self) -> None:
        super().__init__(message="The request would have succeeded, but the DryRun option is set.")


class KmsValidationFailed(DomainError):
    """A parameter, or the lack of one, breaks a rule that the service's model does not state."""


class KmsFailed(DomainError):
    """ECR could not use the key of a repository. `kms_error` is the code of KMS."""

    def __init__(self, *, message: str, kms_error: str) -> None:
        super().__init__(message=message)
        self.kms_error = kms_error


CIPHERTEXT_DENIED = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
    "or you are not allowed to access."
)
"""What is said of the key of a ciphertext, whichever of these it is."""
