"""Puts a question to the policy engine: who asks, which policies speak about him and the resource, what is known.

Everything here comes from `Identities`, so a decision reads the database only after something has changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from openecr.application.condition_keys import Circumstances, ConditionKeys, Values
from openecr.application.identities import Guarded, Identities, Identity, Registry, session_policy
from openecr.domain.callers import (
    Caller,
    FederatedUser,
    RequestContext,
    RoleSession,
    Root,
    Service,
    User,
    WebIdentity,
)
from openecr.domain.decisions import Decision, Mode, PolicyKind, Requirement, Verdict
from openecr.domain.iam import Located, root_arn
from openecr.domain.kms import KeyName
from openecr.engines.iam import Policy, PolicySet, Principal, PrincipalType, Question, compile_policy, decide
from openecr.store.principals import Scene

Recheck = Callable[[Mapping[str, Values]], Verdict]
"""Decides again with the keys that only a writing transaction knows, by their names in lower case."""

_ROOT_MAY_MEND = frozenset(
    {
        "ecr:SetRepositoryPolicy",
        "ecr:GetRepositoryPolicy",
        "ecr:DeleteRepositoryPolicy",
        "ecr:PutRegistryPolicy",
        "ecr:GetRegistryPolicy",
        "ecr:DeleteRegistryPolicy",
    }
)
"""What no policy of its own account keeps the root user from, so that nobody is locked out for ever."""

OLD_SCOPE = frozenset({"ecr:ReplicateImage", "ecr:BatchImportUpstreamImage", "ecr:CreateRepository"})
"""What registry policies were about before scope V2."""

_DECIDED_BY_WRITES = frozenset({"ecr:PutImage", "ecr:BatchDeleteImage"})
_OF_REGISTRIES = "ecr:"
_LOGIN = "ecr:GetAuthorizationToken"
_EVERYTHING = compile_policy(
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
    kind=PolicyKind.IDENTITY,
    source="root",
)
_NEVER_ACROSS_ACCOUNTS = Verdict(decision=Decision.IMPLICIT_DENY, missing=PolicyKind.RESOURCE)
_KEPT = 16_384
"""So many questions are remembered; then all are forgotten."""

_NOBODY = Identity()
_NOTHING_SAID = Registry()
_UNGUARDED = Guarded(tags={})
_TRUSTS_NOBODY = Guarded(tags={}, must_allow=True)


@dataclass(slots=True, kw_only=True)
class Decided:
    """A verdict on one requirement. `action` is the one that it is about: the first that is not allowed, or the last.

    `recheck` is None where nothing that the transaction finds out can change the verdict.
    """

    verdict: Verdict
    action: str
    recheck: Recheck | None = None


class Decisions:
    """Decides requirements."""

    def __init__(self, *, identities: Identities) -> None:
        self._identities = identities
        self._kept: dict[tuple[object, ...], _Asked] = {}

    async def decide(
        self,
        caller: Caller,
        context: RequestContext,
        requirement: Requirement,
        scene: Scene,
        located: Located | None,
        *,
        instead: Policy | None = None,
    ) -> Decided:
        """Return what all policies together say.

        What was located has the ARN that the decision is about; `instead` stands for the repository's policy.
        """
        if scene.caller_epoch is None:
            return Decided(verdict=Verdict(decision=Decision.IMPLICIT_DENY), action=requirement.actions[0])
        if requirement.within_account and caller.account_id != requirement.registry.account_id:
            return Decided(verdict=_NEVER_ACROSS_ACCOUNTS, action=requirement.actions[0])
        if instead is not None:
            asked = await self._ask(caller, requirement, scene, located)
            asked.guarded = replace(asked.guarded, policy=instead)
        else:
            asked = await self._asked(caller, requirement, scene, located)
        return _decide(asked, caller, context, requirement)

    async def _asked(
        self, caller: Caller, requirement: Requirement, scene: Scene, located: Located | None
    ) -> "_Asked":
        """Return what was loaded for the same question before, where nothing has changed since."""
        if not caller.access_key_id:
            return await self._ask(caller, requirement, scene, located)
        key = (
            caller.access_key_id,
            requirement.registry,  # of what has no resource it is not told by the ARN
            requirement.resource,
            requirement.actions,
            requirement.mode,
            None if scene.repository is None else scene.repository.id,
            located,
            requirement.entity,
        )
        found = self._kept.get(key)
        # Ids of temporary keys are short enough for two of them to be the same one day.
        is_same = found is not None and (found.caller is caller or found.caller == caller)
        if found is None or not is_same or found.epochs != (scene.caller_epoch, scene.owner_epoch):
            found = await self._ask(caller, requirement, scene, located)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = found
        return found

    async def _ask(
        self, caller: Caller, requirement: Requirement, scene: Scene, located: Located | None
    ) -> "_Asked":
        assert scene.caller_epoch is not None, "the caller's account is there"
        identity = await self._identity(caller, scene.caller_epoch)
        registry, guarded = await self._owner(requirement, scene, located)
        principal = _principal(caller, identity)
        return _Asked(
            epochs=(scene.caller_epoch, scene.owner_epoch),
            caller=caller,
            principal=principal,
            identity=identity,
            session=await self._session(caller, scene.caller_epoch),
            is_own_root=isinstance(caller, Root) and caller.account_id == requirement.registry.account_id,
            registry=registry,
            guarded=guarded,
            granted=await self._granted(requirement, located, principal),
            resource=requirement.resource if located is None else located.arn,
            owner_account_id=requirement.registry.account_id,
        )

    async def _identity(self, caller: Caller, epoch: int) -> Identity:
        match caller:
            case User() | RoleSession():
                return await self._identities.of_principal(caller.unique_id, epoch)
            case FederatedUser() if caller.user_id != caller.account_id:
                return await self._identities.of_principal(caller.user_id, epoch)
            case FederatedUser():
                return Identity(policies=(_EVERYTHING,))
            case Root() | Service() | WebIdentity():
                return _NOBODY

    async def _session(self, caller: Caller, epoch: int) -> tuple[Policy, ...] | None:
        session = caller.session
        if session is None or (
            session.policy is None and not session.policy_arns and not isinstance(caller, FederatedUser)
        ):
            return None
        inline = () if session.policy is None else (session_policy(session.policy),)
        if not session.policy_arns:
            return inline
        return (*inline, *await self._identities.managed(session.policy_arns, PolicyKind.SESSION, epoch))

    async def _owner(
        self, requirement: Requirement, scene: Scene, located: Located | None
    ) -> tuple[Registry, Guarded]:
        """What the owner of the resource has said. An account that is not here has said nothing."""
        if requirement.asks_trust:
            if located is None or scene.owner_epoch is None:
                return _NOTHING_SAID, _TRUSTS_NOBODY
            return _NOTHING_SAID, await self._identities.of_role(located.unique_id, scene.owner_epoch)
        if scene.owner_epoch is not None and located is not None:
            return _NOTHING_SAID, await self._of_located(requirement, located.unique_id, scene.owner_epoch)
        is_about_registry = requirement.arn is None and requirement.actions[0].startswith(_OF_REGISTRIES)
        if scene.owner_epoch is None or not is_about_registry:
            return _NOTHING_SAID, _UNGUARDED
        registry = await self._identities.of_registry(requirement.registry, scene.owner_epoch)
        if scene.repository is None:
            return registry, _UNGUARDED
        return registry, await self._identities.of_repository(scene.repository, scene.owner_epoch)

    async def _of_located(self, requirement: Requirement, unique_id: str, epoch: int) -> Guarded:
        """What is said about a key, a user or a role."""
        if isinstance(requirement.entity, KeyName):
            return await self._identities.of_key(unique_id, epoch)
        named = await self._identities.of_principal(unique_id, epoch)
        return Guarded(
            tags={key.lower(): value for key, value in named.tags},
            boundary_arn=None if named.boundary is None else named.boundary.source,
        )

    async def _granted(
        self, requirement: Requirement, located: Located | None, principal: Principal
    ) -> tuple[Policy, ...]:
        """What grants on the key let the caller do.

        Every grant that is made or ended raises the owner's epoch, but for those of services, whose callers are not
        remembered.
        """
        if not isinstance(requirement.entity, KeyName) or located is None:
            return ()
        names = (principal.arn, principal.role_arn, principal.user_arn, root_arn(principal.account_id))
        return await self._identities.of_grants(
            located.unique_id, [name for name in names if name is not None], requirement.entity.grant_id
        )


@dataclass(slots=True, kw_only=True)
class _Asked:
    """What is the same for every request with the same question, for as long as both accounts' epochs stay.

    `decided` is the answer where no condition key was asked for: then it is always the same too.
    """

    epochs: tuple[int, int | None]
    caller: Caller
    principal: Principal
    identity: Identity
    session: tuple[Policy, ...] | None
    is_own_root: bool
    registry: Registry
    guarded: Guarded
    granted: tuple[Policy, ...]
    resource: str
    owner_account_id: str
    decided: Decided | None = None

    def decide(self, action: str, keys: ConditionKeys) -> Verdict:
        """Nobody is let in to a whole registry by its policy: it keeps from logging in, and lets nobody."""
        said = self._resource_policies(action)
        verdict = self._decide(action, keys, said)
        if action == _LOGIN and said and verdict.decision is not Decision.EXPLICIT_DENY:
            return self._decide(action, keys, ())
        return verdict

    def _decide(self, action: str, keys: ConditionKeys, said: tuple[Policy, ...]) -> Verdict:
        question = Question(
            principal=self.principal,
            action=action,
            resource=self.resource,
            resource_account_id=self.owner_account_id,
            context=keys,
        )
        policies = PolicySet(
            identity=self.identity.policies,
            boundary=self.identity.boundary,
            session=self.session,
            resource=said,
            resource_must_allow=self.guarded.must_allow,
            root_escapes_resource_denies=self.is_own_root and action in _ROOT_MAY_MEND,
        )
        return decide(question, policies)

    def _resource_policies(self, action: str) -> tuple[Policy, ...]:
        found: list[Policy] = []
        if self.guarded.policy is not None:
            found.append(self.guarded.policy)
        registry = self.registry
        if registry.policy is not None and (registry.is_full or action in OLD_SCOPE):
            found.append(registry.policy)
        return (*found, *self.granted)


def _decide(asked: _Asked, caller: Caller, context: RequestContext, requirement: Requirement) -> Decided:
    given = requirement.context_keys
    if asked.decided is not None and not given:
        return asked.decided
    circumstances = Circumstances(
        caller=caller,
        identity=asked.identity,
        context=context,
        owner_account_id=asked.owner_account_id,
        resource_tags=asked.guarded.tags,
        resource_boundary_arn=asked.guarded.boundary_arn,
        resource_keys=asked.guarded.keys,
    )
    keys = ConditionKeys(
        circumstances,
        {name.lower(): values for name, values in given},
        may_wait=not _DECIDED_BY_WRITES.isdisjoint(requirement.actions),
    )
    decided = _decide_all(asked, requirement, keys)
    if not keys.were_asked:
        asked.decided = decided
    return decided


def _decide_all(asked: _Asked, requirement: Requirement, keys: ConditionKeys) -> Decided:
    """All of the actions, or any of them, have to be allowed."""
    is_any = requirement.mode is Mode.ANY_OF
    verdict, action = Verdict(decision=Decision.IMPLICIT_DENY), ""
    for action in requirement.actions:
        verdict = asked.decide(action, keys)
        if (verdict.decision is Decision.ALLOW) is is_any:
            break
    if not keys.waits or verdict.decision is not Decision.ALLOW:
        return Decided(verdict=verdict, action=action)

    def recheck(given: Mapping[str, Values]) -> Verdict:
        return _decide_all(asked, requirement, keys.with_keys(given)).verdict

    return Decided(verdict=verdict, action=action, recheck=recheck)


def _principal(caller: Caller, identity: Identity) -> Principal:
    return Principal(
        account_id=caller.account_id,
        type=_TYPES[type(caller)],
        arn=caller.arn,
        unique_id=caller.unique_id,
        role_arn=identity.arn if isinstance(caller, RoleSession) else None,
        user_arn=identity.arn if isinstance(caller, FederatedUser) else None,
        user_id=caller.user_id if isinstance(caller, FederatedUser) else None,
    )


_TYPES: Mapping[type[Caller], PrincipalType] = {
    Root: PrincipalType.ROOT,
    User: PrincipalType.USER,
    RoleSession: PrincipalType.ASSUMED_ROLE,
    FederatedUser: PrincipalType.FEDERATED_USER,
    Service: PrincipalType.SERVICE,
    WebIdentity: PrincipalType.WEB_IDENTITY,
}
