"""The condition keys of a request, made when a policy asks for them (IAM user guide, global condition context keys)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from openecr.application.identities import Identity, Tags
from openecr.domain.callers import (
    Caller,
    FederatedUser,
    RequestContext,
    RoleSession,
    Root,
    Service,
    Session,
    User,
    WebIdentity,
)
from openecr.engines.iam import UNDECIDED

Values = tuple[str, ...]

UNDECIDED_PREFIX = "openecr:"
"""Keys that only a writing transaction knows: which tags change, of which image."""

_SECOND = 1_000_000


@dataclass(slots=True, kw_only=True)
class Circumstances:
    """What condition keys are made from."""

    caller: Caller
    identity: Identity
    context: RequestContext
    owner_account_id: str
    resource_tags: Tags
    resource_boundary_arn: str | None = None
    resource_keys: Mapping[str, Values] = field(default_factory=dict[str, Values])


class ConditionKeys:
    """What policies may ask of one request about one resource. Names in lower case."""

    __slots__ = ("_circumstances", "_given", "_may_wait", "waits", "were_asked")

    def __init__(
        self, circumstances: Circumstances, given: Mapping[str, Values], *, may_wait: bool = False
    ) -> None:
        """`given` are the request's own keys. `may_wait`: the keys of a write are known only in its transaction."""
        self._circumstances = circumstances
        self._given = given
        self._may_wait = may_wait
        self.waits = False
        self.were_asked = False

    def get(self, key: str) -> Values | None:
        """Return a key's values, None where the request has no such key, or UNDECIDED."""
        self.were_asked = True
        given = self._given.get(key)
        if given is not None:
            return given
        make = _KEYS.get(key)
        if make is not None:
            return make(self._circumstances)
        resource = self._circumstances.resource_keys.get(key)
        if resource is not None:
            return resource
        family, slash, name = key.partition("/")
        if slash:
            return _tag(self._circumstances, family, name)
        if self._may_wait and key.startswith(UNDECIDED_PREFIX):
            self.waits = True
            return UNDECIDED
        return None

    def with_keys(self, given: Mapping[str, Values]) -> "ConditionKeys":
        """Return the same with what the transaction has found out: nothing waits any more."""
        return ConditionKeys(self._circumstances, {**self._given, **given})


def _tag(this: Circumstances, family: str, name: str) -> Values | None:
    if family == "aws:principaltag":
        return _value(_principal_tags(this), name)
    if family in {"aws:resourcetag", "ecr:resourcetag", "iam:resourcetag"}:
        return _value(this.resource_tags, name)
    return None


def _principal_tags(this: Circumstances) -> Tags:
    """Tags of a session override those of its principal."""
    session = this.caller.session
    passed = () if session is None else session.tags
    return {key.lower(): value for key, value in (*this.identity.tags, *passed)}


def _principal_arn(this: Circumstances) -> Values:
    """Of a session the role's ARN, with its path."""
    return (this.identity.arn if isinstance(this.caller, RoleSession) else this.caller.arn,)


def _user_id(this: Circumstances) -> Values:
    caller = this.caller
    if isinstance(caller, RoleSession):
        return (f"{caller.unique_id}:{caller.session.name}",)
    return (caller.unique_id,)


def _issued(this: Circumstances) -> Values | None:
    session = this.caller.session
    return None if session is None else (_iso(session.issued_at),)


def _multi_factor(this: Circumstances) -> Values | None:
    """There are no MFA devices; the key exists for temporary credentials alone."""
    return None if this.caller.session is None else ("false",)


def _of_session(value: Callable[[Session], str | None]) -> Callable[[Circumstances], Values | None]:
    def make(this: Circumstances) -> Values | None:
        found = None if this.caller.session is None else value(this.caller.session)
        return None if found is None else (found,)

    return make


def _federated_provider(this: Circumstances) -> Values | None:
    """Of who asks for a role with a provider's word, and of the session that he got for it."""
    if isinstance(this.caller, WebIdentity):
        return (this.caller.arn,)
    session = this.caller.session
    return None if session is None or session.federated_provider is None else (session.federated_provider,)


def _boundary(this: Circumstances) -> Values | None:
    """Of the user or role that is changed, where the request itself sets none."""
    return None if this.resource_boundary_arn is None else (this.resource_boundary_arn,)


_KEYS: Mapping[str, Callable[[Circumstances], Values | None]] = {
    "aws:currenttime": lambda this: (_iso(this.context.requested_at),),
    "aws:epochtime": lambda this: (str(this.context.requested_at // _SECOND),),
    "aws:securetransport": lambda this: ("true" if this.context.is_secure_transport else "false",),
    "aws:useragent": lambda this: (this.context.user_agent,) if this.context.user_agent else None,
    "aws:sourceip": lambda this: (this.context.source_address,),
    "aws:requestedregion": lambda this: (this.context.region,),
    "aws:principalaccount": lambda this: (this.caller.account_id,),
    "aws:principaltype": lambda this: (_TYPES[type(this.caller)],),
    "aws:principalarn": _principal_arn,
    "aws:userid": _user_id,
    "aws:username": lambda this: (this.caller.name,) if isinstance(this.caller, User) else None,
    "aws:resourceaccount": lambda this: (this.owner_account_id,),
    "aws:principalisawsservice": lambda this: ("true" if isinstance(this.caller, Service) else "false",),
    "aws:viaawsservice": lambda _: ("false",),
    "aws:tokenissuetime": _issued,
    "aws:multifactorauthpresent": _multi_factor,
    "aws:sourceidentity": _of_session(lambda session: session.source_identity),
    "aws:federatedprovider": _federated_provider,
    "iam:permissionsboundary": _boundary,
    "kms:calleraccount": lambda this: (this.caller.account_id,),
}

_TYPES: Mapping[type[Caller], str] = {
    Root: "Account",
    User: "User",
    RoleSession: "AssumedRole",
    FederatedUser: "FederatedUser",
    Service: "Service",
    WebIdentity: "WebIdentityUser",
}


def _value(tags: Tags, key: str) -> Values | None:
    value = tags.get(key)
    return None if value is None else (value,)


def _iso(instant_at: int) -> str:
    return datetime.fromtimestamp(instant_at // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
