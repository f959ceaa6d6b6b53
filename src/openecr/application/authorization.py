"""The one decision function that guards every door.

At this stage roots may do everything in their own account and nothing in another, and nobody else may do anything.
IAM's engine goes behind `decide` without touching a handler.
"""

from openecr.application.iam.entities import locate
from openecr.domain.callers import Caller, RequestContext, Root
from openecr.domain.decisions import Decision, Grant, Mode, PolicyKind, Requirement, Verdict
from openecr.domain.errors import AccessDenied
from openecr.domain.iam import Located
from openecr.domain.repositories import Repository
from openecr.store import repositories
from openecr.store.database import Database


class Authorizer:
    """Resolves the repository that a requirement names, once, and decides."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def authorize(self, caller: Caller, context: RequestContext, requirement: Requirement) -> Grant:
        """Return a grant whose decision is ALLOW. Raises AccessDenied with AWS's sentence."""
        grant = await self.decide(caller, context, requirement)
        if grant.decision is not Decision.ALLOW:
            raise AccessDenied(message=denial(grant))
        return grant

    async def decide(self, caller: Caller, context: RequestContext, requirement: Requirement) -> Grant:
        """Return a grant that holds the decision, whatever it is. Only `authorize` grants anything."""
        resolved, located = await self._resolve(requirement), await self._locate(requirement)
        return self.judge(caller, context, requirement, resolved, located)

    def judge(
        self,
        caller: Caller,
        context: RequestContext,
        requirement: Requirement,
        resolved: Repository | None,
        located: Located | None = None,
    ) -> Grant:
        """Decide where the repository, or the user, group or role, that the requirement names was looked up before.

        It goes into the grant only for a caller who may know: for others what exists and what does not look the same.
        """
        assert resolved is None or (resolved.registry, resolved.name) == (
            requirement.registry,
            requirement.repository_name,
        ), "a decision on one repository grants nothing on another"
        verdict = _decide(caller, requirement)
        return Grant(
            caller=caller,
            context=context,
            requirement=requirement,
            verdict=verdict,
            repository=resolved if verdict.decision is Decision.ALLOW else None,
            located=located if verdict.decision is Decision.ALLOW else None,
        )

    async def _locate(self, requirement: Requirement) -> Located | None:
        if requirement.entity is None:
            return None
        return await self._database.read(
            lambda connection: locate(connection, requirement.registry.account_id, requirement.entity)
        )

    async def _resolve(self, requirement: Requirement) -> Repository | None:
        name = requirement.repository_name
        if name is None or name == "*":
            return None
        return await self._database.read(
            lambda connection: repositories.find(connection, requirement.registry, name)
        )


def _decide(caller: Caller, requirement: Requirement) -> Verdict:
    if caller.account_id != requirement.registry.account_id:
        return Verdict(decision=Decision.IMPLICIT_DENY, missing=PolicyKind.RESOURCE)
    if not isinstance(caller, Root):
        return Verdict(decision=Decision.IMPLICIT_DENY, missing=PolicyKind.IDENTITY)
    return Verdict(decision=Decision.ALLOW)


def denial(grant: Grant) -> str:
    """Return the sentence that tells a caller what was missing (IAM user guide, access denied messages)."""
    requirement = grant.requirement
    action = requirement.actions[-1] if requirement.mode is Mode.ANY_OF else requirement.actions[0]
    who = (
        f"User: {grant.caller.arn} is not authorized to perform: {action} on resource: {requirement.resource}"
    )
    missing = grant.verdict.missing or PolicyKind.IDENTITY
    return f"{who} because no {missing.value} policy allows the {action} action"
