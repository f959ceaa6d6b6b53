"""Accounts and their access keys."""

import enum
from dataclasses import dataclass, field


class KeyStatus(enum.Enum):
    """IAM API: the status of an access key."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account and the root access keys that work."""

    account_id: str
    created_at: int
    access_key_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUse:
    """When an access key was last used, for which service and region."""

    used_at: int
    service: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOwner:
    """Whose an access key is. `user` is the name and path of a user, None for the root, whose id is the account's."""

    access_key_id: str
    account_id: str
    principal_id: str
    user: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey:
    """An access key as it is kept: the secret is sealed."""

    access_key_id: str
    account_id: str
    principal_id: str
    sealed_secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """An access key without its secret. The principal is a user, or the root, whose id is the account's."""

    access_key_id: str
    account_id: str
    principal_id: str
    status: KeyStatus
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKey:
    """A root access key with its secret in clear, for the one who asked for it. `is_new`: it was just made."""

    account_id: str
    access_key_id: str
    secret: str = field(repr=False)
    is_new: bool = False
