"""What a door requires, what was decided, and the grant that application functions demand."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from openecr.domain.callers import Caller, RequestContext
from openecr.domain.errors import RepositoryNotFound
from openecr.domain.iam import AccessKeyOwner, EntityName, Located
from openecr.domain.kms import KeyName
from openecr.domain.registries import RegistryId, repository_arn
from openecr.domain.repositories import Repository


class Decision(enum.Enum):
    """The three outcomes of a policy evaluation; never a bool."""

    ALLOW = "ALLOW"
    EXPLICIT_DENY = "EXPLICIT_DENY"
    IMPLICIT_DENY = "IMPLICIT_DENY"


class PolicyKind(enum.Enum):
    """The kinds of policies, in the words of AWS's denials (IAM user guide, access denied error messages)."""

    IDENTITY = "identity-based"
    RESOURCE = "resource-based"
    BOUNDARY = "permissions boundary"
    SESSION = "session"
    TRUST = "role trust"
    SERVICE_CONTROL = "service control"
    RESOURCE_CONTROL = "resource control"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementReference:
    """A statement of a policy. `source`: the policy's ARN, or whose inline policy it is. `index` counts from 0."""

    kind: PolicyKind
    source: str
    index: int
    sid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What policies say, and why.

    `statement` is the one that decided: that denied, or that allowed; None for an implicit deny, and for what is
    allowed without a statement (root). `missing` is the kind of policy whose allow was missing in an implicit deny.
    """

    decision: Decision
    statement: StatementReference | None = None
    missing: PolicyKind | None = None


class Mode(enum.Enum):
    """How several actions of one requirement combine."""

    ALL_OF = "ALL_OF"
    ANY_OF = "ANY_OF"


_ROLE_TAKING = frozenset({"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What one resource of a request needs: actions, and the repository or everything.

    `repository_name` None means the actions know no resource (`*`); the name `*` means every repository of the
    registry. `arn` names a resource that is no repository (a user, a role, a key). `entity` is whom or what it names:
    the decision is about the ARN with its path, or of the key behind an alias, which `arn` does not tell.
    `context_keys` are the request's own condition keys (such as `aws:RequestTag/team`).
    `within_account`: what is another account's is denied, whatever policies say.
    """

    actions: tuple[str, ...]
    registry: RegistryId
    repository_name: str | None = None
    mode: Mode = Mode.ALL_OF
    context_keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    arn: str | None = None
    entity: EntityName | AccessKeyOwner | KeyName | None = None
    within_account: bool = False

    @property
    def asks_trust(self) -> bool:
        """Tell whether it is about taking a role, which the role's trust policy has to allow."""
        return self.actions[0] in _ROLE_TAKING

    @property
    def resource(self) -> str:
        """Return the ARN (or `*`) that stands in decisions and denial texts."""
        if self.arn is not None:
            return self.arn
        return "*" if self.repository_name is None else repository_arn(self.registry, self.repository_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedCall:
    """How a door stands in the audit trail: as the AWS operation that it is, also where docker called.

    `source` is the service's (`ecr.amazonaws.com`), `reference` the request parameter that a record's `reference` is.
    Of calls that commit, the record is stored in the transaction of their effect; of the others soon after.
    """

    source: str
    name: str
    is_read_only: bool
    commits: bool = False
    reference: str | None = None


@dataclass(slots=True, kw_only=True)  # not frozen: it is made for every request, and filled in on the way
class AuditRecord:
    """What one request asked, and how it ended: what an event of the audit trail is made from.

    `parameters` are those worth keeping, never a secret, a token or a body's bytes. `error_code` is None while all is
    well. `explanation` says why a denial was one, to the operator alone. `is_stored`: a unit of work has written the
    event, which counts if the request succeeds.
    """

    call: AuditedCall
    context: RequestContext
    caller: Caller
    requirements: Sequence[Requirement]
    parameters: Mapping[str, object]
    reference: str = ""
    error_code: str | None = None
    error_message: str | None = None
    explanation: Mapping[str, object] | None = None
    is_stored: bool = False


Check = Callable[[Mapping[str, tuple[str, ...]]], None]
"""Raises AccessDenied where condition keys, by their names in lower case, make a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Proof that a caller may do what a requirement says, to this very repository.

    Made by the authorizer only. `repository` is None where the requirement names none, or where it does not exist;
    so is `located` for the requirement's user, group or role.
    `record` is the request's, where it commits with the effect (`application/audit.audited`).
    `action` is what the verdict is about. `check` decides again with the condition keys that only the writing
    transaction knows; it is None where they can change nothing.
    """

    caller: Caller
    context: RequestContext
    requirement: Requirement
    verdict: Verdict
    action: str = ""
    repository: Repository | None = None
    located: Located | None = None
    record: AuditRecord | None = None
    check: Check | None = None

    @property
    def decision(self) -> Decision:
        """Return the verdict's outcome."""
        return self.verdict.decision

    @property
    def registry(self) -> RegistryId:
        """Return the registry that the grant is about."""
        return self.requirement.registry

    def check_write(self, **keys: str | None) -> None:
        """Decide what a unit of work is about to do. `keys` by their names without `openecr:`; None: absent.

        Raises AccessDenied.
        """
        if self.check is not None:
            self.check({f"openecr:{name}": (value,) for name, value in keys.items() if value is not None})

    def require_repository(self) -> Repository:
        """Return the repository. Raises RepositoryNotFound where it does not exist."""
        if self.repository is None:
            raise RepositoryNotFound(
                repository_name=self.requirement.repository_name or "",
                registry_id=self.requirement.registry.account_id,
            )
        return self.repository


@dataclass(slots=True, kw_only=True)  # not frozen: a frozen one takes three times as long to make
class Outcome:
    """How one request ended; every request makes exactly one.

    `record` is what the audit trail keeps of it; None for what it does not tell one by one.
    """

    door: str
    context: RequestContext
    caller: Caller | None
    requirements: Sequence[Requirement]
    decision: Decision | None
    status: int
    error_code: str | None
    duration_microseconds: int
    record: AuditRecord | None = None

    @property
    def resources(self) -> tuple[str, ...]:
        """Return the ARNs that the request was about."""
        return tuple(requirement.resource for requirement in self.requirements)
