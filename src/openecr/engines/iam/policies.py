"""Policies, compiled: what matching a request needs, found once per version of a document."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openecr.domain.decisions import PolicyKind, StatementReference
from openecr.engines.iam.conditions import Condition, compile_conditions, texts_of
from openecr.engines.iam.documents import (
    CURRENT_VERSION,
    MalformedPolicy,
    Statement,
    named_principals,
    read,
    statements_of,
)
from openecr.engines.iam.patterns import ARN_PARTS, ArnPattern, ContextKeys, Glob, Template
from openecr.engines.iam.principals import EVERYBODY, Principal, PrincipalList, Strength

_ACTIONS_KEPT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One action on one resource."""

    principal: Principal
    action: str
    resource: str
    resource_account_id: str
    context: ContextKeys


class Applies(enum.Enum):
    """Whether a statement is about a request."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStatement:
    """A statement. Of its resources None means all of them."""

    reference: StatementReference
    is_allow: bool
    actions: tuple[Glob, ...]
    are_actions_excluded: bool
    resources: tuple[ArnPattern, ...] | None
    are_resources_excluded: bool
    principals: PrincipalList
    conditions: tuple[Condition, ...]

    def names(self, action: str) -> bool:
        """Tell whether it is about an action, in lower case."""
        return any(glob.matches(action) for glob in self.actions) is not self.are_actions_excluded

    def applies(
        self, question: Question, parts: Sequence[str], *, has_boundary: bool
    ) -> tuple[Applies, Strength]:
        """Tell whether it is about a request whose action it names, and how strongly it names the principal."""
        strength = self.principals.strength(question.principal, has_boundary=has_boundary)
        if strength is Strength.NONE or not self._is_about(parts, question.context):
            return Applies.NO, strength
        found = Applies.YES
        for condition in self.conditions:
            holds = condition.holds(question.context)
            if holds is False:
                return Applies.NO, strength
            if holds is None:
                found = Applies.MAYBE
        return found, strength

    def _is_about(self, parts: Sequence[str], context: ContextKeys) -> bool:
        if self.resources is None:
            return True
        is_named = any(pattern.matches(parts, context) for pattern in self.resources)
        return is_named is not self.are_resources_excluded


@dataclass(slots=True, kw_only=True)
class Policy:
    """A compiled policy. Not to be changed; it remembers which of its statements name an action."""

    source: str
    kind: PolicyKind
    statements: tuple[CompiledStatement, ...]
    _by_action: dict[str, tuple[tuple[CompiledStatement, ...], tuple[CompiledStatement, ...]]] = field(
        default_factory=dict
    )

    def about(self, action: str) -> tuple[tuple[CompiledStatement, ...], tuple[CompiledStatement, ...]]:
        """Return the statements that deny and those that allow an action, in their order."""
        found = self._by_action.get(action)
        if found is None:
            lowered = action.lower()
            named = [statement for statement in self.statements if statement.names(lowered)]
            found = (
                tuple(statement for statement in named if not statement.is_allow),
                tuple(statement for statement in named if statement.is_allow),
            )
            if len(self._by_action) < _ACTIONS_KEPT:
                self._by_action[action] = found
        return found


def compile_policy(
    text: str, *, kind: PolicyKind, source: str, principals: Mapping[str, str | None] | None = None
) -> Policy:
    """Compile a document that was stored. `principals`: the unique ids that ARNs in it had then.

    Raises MalformedPolicy.
    """
    document = read(text)
    has_variables = document.get("Version") == CURRENT_VERSION
    compiled: list[CompiledStatement] = []
    for index, statement in enumerate(statements_of(document)):
        reference = StatementReference(kind=kind, source=source, index=index, sid=_sid(statement))
        try:
            compiled.append(_compile(statement, reference, principals or {}, has_variables=has_variables))
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise MalformedPolicy("Syntax errors in policy.") from error
    return Policy(source=source, kind=kind, statements=tuple(compiled))


def _sid(statement: Statement) -> str | None:
    sid = statement.get("Sid")
    return sid if isinstance(sid, str) and sid else None


def _compile(
    statement: Statement,
    reference: StatementReference,
    ids: Mapping[str, str | None],
    *,
    has_variables: bool,
) -> CompiledStatement:
    actions = statement.get("Action", statement.get("NotAction"))
    resources = statement.get("Resource", statement.get("NotResource"))
    if actions is None or statement["Effect"] not in ("Allow", "Deny"):
        message = "a statement without actions or effect"
        raise ValueError(message)
    return CompiledStatement(
        reference=reference,
        is_allow=statement["Effect"] == "Allow",
        actions=tuple(_action(text) for text in texts_of(actions)),
        are_actions_excluded="NotAction" in statement,
        resources=None
        if resources is None
        else tuple(ArnPattern(text, has_variables=has_variables) for text in texts_of(resources)),
        are_resources_excluded="NotResource" in statement,
        principals=_principals(statement, ids),
        conditions=compile_conditions(statement.get("Condition", {}), has_variables=has_variables),
    )


def _principals(statement: Mapping[str, Any], ids: Mapping[str, str | None]) -> PrincipalList:
    """Return whom a statement is about; one of an identity's policy, everybody who has the policy."""
    if "Principal" not in statement and "NotPrincipal" not in statement:
        return EVERYBODY
    is_excluded = "NotPrincipal" in statement
    element = statement["NotPrincipal" if is_excluded else "Principal"]
    return PrincipalList(
        named_principals(element), ids, is_excluded=is_excluded, is_deny=statement["Effect"] == "Deny"
    )


def _action(text: str) -> Glob:
    glob = Template(text.lower(), has_variables=False, has_wildcards=True).fixed
    assert glob is not None, "there are no variables in actions"
    return glob


def parts_of(resource: str) -> Sequence[str]:
    """Cut what a question is about for matching: six parts of an ARN, fewer of what is none."""
    return resource.split(":", ARN_PARTS - 1)
