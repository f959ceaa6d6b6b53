"""The decision: what all policies together say of one question (IAM user guide, "Policy evaluation logic")."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from openecr.domain.decisions import Decision, PolicyKind, StatementReference, Verdict
from openecr.engines.iam.policies import CompiledStatement, Policy, Question, parts_of
from openecr.engines.iam.principals import PrincipalType, Strength


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """Every policy that has a say.

    `session` None: there is no session policy; empty: there is one that allows nothing. `resource` are those of the
    resource: of the repository and its registry, a role's trust policy, a key's policy; where `resource_must_allow`,
    their silence denies even in the same account. `service_control` and `resource_control` are levels, root first.
    `root_escapes_resource_denies`: no policy of the resource denies this to its own root user.
    """

    identity: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    session: tuple[Policy, ...] | None = None
    resource: tuple[Policy, ...] = ()
    service_control: tuple[tuple[Policy, ...], ...] = ()
    resource_control: tuple[tuple[Policy, ...], ...] = ()
    resource_must_allow: bool = False
    root_escapes_resource_denies: bool = False


def decide(question: Question, policies: PolicySet) -> Verdict:
    """Decide. What is not known yet (UNDECIDED) allows and does not deny."""
    return _Evaluation(question, policies).verdict()


class _Evaluation:
    """One question on its way."""

    __slots__ = ("_action", "_has_boundary", "_parts", "_policies", "_question")

    def __init__(self, question: Question, policies: PolicySet) -> None:
        self._question = question
        self._policies = policies
        self._action = question.action
        self._parts = parts_of(question.resource)
        self._has_boundary = policies.boundary is not None

    def verdict(self) -> Verdict:
        denied = self._find_deny(self._deniers())
        if denied is not None:
            return Verdict(decision=Decision.EXPLICIT_DENY, statement=denied)
        return self._control() or self._allowance()

    def _deniers(self) -> Iterable[Policy]:
        policies = self._policies
        for levels in (policies.service_control, policies.resource_control):
            for level in levels:
                yield from level
        if not policies.root_escapes_resource_denies:
            yield from policies.resource
        yield from policies.identity
        if policies.boundary is not None:
            yield policies.boundary
        yield from policies.session or ()

    def _find_deny(self, policies: Iterable[Policy]) -> StatementReference | None:
        for policy in policies:
            for statement in policy.about(self._action)[0]:
                if self._strength(statement) and statement.applies(self._question, self._parts):
                    return statement.reference
        return None

    def _find_allow(self, policies: Sequence[Policy]) -> StatementReference | None:
        for policy in policies:
            for statement in policy.about(self._action)[1]:
                if self._strength(statement) and self._may_apply(statement):
                    return statement.reference
        return None

    def _control(self) -> Verdict | None:
        """Each level of an organization has to allow."""
        for levels, kind in (
            (self._policies.service_control, PolicyKind.SERVICE_CONTROL),
            (self._policies.resource_control, PolicyKind.RESOURCE_CONTROL),
        ):
            if any(self._find_allow(level) is None for level in levels):
                return _missing(kind)
        return None

    def _allowance(self) -> Verdict:
        strength, granted = self._resource_grant()
        if self._question.principal.account_id != self._question.resource_account_id:
            return self._across_accounts(strength)
        if strength is Strength.DIRECT:
            return _allowed(granted)
        limit = self._limit()
        if strength is Strength.ROLE:
            return _allowed(granted) if limit is None else _missing(limit)
        if self._policies.resource_must_allow and strength is Strength.NONE:
            return _missing(self._kind_of_resource())
        return self._by_identity(limit)

    def _across_accounts(self, strength: Strength) -> Verdict:
        """The resource's account has to let the caller in, and his own has to let him go."""
        if strength is Strength.NONE:
            return _missing(self._kind_of_resource())
        principal = self._question.principal
        if principal.type in {PrincipalType.SERVICE, PrincipalType.WEB_IDENTITY}:
            return _allowed(self._resource_grant()[1])
        return self._by_identity(self._limit())

    def _by_identity(self, limit: PolicyKind | None) -> Verdict:
        if self._question.principal.type is PrincipalType.ROOT:
            # A session of root has no policies of its own; one that GetFederationToken gave is no session of root.
            return _allowed(None) if limit is None else _missing(limit)
        granted = self._find_allow(self._policies.identity)
        if granted is None:
            return _missing(PolicyKind.IDENTITY)
        return _allowed(granted) if limit is None else _missing(limit)

    def _limit(self) -> PolicyKind | None:
        """Return which of boundary and session policy does not allow."""
        policies = self._policies
        if policies.boundary is not None and self._find_allow((policies.boundary,)) is None:
            return PolicyKind.BOUNDARY
        if policies.session is not None and self._find_allow(policies.session) is None:
            return PolicyKind.SESSION
        return None

    def _resource_grant(self) -> tuple[Strength, StatementReference | None]:
        """Return the strongest way in which a policy of the resource lets the caller in."""
        found: tuple[Strength, StatementReference | None] = (Strength.NONE, None)
        for policy in self._policies.resource:
            for statement in policy.about(self._action)[1]:
                strength = self._strength(statement)
                if strength > found[0] and self._may_apply(statement):
                    found = strength, statement.reference
        return found

    def _strength(self, statement: CompiledStatement) -> Strength:
        if statement.principals is None:
            return Strength.DIRECT
        return statement.principals.strength(self._question.principal, has_boundary=self._has_boundary)

    def _may_apply(self, statement: CompiledStatement) -> bool:
        """Tell whether a statement applies, or may once a key is known."""
        return statement.applies(self._question, self._parts) is not False

    def _kind_of_resource(self) -> PolicyKind:
        return self._policies.resource[0].kind if self._policies.resource else PolicyKind.RESOURCE


def _allowed(statement: StatementReference | None) -> Verdict:
    return Verdict(decision=Decision.ALLOW, statement=statement)


def _missing(kind: PolicyKind) -> Verdict:
    return Verdict(decision=Decision.IMPLICIT_DENY, missing=kind)
