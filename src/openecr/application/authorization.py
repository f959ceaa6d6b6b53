"""The one decision function that guards every door."""

from collections.abc import Mapping

from openecr.application.decisions import Decided, Decisions
from openecr.application.iam.entities import locate
from openecr.application.identities import Identities
from openecr.application.key_names import locate_key
from openecr.domain.audit import explain, explanation_of
from openecr.domain.callers import Caller, RequestContext, WebIdentity
from openecr.domain.decisions import Check, Decision, Grant, PolicyKind, Requirement, Verdict
from openecr.domain.errors import AccessDenied
from openecr.domain.iam import Located
from openecr.domain.kms import KeyName
from openecr.domain.kms_errors import CIPHERTEXT_DENIED
from openecr.engines.iam import compile_policy, denial_sentence
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.principals import Scene, find_scene


class Authorizer:
    """Resolves what a requirement names, once, and decides."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._decisions = Decisions(identities=Identities(database=database))

    async def authorize(self, caller: Caller, context: RequestContext, requirement: Requirement) -> Grant:
        """Return a grant whose decision is ALLOW. Raises AccessDenied with AWS's sentence."""
        grant = await self.decide(caller, context, requirement)
        if grant.decision is not Decision.ALLOW:
            raise AccessDenied(message=denial(grant), explanation=explanation_of(grant))
        return grant

    async def decide(self, caller: Caller, context: RequestContext, requirement: Requirement) -> Grant:
        """Return a grant that holds the decision, whatever it is. Only `authorize` grants anything."""

        def look(connection: Connection) -> tuple[Scene, Located | None]:
            registry = requirement.registry
            scene = find_scene(connection, caller.account_id, registry, requirement.repository_name)
            return scene, _locate(connection, requirement)

        scene, located = await self._database.read(look)
        return await self.judge(caller, context, requirement, scene, located)

    async def decide_under(self, grant: Grant, policy_text: str) -> Decision:
        """Decide what was granted as it would be if the repository had this policy."""
        requirement = grant.requirement
        scene = await self._database.read(
            lambda connection: find_scene(
                connection, grant.caller.account_id, requirement.registry, requirement.repository_name
            )
        )
        policy = compile_policy(policy_text, kind=PolicyKind.RESOURCE, source=requirement.resource)
        decided = await self._decisions.decide(
            grant.caller, grant.context, requirement, scene, None, instead=policy
        )
        return decided.verdict.decision

    async def verdict_under(
        self, grant: Grant, requirement: Requirement, located: Located, policy_text: str
    ) -> Verdict:
        """Decide what whoever was granted something may do to a key as if it had this policy."""
        policy = compile_policy(policy_text, kind=PolicyKind.RESOURCE, source=located.arn)
        scene = await self._database.read(
            lambda connection: find_scene(connection, grant.caller.account_id, requirement.registry, None)
        )
        decided = await self._decisions.decide(
            grant.caller, grant.context, requirement, scene, located, instead=policy
        )
        return decided.verdict

    async def judge(
        self,
        caller: Caller,
        context: RequestContext,
        requirement: Requirement,
        scene: Scene,
        located: Located | None = None,
    ) -> Grant:
        """Decide where what the requirement names was looked up before.

        It goes into the grant only for a caller who may know: for others what exists and what does not look the same.
        """
        repository = scene.repository
        assert repository is None or (repository.registry, repository.name) == (
            requirement.registry,
            requirement.repository_name,
        ), "a decision on one repository grants nothing on another"
        if requirement.asks_trust and located is not None and located.arn != requirement.resource:
            located = None  # a role is taken by its whole ARN
        decided = await self._decisions.decide(caller, context, requirement, scene, located)
        is_allowed = decided.verdict.decision is Decision.ALLOW
        return Grant(
            caller=caller,
            context=context,
            requirement=requirement,
            verdict=decided.verdict,
            action=decided.action,
            repository=repository if is_allowed else None,
            located=located if is_allowed else None,
            check=_check(caller, context, requirement, decided),
        )


def _locate(connection: Connection, requirement: Requirement) -> Located | None:
    named = requirement.entity
    if isinstance(named, KeyName):
        return locate_key(connection, requirement.registry, named)
    return locate(connection, requirement.registry.account_id, named)


def denial(grant: Grant) -> str:
    """Return the sentence that tells a caller what was missing (IAM user guide, access denied messages)."""
    return _sentence(grant.caller, grant.requirement, grant.action, grant.verdict)


def _sentence(caller: Caller, requirement: Requirement, action: str, verdict: Verdict) -> str:
    if isinstance(caller, WebIdentity):
        return f"Not authorized to perform {action}"
    if isinstance(requirement.entity, KeyName) and requirement.entity.is_in_ciphertext:
        return CIPHERTEXT_DENIED
    if requirement.asks_trust:  # the reason would tell whether the role exists
        return (
            f"User: {caller.arn} is not authorized to perform: {action} on resource: {requirement.resource}"
        )
    return denial_sentence(
        caller_arn=caller.arn, action=action, resource=requirement.resource, verdict=verdict
    )


def _check(
    caller: Caller, context: RequestContext, requirement: Requirement, decided: Decided
) -> Check | None:
    recheck = decided.recheck
    if recheck is None:
        return None

    def check(keys: Mapping[str, tuple[str, ...]]) -> None:
        verdict = recheck(keys)
        if verdict.decision is not Decision.ALLOW:
            action = decided.action
            raise AccessDenied(
                message=_sentence(caller, requirement, action, verdict),
                explanation=explain(
                    caller, context, requirement, verdict, action=action, keys=tuple(keys.items())
                ),
            )

    return check
