"""What can go wrong with users, groups, roles and policies, in IAM's sentences (IAM API reference, "Errors")."""

from openecr.domain.errors import DomainError


class NoSuchEntity(DomainError):
    """What the request names does not exist."""


class EntityAlreadyExists(DomainError):
    """The name is taken, in whatever letter case."""


class DeleteConflict(DomainError):
    """Something else still hangs on what is to be deleted."""

    def __init__(
        self, *, message: str = "Cannot delete entity, must remove referenced objects first."
    ) -> None:
        super().__init__(message=message)


class IamLimitExceeded(DomainError):
    """A quota of the account or of an entity is used up."""


class MalformedPolicyDocument(DomainError):
    """A policy document breaks the policy language."""


class InvalidInput(DomainError):
    """A parameter is well-formed, but cannot be what it is."""


class IamValidationError(DomainError):
    """A parameter, or the lack of one, breaks a rule that the service's model does not state."""


class UnmodifiableEntity(DomainError):
    """What belongs to a service may be changed by that service alone."""


class PolicyNotAttachable(DomainError):
    """The policy is for a service-linked role alone."""


class ConcurrentModification(DomainError):
    """What the request is about was changed by another one meanwhile."""

    def __init__(self) -> None:
        super().__init__(
            message="The request was rejected because multiple requests to change this object were submitted "
            "simultaneously. Wait a few minutes and submit your request again."
        )


class PolicyEvaluationFailed(DomainError):
    """A simulation was given a policy or a resource that cannot be evaluated."""
