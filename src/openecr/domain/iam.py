"""Users, groups and roles: their kinds, names, ARNs and unique ids (IAM user guide, "IAM identifiers")."""

import base64
import enum
from dataclasses import dataclass

from openecr.domain.registries import PARTITION

ROOT_PATH = "/"
ACCESS_KEY_PREFIX = "AKIA"
"""Of keys that last."""

SESSION_KEY_PREFIX = "ASIA"
"""Of keys that STS gives for a time."""

UNIQUE_ID_RANDOM_BYTES = 11
ACCESS_KEY_RANDOM_BYTES = 5

_UNIQUE_ID_CHARACTERS = 17
_ACCOUNT_OFFSET = 1 << 39
_ACCOUNT_BYTES = 5
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_KEY_HEAD_CHARACTERS = 4
_KEY_CHARACTERS = 20
_HALF_OF_ALPHABET = 16


class EntityKind(enum.Enum):
    """The kinds of entities that have policies; the value stands in ARNs and in the database."""

    USER = "user"
    GROUP = "group"
    ROLE = "role"

    @property
    def id_prefix(self) -> str:
        """Return how unique ids of the kind begin."""
        return {EntityKind.USER: "AIDA", EntityKind.GROUP: "AGPA", EntityKind.ROLE: "AROA"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityName:
    """A user, group or role as a request names it.

    `new_name` and `new_path`: the requirement is about what it would be called after a change.
    """

    kind: EntityKind
    name: str
    new_name: str | None = None
    new_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyOwner:
    """The user to whom an access key belongs, named by that key's id."""

    access_key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A user, group or role. `name` is as it was given; no two names of a kind differ by letter case alone."""

    kind: EntityKind
    account_id: str
    unique_id: str
    name: str
    path: str
    created_at: int
    boundary_arn: str | None = None

    @property
    def arn(self) -> str:
        """Return the ARN, path included."""
        return entity_arn(self.kind, self.account_id, self.name, path=self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class IamUser(Entity):
    """A user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IamGroup(Entity):
    """A group of users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IamRole(Entity):
    """A role. `trust_principals`: JSON of the ids that principals in the trust policy had when it was stored."""

    trust_policy: str
    trust_principals: str
    max_session_seconds: int
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """What a requirement's entity was found to be: its id, and the ARN that was decided on."""

    unique_id: str
    arn: str


def entity_arn(kind: EntityKind, account_id: str, name: str, *, path: str = ROOT_PATH) -> str:
    """Return the ARN of a user, group or role."""
    return f"arn:{PARTITION}:iam::{account_id}:{kind.value}{path}{name}"


def root_arn(account_id: str) -> str:
    """Return the ARN of an account's root."""
    return f"arn:{PARTITION}:iam::{account_id}:root"


def policy_arn(account_id: str, name: str, *, path: str = ROOT_PATH) -> str:
    """Return the ARN of a managed policy of an account."""
    return f"arn:{PARTITION}:iam::{account_id}:policy{path}{name}"


def unique_id(prefix: str, random: bytes) -> str:
    """Return an id that never belongs to another entity: a prefix and seventeen of `A-Z2-7`.

    `random` are UNIQUE_ID_RANDOM_BYTES.
    """
    return prefix + base64.b32encode(random).decode()[:_UNIQUE_ID_CHARACTERS]


def access_key_id(prefix: str, account_id: str, random: bytes) -> str:
    """Return an access key's id, whose characters tell the account as those of AWS do.

    Eight of base32 hold half the account's number, and the next one from which half of the alphabet it is tells
    whether the number is odd. `random` are ACCESS_KEY_RANDOM_BYTES.
    """
    half, odd = divmod(int(account_id), 2)
    encoded = base64.b32encode((half + _ACCOUNT_OFFSET).to_bytes(_ACCOUNT_BYTES, "big")).decode()
    tail = base64.b32encode(random).decode()
    parity = _BASE32[_BASE32.index(tail[0]) % _HALF_OF_ALPHABET + _HALF_OF_ALPHABET * odd]
    return f"{prefix}{encoded}{parity}{tail[1:]}"


def account_of_access_key(key_id: str) -> str | None:
    """Return the account whose number an access key's id holds, or None for an id that holds none.

    Keys of older servers hold another's number or none: what counts is the key's row.
    """
    encoded = key_id[_KEY_HEAD_CHARACTERS:]
    if len(key_id) != _KEY_CHARACTERS or not all(character in _BASE32 for character in encoded):
        return None
    half = int.from_bytes(base64.b32decode(encoded[:8]), "big") - _ACCOUNT_OFFSET
    number = 2 * half + (_BASE32.index(encoded[8]) >= _HALF_OF_ALPHABET)
    return f"{number:012}" if 0 <= number < 10**12 else None
