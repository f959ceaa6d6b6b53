"""Why a caller may or may not do a thing: for the operator, who may know every policy."""

from collections.abc import Mapping, Sequence

from openecr.application.audit_lookup import AuditLookup
from openecr.application.authorization import Authorizer
from openecr.application.policy_principals import is_known
from openecr.domain.audit import explanation_of
from openecr.domain.callers import Caller, RequestContext, RoleSession, Root, Session, User
from openecr.domain.decisions import Requirement
from openecr.domain.errors import OperatorError
from openecr.domain.iam import Entity, EntityKind
from openecr.domain.kms import KeyName, is_key_id, is_within_account, parse_key_arn
from openecr.domain.registries import RegistryId, is_account_id, is_region, parse_repository_arn
from openecr.ports.clock import Clock
from openecr.store import iam_entities
from openecr.store.database import Database

_SESSION_NAME = "explain"
_NOBODYS_KEY = ""
_HOUR = 3_600_000_000
_ARN_PARTS = 6


class Explanations:
    """Answers `openecr explain`."""

    def __init__(
        self,
        *,
        database: Database,
        authorizer: Authorizer,
        lookup: AuditLookup,
        clock: Clock,
        region: str,
    ) -> None:
        """`region` is that of requests about what has none."""
        self._database = database
        self._lookup = lookup
        self._authorizer = authorizer
        self._clock = clock
        self._region = region

    async def explain(
        self, principal: str, action: str, resource: str, keys: Mapping[str, tuple[str, ...]]
    ) -> Mapping[str, object]:
        """Decide as a request of this principal would be decided now, and say why. Raises OperatorError."""
        caller = await self._caller(principal)
        requirement = _requirement(caller, action, resource, keys, self._region)
        context = RequestContext(
            requested_at=self._clock.now(),
            request_id="explain",
            region=requirement.registry.region,
            source_address="127.0.0.1",
            is_secure_transport=True,
            user_agent="",
        )
        grant = await self._authorizer.decide(caller, context, requirement)
        return explanation_of(grant)

    async def of_request(self, request_id: str) -> Mapping[str, object]:
        """Return why a request was denied, as it was noted then. Raises OperatorError."""
        found = await self._lookup.find_explanation(request_id)
        if found is None:
            raise OperatorError(message=f"nothing is known of a denial of the request {request_id[:64]}")
        return found

    async def unknown_principals(self, principals: Sequence[str]) -> list[str]:
        """Return those that no policy of this server may name: users, roles and accounts that are not there."""
        return await self._database.scan(
            lambda connection: [each for each in principals if not is_known(connection, each)]
        )

    async def _caller(self, arn: str) -> Caller:
        """Return the caller that an ARN of a root, user, role or role session names."""
        parts = arn.split(":", maxsplit=_ARN_PARTS - 1)
        if len(parts) != _ARN_PARTS or parts[0] != "arn" or not is_account_id(parts[4]):
            raise OperatorError(message=f"not the ARN of a principal: {arn[:256]}")
        account_id, (kind, _, rest) = parts[4], parts[5].partition("/")
        if parts[2] == "iam" and parts[5] == "root":
            return Root(account_id=account_id, access_key_id=_NOBODYS_KEY)
        if parts[2] == "iam" and kind == "user":
            user = await self._entity(account_id, EntityKind.USER, rest.rpartition("/")[2], arn)
            return User(
                account_id=account_id,
                access_key_id=_NOBODYS_KEY,
                unique_id=user.unique_id,
                name=user.name,
                path=user.path,
            )
        if (parts[2], kind) in {("iam", "role"), ("sts", "assumed-role")}:
            is_session = parts[2] == "sts"
            name, _, session_name = rest.partition("/") if is_session else (rest.rpartition("/")[2], "", "")
            role = await self._entity(account_id, EntityKind.ROLE, name, arn)
            now = self._clock.now()
            return RoleSession(
                account_id=account_id,
                access_key_id=_NOBODYS_KEY,
                unique_id=role.unique_id,
                role_name=role.name,
                session=Session(issued_at=now, expires_at=now + _HOUR, name=session_name or _SESSION_NAME),
            )
        raise OperatorError(message=f"not the ARN of a root, user, role or role session: {arn[:256]}")

    async def _entity(self, account_id: str, kind: EntityKind, name: str, arn: str) -> Entity:
        found = await self._database.read(
            lambda connection: iam_entities.find(connection, account_id, kind, name)
        )
        if found is None:
            raise OperatorError(message=f"there is no such {kind.value}: {arn[:256]}")
        return found


def _requirement(
    caller: Caller, action: str, resource: str, keys: Mapping[str, tuple[str, ...]], region: str
) -> Requirement:
    given = tuple(keys.items())
    if resource == "*":
        registry = RegistryId(account_id=caller.account_id, region=region)
        return Requirement(actions=(action,), registry=registry, context_keys=given)
    named = parse_repository_arn(resource)
    if named is not None:
        return Requirement(actions=(action,), registry=named[0], repository_name=named[1], context_keys=given)
    parts = resource.split(":", maxsplit=_ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS or parts[0] != "arn":
        raise OperatorError(message=f"neither an ARN nor *: {resource[:256]}")
    registry = RegistryId(
        account_id=parts[4] if is_account_id(parts[4]) else caller.account_id,
        region=parts[3] if is_region(parts[3]) else region,
    )
    return Requirement(
        actions=(action,),
        registry=registry,
        arn=resource,
        context_keys=given,
        entity=_key(resource),
        within_account=is_within_account(action),
    )


def _key(arn: str) -> KeyName | None:
    """Return the key that an ARN names, whose policy and grants count. None: it names none."""
    named = parse_key_arn(arn)
    key_id = "" if named is None else named[1].removeprefix("key/")
    return KeyName(key_id=key_id) if is_key_id(key_id) else None
