"""Principals in policies, and the caller that they are compared with (IAM user guide, "Principal")."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ARN_PARTS = 6
_ACCOUNT_DIGITS = 12


class PrincipalType(enum.Enum):
    """What a caller is."""

    ROOT = "root"
    USER = "user"
    ASSUMED_ROLE = "assumed role"
    FEDERATED_USER = "federated user"
    WEB_IDENTITY = "web identity"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. `arn`: of a user, session or root, or a service's name, or the ARN of an identity provider.

    `unique_id` is a user's, a role's (without the session's name), or of root the account's id. `role_arn` is that of a
    role session; `user_arn` and `user_id` are those of the user who made a federated one.
    """

    account_id: str
    type: PrincipalType
    arn: str
    unique_id: str
    role_arn: str | None = None
    user_arn: str | None = None
    user_id: str | None = None


class Strength(enum.IntEnum):
    """How a statement names a principal, which decides what may still limit what it grants."""

    NONE = 0
    ACCOUNT = 1
    """The account decides which of its principals may: their own policies have to allow it too."""
    ROLE = 2
    """Every session of a role, or that a user federated; boundary and session policy limit it."""
    DIRECT = 3


class PrincipalList:
    """The principals of a statement, or all but them."""

    __slots__ = (
        "_accounts",
        "_arns",
        "_everyone",
        "_ids",
        "_is_deny",
        "_is_excluded",
        "_others",
        "_unique_ids",
    )

    def __init__(
        self,
        named: Sequence[tuple[str, str]],
        ids: Mapping[str, str | None],
        *,
        is_excluded: bool,
        is_deny: bool,
    ) -> None:
        """`named` are (type, name); `ids` the unique ids that ARNs had when the policy was stored, None: gone."""
        self._is_excluded = is_excluded
        self._is_deny = is_deny
        self._ids = dict(ids)
        aws = [name for kind, name in named if kind == "AWS"]
        self._everyone = "*" in aws
        self._accounts = frozenset(account for name in aws if (account := _account_of(name)) is not None)
        self._arns = frozenset(name for name in aws if name.startswith("arn:"))
        self._unique_ids = frozenset(name for name in aws if name[:4] in {"AIDA", "AROA"})
        self._others = frozenset(name for kind, name in named if kind in {"Service", "Federated"})

    def strength(self, principal: Principal, *, has_boundary: bool) -> Strength:
        """Return how a principal is named."""
        if not self._is_excluded:
            return self._named(principal)
        if self._is_deny:
            return Strength.NONE if self._is_spared(principal) and not has_boundary else Strength.DIRECT
        return Strength.DIRECT if self._named(principal) is Strength.NONE else Strength.NONE

    def _named(self, principal: Principal) -> Strength:
        if principal.type in {PrincipalType.SERVICE, PrincipalType.WEB_IDENTITY}:
            return Strength.DIRECT if self._everyone or principal.arn in self._others else Strength.NONE
        if self._everyone or self._names(principal.arn, principal.unique_id, principal):
            return Strength.DIRECT
        if principal.unique_id in self._unique_ids:
            return Strength.ROLE if principal.type is PrincipalType.ASSUMED_ROLE else Strength.DIRECT
        if self._names_origin(principal):
            return Strength.ROLE
        return Strength.ACCOUNT if principal.account_id in self._accounts else Strength.NONE

    def _names_origin(self, principal: Principal) -> bool:
        """Tell whether the role or user behind a session stands here."""
        if principal.role_arn is not None:
            return (
                self._names(principal.role_arn, principal.unique_id, principal)
                or principal.unique_id in self._unique_ids
            )
        if principal.user_arn is None or principal.user_id is None:
            return False
        return (
            self._names(principal.user_arn, principal.user_id, principal)
            or principal.user_id in self._unique_ids
        )

    def _names(self, arn: str, unique_id: str, principal: Principal) -> bool:
        """Tell whether an ARN stands here and still means who has the id: a new one of the same name is another."""
        if arn not in self._arns or principal.type is PrincipalType.ROOT:
            return False
        return arn not in self._ids or self._ids[arn] == unique_id

    def _is_spared(self, principal: Principal) -> bool:
        """NotPrincipal has to name the caller, the account, and of a session the role too."""
        if self._everyone:
            return True
        if principal.type in {PrincipalType.SERVICE, PrincipalType.WEB_IDENTITY}:
            return principal.arn in self._others
        if principal.account_id not in self._accounts:
            return False
        if principal.type is PrincipalType.ROOT:
            return True
        is_named = self._names(principal.arn, principal.unique_id, principal)
        if principal.role_arn is not None:
            return is_named and self._names_origin(principal)
        return is_named or principal.unique_id in self._unique_ids


def _account_of(name: str) -> str | None:
    """Return the account that a principal names as a whole: by its id or by its root's ARN."""
    if len(name) == _ACCOUNT_DIGITS and name.isdigit():
        return name
    parts = name.split(":")
    if len(parts) == _ARN_PARTS and parts[2] == "iam" and parts[5] == "root":
        return parts[4]
    return None
