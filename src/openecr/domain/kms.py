"""KMS keys: their names and states, aliases, grants, and the policies that keys begin with (KMS developer guide)."""

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from openecr.domain.iam import root_arn
from openecr.domain.registries import PARTITION, RegistryId, is_account_id, is_region

ALIAS_PREFIX = "alias/"
RESERVED_ALIAS_PREFIX = "alias/aws/"
"""Aliases of keys that services make; nobody else may make or change one."""

POLICY_NAME = "default"
"""The one name that a key policy has."""

KEY_SPEC = "SYMMETRIC_DEFAULT"
KEY_USAGE = "ENCRYPT_DECRYPT"
KEY_ORIGIN = "AWS_KMS"
"""What every key here is: AES-256, for encryption, its material made by the server."""

MATERIAL_BYTES = 32
MATERIAL_ID_BYTES = 32
PLAINTEXT_MAX_BYTES = 4_096

CONTEXT_OPERATIONS = frozenset(
    {
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "ReEncryptFrom",
        "ReEncryptTo",
    }
)
"""Operations with an encryption context, which constraints of grants are about."""

GRANT_OPERATIONS = CONTEXT_OPERATIONS | {"CreateGrant", "DescribeKey", "RetireGrant"}
"""What grants for symmetric keys may be about (KMS developer guide, "Grant operations")."""

_CROSSING_ACTIONS = frozenset(
    f"kms:{operation}".lower()
    for operation in (
        *CONTEXT_OPERATIONS,
        "CreateGrant",
        "DescribeKey",
        "GetKeyRotationStatus",
        "ListGrants",
        "RetireGrant",
        "RevokeGrant",
    )
)
"""What may be done with a key of another account (KMS API reference, "Cross-account use" of each operation)."""

FOLDED_CONTEXT_KEYS = "openecr:EncryptionContextKeys"
"""The condition key of a context's keys in lower case: what constraints of grants are compared with."""

_KEY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MULTI_REGION_KEY_ID = re.compile(r"mrk-[0-9a-f]{32}", re.ASCII)
_ALIAS = re.compile(r"alias/[a-zA-Z0-9/_-]{1,250}", re.ASCII)
_ARN_PARTS = 6


class KeyState(enum.Enum):
    """What a key may be used for."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"


class KeyManager(enum.Enum):
    """Whose key it is: of a service of AWS, made on its first use, or the account's own."""

    AWS = "AWS"
    CUSTOMER = "CUSTOMER"


class RotationType(enum.Enum):
    """Why a material was made."""

    AUTOMATIC = "AUTOMATIC"
    ON_DEMAND = "ON_DEMAND"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyName:
    """A key as a request names it: by its id, or by an alias (`alias/...`) of it.

    `grant_id` names one of its grants besides, which then is the only one that counts. `is_in_ciphertext`: not the
    request names it, but what is to be decrypted.
    """

    key_id: str = ""
    alias: str = ""
    grant_id: str = ""
    is_in_ciphertext: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsKey:
    """A key. `rotation_period_days` None: its material is not rotated by itself."""

    key_id: str
    registry: RegistryId
    description: str
    state: KeyState
    manager: KeyManager
    created_at: int
    policy: str
    policy_principals: Mapping[str, str | None]
    material_id: str
    deletion_at: int | None = None
    rotation_period_days: int | None = None
    next_rotation_at: int | None = None

    @property
    def arn(self) -> str:
        """Return the key's ARN."""
        return key_arn(self.registry, self.key_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaterial:
    """One of a key's materials, sealed. `rotation` is None for the first one. `number` counts from 1."""

    material_id: str
    number: int
    sealed: bytes
    created_at: int
    rotation: RotationType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsAlias:
    """Another name of a key, with `alias/`."""

    registry: RegistryId
    name: str
    key_id: str
    created_at: int
    updated_at: int

    @property
    def arn(self) -> str:
        """Return the alias's ARN."""
        return alias_arn(self.registry, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantConstraints:
    """Which encryption contexts a grant is about: those with these pairs, or exactly these pairs. None: any."""

    subset: Mapping[str, str] | None = None
    equals: Mapping[str, str] | None = None
    source_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsGrant:
    """A grant. Principals are ARNs or names of services; `principal_ids` are the ids of those ARNs when it was made."""

    grant_id: str
    key_id: str
    registry: RegistryId
    name: str | None
    grantee: str
    retiring: str | None
    principal_ids: Mapping[str, str | None]
    operations: tuple[str, ...]
    constraints: GrantConstraints
    issuing_account: str
    created_at: int

    @property
    def is_services(self) -> bool:
        """Tell whether a service, and no principal of an account, is the grantee."""
        return not self.grantee.startswith("arn:")


def is_within_account(action: str) -> bool:
    """Tell whether an action is one of KMS that is for keys of the caller's account alone, whatever policies say."""
    folded = action.lower()
    return folded.startswith("kms:") and folded not in _CROSSING_ACTIONS


def key_arn(registry: RegistryId, key_id: str) -> str:
    """Return the ARN of a key."""
    return f"arn:{PARTITION}:kms:{registry.region}:{registry.account_id}:key/{key_id}"


def alias_arn(registry: RegistryId, name: str) -> str:
    """Return the ARN of an alias, whose name begins with `alias/`."""
    return f"arn:{PARTITION}:kms:{registry.region}:{registry.account_id}:{name}"


def is_key_id(text: str) -> bool:
    """Tell whether a text has the form of a key's id."""
    return _KEY_ID.fullmatch(text) is not None or _MULTI_REGION_KEY_ID.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Tell whether a text has the form of an alias."""
    return _ALIAS.fullmatch(text) is not None


def parse_key_arn(text: str) -> tuple[RegistryId, str] | None:
    """Return where the key or alias is that an ARN names, and what follows the account; None: it is no such ARN."""
    parts = text.split(":", _ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS or parts[:3] != ["arn", PARTITION, "kms"]:
        return None
    _, _, _, region, account_id, resource = parts
    if not is_region(region) or not is_account_id(account_id):
        return None
    return RegistryId(account_id=account_id, region=region), resource


def default_policy(account_id: str) -> str:
    """Return the policy of a key that was made without one: the account's IAM policies decide."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(account_id)},
        "Action": "kms:*",
        "Resource": "*",
    }
    return _laid_out(
        {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]},
    )


def managed_policy(registry: RegistryId, service: str, title: str) -> str:
    """Return the policy of a service's key (KMS developer guide, "Viewing key policies of AWS managed keys").

    Everybody in the account may use it through the service, and look at it.
    """
    used = {
        "Sid": f"Allow access through {title} for all principals in the account that are authorized to use {title}",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [
            "kms:Encrypt",
            "kms:Decrypt",
            "kms:ReEncrypt*",
            "kms:GenerateDataKey*",
            "kms:CreateGrant",
            "kms:DescribeKey",
        ],
        "Resource": "*",
        "Condition": {
            "StringEquals": {
                "kms:CallerAccount": registry.account_id,
                "kms:ViaService": service_principal(service, registry.region),
            }
        },
    }
    seen = {
        "Sid": "Allow direct access to key metadata to the account",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(registry.account_id)},
        "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant", "kms:RetireGrant"],
        "Resource": "*",
    }
    return _laid_out({"Version": "2012-10-17", "Id": f"auto-{service}-1", "Statement": [used, seen]})


def service_principal(service: str, region: str) -> str:
    """Return a service's name in a region, as grants and `kms:ViaService` have it."""
    return f"{service}.{region}.amazonaws.com"


def _laid_out(document: Mapping[str, object]) -> str:
    """Write a policy as GetKeyPolicy shows the ones that KMS made."""
    return json.dumps(document, indent=2, separators=(",", " : "))


def context_keys(context: Mapping[str, str] | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the condition keys that tell an encryption context."""
    if not context:
        return ()
    return (
        *((f"kms:EncryptionContext:{key}", (value,)) for key, value in context.items()),
        ("kms:EncryptionContextKeys", tuple(context)),
        (FOLDED_CONTEXT_KEYS, tuple(key.lower() for key in context)),
    )
