"""Policies, compiled: what matching a request needs, found once per version of a document."""

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
from openecr.engines.iam.patterns import ARN_PARTS, ArnPattern, ContextKeys, Glob, Template, waits
from openecr.engines.iam.principals import Principal, PrincipalList

_ACTIONS_KEPT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One action on one resource."""

    principal: Principal
    action: str
    resource: str
    resource_account_id: str
    context: ContextKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStatement:
    """A statement. Of its resources None means all of them, of its principals everybody who has the policy.

    `resource_keys` are those of the variables in its resources.
    """

    reference: StatementReference
    is_allow: bool
    actions: tuple[Glob, ...]
    are_actions_excluded: bool
    resources: tuple[ArnPattern, ...] | None
    are_resources_excluded: bool
    resource_keys: frozenset[str]
    principals: PrincipalList | None
    conditions: tuple[Condition, ...]

    def names(self, action: str) -> bool:
        """Tell whether it is about an action, in lower case."""
        return any(glob.matches(action) for glob in self.actions) is not self.are_actions_excluded

    def applies(self, question: Question, parts: Sequence[str]) -> bool | None:
        """Tell whether it is about a request whose action and principal it names; None where that waits for a key."""
        found: bool | None = True
        context = question.context
        if self.resources is not None:
            if self.resource_keys and waits(self.resource_keys, context):
                found = None
            elif not self._names_resource(self.resources, parts, context):
                return False
        for condition in self.conditions:
            holds = condition.holds(context)
            if holds is False:
                return False
            if holds is None:
                found = None
        return found

    def _names_resource(
        self, resources: tuple[ArnPattern, ...], parts: Sequence[str], context: ContextKeys
    ) -> bool:
        for pattern in resources:
            if pattern.matches(parts, context):
                return not self.are_resources_excluded
        return self.are_resources_excluded


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
    is_excluded = "NotResource" in statement
    patterns = tuple(
        ArnPattern(text, has_variables=has_variables, is_resource=True)
        for text in ([] if resources is None else texts_of(resources))
    )
    is_about_all = resources is None or (
        not is_excluded and any(pattern.is_everything for pattern in patterns)
    )
    return CompiledStatement(
        reference=reference,
        is_allow=statement["Effect"] == "Allow",
        actions=tuple(_action(text) for text in texts_of(actions)),
        are_actions_excluded="NotAction" in statement,
        resources=None if is_about_all else patterns,
        are_resources_excluded=is_excluded,
        resource_keys=frozenset(key for pattern in patterns for key in pattern.keys),
        principals=_principals(statement, ids),
        conditions=compile_conditions(statement.get("Condition", {}), has_variables=has_variables),
    )


def _principals(statement: Mapping[str, Any], ids: Mapping[str, str | None]) -> PrincipalList | None:
    """Return whom a statement is about; of an identity's policy None."""
    if "Principal" not in statement and "NotPrincipal" not in statement:
        return None
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
