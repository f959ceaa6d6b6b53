"""The policy simulator: what policies would say of actions on resources, without doing anything."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openecr.application.iam import simulated_policies
from openecr.application.iam.simulated_keys import Keys, principal_keys
from openecr.application.iam.simulated_policies import Exclusion, Simulated
from openecr.domain.decisions import Decision, Grant, PolicyKind, Verdict
from openecr.domain.iam import Entity, EntityKind
from openecr.domain.iam_errors import InvalidInput, NoSuchEntity
from openecr.domain.registries import is_account_id
from openecr.engines.iam import (
    Policy,
    PolicySet,
    Principal,
    PrincipalType,
    Question,
    decide,
)
from openecr.engines.iam.positions import Span, statement_spans
from openecr.ports.clock import Clock
from openecr.store import iam_entities
from openecr.store.connections import Connection
from openecr.store.database import Database

EVERYTHING = "*"

DECISIONS_MAX = 1_000
_CHARACTERS_MAX = 262_144
_CHARACTERS_READ_MAX = 20_000_000
"""A simulation takes a second or two at most."""

_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9]+", re.ASCII)
_ARN_PARTS = 6
_STRICTNESS = (Decision.ALLOW, Decision.IMPLICIT_DENY, Decision.EXPLICIT_DENY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be simulated. `levels` are service control policies, from an organization's root to the account."""

    actions: Sequence[str]
    resources: Sequence[str] = ()
    policies: Sequence[str] = ()
    boundaries: Sequence[str] = ()
    levels: Sequence[Sequence[str]] = ()
    resource_policy: str | None = None
    resource_owner: str | None = None
    caller_arn: str | None = None
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    excluded: Sequence[Exclusion] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """A statement that decided, and where it stands in its document."""

    policy: Simulated
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What would become of one action on one resource. None: there is no boundary, organization or other account."""

    resource: str
    decision: Decision
    matched: tuple[Matched, ...]
    missing_keys: tuple[str, ...]
    is_inside_boundary: bool | None
    is_allowed_by_organization: bool | None
    across_accounts: Mapping[str, Decision] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What would become of one action, resource by resource."""

    action: str
    outcomes: tuple[Outcome, ...]

    @property
    def decision(self) -> Decision:
        """Return the most restrictive decision."""
        return max((outcome.decision for outcome in self.outcomes), key=_STRICTNESS.index)


class Simulations:
    """The use cases of the simulator."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def of_principal(self, grant: Grant, source_arn: str, wanted: Wanted) -> Sequence[Result]:
        """Simulate with all policies of a user, group or role. Raises NoSuchEntity, InvalidInput."""
        account_id = grant.registry.account_id

        def read(
            connection: Connection,
        ) -> tuple[Entity, tuple[Simulated, ...], Simulated | None, Mapping[str, str]]:
            entity = _entity(connection, account_id, source_arn)
            return entity, *simulated_policies.of_entity(connection, entity, wanted.excluded)

        entity, policies, boundary, tags = await self._database.scan(read)
        caller_arn = wanted.caller_arn or entity.arn
        is_itself = caller_arn == entity.arn
        stage = _Stage(
            wanted,
            principal=_principal(caller_arn, entity.unique_id if is_itself else ""),
            own=policies,
            own_boundary=boundary,
            now=self._clock.now(),
            given=principal_keys(entity, tags) if is_itself else {},
        )
        return await self._run(stage)

    async def of_documents(self, grant: Grant, wanted: Wanted) -> Sequence[Result]:
        """Simulate with the policies of the request alone. Raises InvalidInput."""
        if wanted.caller_arn is None and wanted.resource_policy is not None:
            raise InvalidInput(message="CallerArn must be given where ResourcePolicy is.")
        account_id = grant.registry.account_id
        principal = (
            Principal(account_id=account_id, type=PrincipalType.USER, arn="", unique_id="")
            if wanted.caller_arn is None
            else _principal(wanted.caller_arn, "")
        )
        return await self._run(_Stage(wanted, principal=principal, now=self._clock.now()))

    async def _run(self, stage: "_Stage") -> Sequence[Result]:
        wanted, resources = stage.wanted, list(dict.fromkeys(stage.wanted.resources)) or [EVERYTHING]
        actions = list(dict.fromkeys(wanted.actions))
        work = len(actions) * len(resources)
        if work > DECISIONS_MAX:
            raise InvalidInput(
                message=f"At most {DECISIONS_MAX} combinations of actions and resources can be simulated at once."
            )
        if stage.characters > _CHARACTERS_MAX or work * stage.characters > _CHARACTERS_READ_MAX:
            raise InvalidInput(message="The policies are too long for so many actions and resources.")
        results: list[Result] = []
        for action in actions:
            if _ACTION.fullmatch(action) is None:
                raise InvalidInput(message=f"Invalid action: {action[:128]}")
            outcomes: list[Outcome] = []
            for resource in resources:
                outcomes.append(stage.outcome(action, resource))
                await asyncio.sleep(0)  # others have their turn between decisions
            results.append(Result(action=action, outcomes=tuple(outcomes)))
        return results


class _Stage:
    """One simulation with all its policies."""

    def __init__(
        self,
        wanted: Wanted,
        *,
        principal: Principal,
        now: int,
        own: tuple[Simulated, ...] = (),
        own_boundary: Simulated | None = None,
        given: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """`own` are the policies of whom the simulation is about. Raises InvalidInput."""
        self.wanted = wanted
        self._principal = principal
        self._all: list[Simulated] = []
        self._identity = self._add(*own, *simulated_policies.given(wanted.policies, "PolicyInputList"))
        self._boundary = self._add(*_boundary(wanted, own_boundary))
        resource_policy = simulated_policies.given_for_resource(wanted.resource_policy)
        if resource_policy is not None and principal.type is not PrincipalType.USER:
            raise InvalidInput(
                message="Resource policies are simulated for users alone: CallerArn has to be one."
            )
        self._resource = () if resource_policy is None else self._add(resource_policy)
        self._levels = tuple(
            self._add(
                *simulated_policies.given(
                    level,
                    "OrderedOrganizationPolicyInputList",
                    kind=PolicyKind.SERVICE_CONTROL,
                )
            )
            for level in wanted.levels
        )
        self._keys = Keys(
            {**(given or {}), **wanted.keys}, [policy.document for policy in self._all], now=now
        )
        self._spans: dict[int, tuple[Span, ...]] = {}
        self._owner = principal.account_id if wanted.resource_owner is None else _owner(wanted.resource_owner)

    @property
    def characters(self) -> int:
        """Return how long all policies together are."""
        return sum(len(policy.document) for policy in self._all)

    def outcome(self, action: str, resource: str) -> Outcome:
        """Decide one action on one resource. Raises InvalidInput."""
        self._keys.asked.clear()
        owner = _account_of(resource) or self._owner
        question = Question(
            principal=self._principal,
            action=action,
            resource=resource,
            resource_account_id=owner,
            context=self._keys,
        )
        boundary = next(iter(self._boundary), None)
        everything = PolicySet(
            identity=self._identity,
            boundary=boundary,
            resource=self._resource,
            service_control=self._levels,
        )
        verdict = decide(question, everything)
        return Outcome(
            resource=resource,
            decision=verdict.decision,
            matched=self._matched(question, verdict),
            missing_keys=self._keys.missing(),
            is_inside_boundary=None if boundary is None else self._allows(question, (boundary,)),
            is_allowed_by_organization=(
                all(self._allows(question, level) for level in self._levels) if self._levels else None
            ),
            across_accounts=None if owner == self._principal.account_id else self._by_side(question),
        )

    def _matched(self, question: Question, verdict: Verdict) -> tuple[Matched, ...]:
        """A statement that denies stands alone; of those that allow there is one of each policy."""
        if verdict.decision is Decision.EXPLICIT_DENY:
            return (self._found(verdict),)
        allowing = (_alone(question, policy) for policy in (*self._identity, *self._resource))
        return tuple(self._found(each) for each in allowing if each.decision is Decision.ALLOW)

    def _found(self, verdict: Verdict) -> Matched:
        statement = verdict.statement
        assert statement is not None, "a statement decided"
        number = int(statement.source)
        if number not in self._spans:
            self._spans[number] = statement_spans(self._all[number].document)
        return Matched(policy=self._all[number], span=self._spans[number][statement.index])

    def _allows(self, question: Question, policies: Sequence[Policy]) -> bool:
        return _decide_inside(question, policies).decision is Decision.ALLOW

    def _by_side(self, question: Question) -> Mapping[str, Decision]:
        """The caller's account and the resource's have to allow, each by its own policies."""
        resource = [_alone(question, policy) for policy in self._resource]
        return {
            "IAM Policy": _decide_inside(question, self._identity).decision,
            "Resource Policy": resource[0].decision if resource else Decision.IMPLICIT_DENY,
        }

    def _add(self, *policies: Simulated) -> tuple[Policy, ...]:
        first = len(self._all)
        self._all += policies
        return tuple(policy.compiled(first + index) for index, policy in enumerate(policies))


def _decide_inside(question: Question, policies: Sequence[Policy]) -> Verdict:
    """Return what some policies say, as if they were the caller's only ones, in the resource's own account."""
    principal = question.principal
    return decide(
        Question(
            principal=principal,
            action=question.action,
            resource=question.resource,
            resource_account_id=principal.account_id,
            context=question.context,
        ),
        PolicySet(identity=tuple(policies)),
    )


def _alone(question: Question, policy: Policy) -> Verdict:
    """Return what one policy says: who it is about counts in those of resources alone."""
    return _decide_inside(question, (policy,))


def _boundary(wanted: Wanted, own: Simulated | None) -> tuple[Simulated, ...]:
    if len(wanted.boundaries) > 1:
        raise InvalidInput(message="Only one permissions boundary can be simulated.")
    if wanted.boundaries:
        return simulated_policies.given(
            wanted.boundaries,
            "PermissionsBoundaryPolicyInputList",
            kind=PolicyKind.BOUNDARY,
        )
    return () if own is None else (own,)


def _entity(connection: Connection, account_id: str, arn: str) -> Entity:
    kind, name = _parse(arn)
    found = None
    if arn.isascii() and arn.isprintable():  # PostgreSQL's text takes no NUL
        found = iam_entities.find(connection, account_id, kind, name)
    if found is None or found.arn != arn:
        raise NoSuchEntity(message=f"The {kind.value} with name {name} cannot be found.")
    return found


def _principal(arn: str, unique_id: str) -> Principal:
    """Return the caller that an ARN of a user, group or role names. Raises InvalidInput."""
    kind = _parse(arn)[0]
    is_role = kind is EntityKind.ROLE
    return Principal(
        account_id=_account_of(arn) or "",
        type=PrincipalType.ASSUMED_ROLE if is_role else PrincipalType.USER,
        arn=arn,
        unique_id=unique_id,
        role_arn=arn if is_role else None,
    )


def _parse(arn: str) -> tuple[EntityKind, str]:
    """Return kind and name. Raises InvalidInput for what is no user, group or role."""
    parts = arn.split(":", maxsplit=_ARN_PARTS - 1)
    if len(parts) == _ARN_PARTS and parts[0] == "arn" and parts[2] == "iam" and is_account_id(parts[4]):
        kind, _, rest = parts[5].partition("/")
        name = rest.rpartition("/")[2]
        if kind in {each.value for each in EntityKind} and name:
            return EntityKind(kind), name
    raise InvalidInput(
        message=f"Invalid Entity Arn: {arn[:256]} does not clearly define entity type and name."
    )


def _owner(text: str) -> str:
    """Return the account that a number, or the ARN of an account's root, names. Raises InvalidInput."""
    account_id = text if is_account_id(text) else _account_of(text)
    if account_id is None:
        raise InvalidInput(message=f"Invalid ResourceOwner: {text[:256]}")
    return account_id


def _account_of(resource: str) -> str | None:
    """Return the account in an ARN; None: it names none. Raises InvalidInput for what is neither ARN nor `*`."""
    if resource == EVERYTHING:
        return None
    parts = resource.split(":", maxsplit=_ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS or parts[0] != "arn":
        raise InvalidInput(message=f"Invalid resource: {resource[:256]} is neither an ARN nor *.")
    return parts[4] if is_account_id(parts[4]) else None
