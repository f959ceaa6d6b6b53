"""Every operation of KMS, one row each.

A key of another account is used by few of them, whatever policies say (`domain/kms.py` names their actions).
"""

from openecr.web.aws.call import Handler
from openecr.web.aws.kms import (
    aliases,
    ciphers,
    grants,
    key_policies,
    key_tags,
    keys,
    requirements,
    rotations,
)
from openecr.web.aws.kms.requirements import on_alias_and_key, on_ciphertext_of, on_everything, on_key
from openecr.web.aws.rows import Requires, Row

_KEY = frozenset({"KeyId"})
_TAGS = frozenset({"Tags"})
_ENCRYPTION = frozenset({"KeyId", "EncryptionContext"})
_ALIAS = frozenset({"AliasName"})
_TARGET = frozenset({"AliasName", "TargetKeyId"})
_NONE: frozenset[str] = frozenset()


def _row(name: str, requires: Requires, handler: Handler, needs: frozenset[str] = _NONE) -> Row:
    requires = requirements.within_account(requires)
    return Row(service="kms", name=name, requires=requires, needs=needs, handler=handler)


def _key_row(name: str, handler: Handler) -> Row:
    """An operation on the key that is named by its id or ARN."""
    return _row(name, on_key(f"kms:{name}"), handler, _KEY)


def _encrypting_row(name: str, handler: Handler) -> Row:
    return _row(name, on_ciphertext_of(f"kms:{name}"), handler, _ENCRYPTION)


_KEYS = (
    _row(
        "CreateKey",
        requirements.on_new_key,
        keys.create_key,
        frozenset(
            {
                "BypassPolicyLockoutSafetyCheck",
                "CustomerMasterKeySpec",
                "KeySpec",
                "KeyUsage",
                "MultiRegion",
                "Origin",
                "Tags",
            }
        ),
    ),
    _row("DescribeKey", on_key("kms:DescribeKey", takes_alias=True), keys.describe_key, _KEY),
    _row("ListKeys", on_everything("kms:ListKeys"), keys.list_keys),
    _key_row("EnableKey", keys.enable_key),
    _key_row("DisableKey", keys.disable_key),
    _key_row("UpdateKeyDescription", keys.update_key_description),
    _row(
        "ScheduleKeyDeletion",
        on_key(
            "kms:ScheduleKeyDeletion",
            numbers={"PendingWindowInDays": "kms:ScheduleKeyDeletionPendingWindowInDays"},
        ),
        keys.schedule_key_deletion,
        _KEY | {"PendingWindowInDays"},
    ),
    _key_row("CancelKeyDeletion", keys.cancel_key_deletion),
    _key_row("GetKeyPolicy", key_policies.get_key_policy),
    _row(
        "PutKeyPolicy",
        requirements.on_policy,
        key_policies.put_key_policy,
        _KEY | {"BypassPolicyLockoutSafetyCheck"},
    ),
    _key_row("ListKeyPolicies", key_policies.list_key_policies),
    _row("TagResource", on_key("kms:TagResource"), key_tags.tag_resource, _KEY | _TAGS),
    _row("UntagResource", on_key("kms:UntagResource"), key_tags.untag_resource, _KEY | {"TagKeys"}),
    _key_row("ListResourceTags", key_tags.list_resource_tags),
    _row(
        "EnableKeyRotation",
        on_key("kms:EnableKeyRotation", numbers={"RotationPeriodInDays": "kms:RotationPeriodInDays"}),
        rotations.enable_key_rotation,
        _KEY | {"RotationPeriodInDays"},
    ),
    _key_row("DisableKeyRotation", rotations.disable_key_rotation),
    _key_row("GetKeyRotationStatus", rotations.get_key_rotation_status),
    _key_row("RotateKeyOnDemand", rotations.rotate_key_on_demand),
    _key_row("ListKeyRotations", rotations.list_key_rotations),
)

_ALIASES = (
    _row("CreateAlias", on_alias_and_key("kms:CreateAlias"), aliases.create_alias, _TARGET),
    _row("UpdateAlias", on_alias_and_key("kms:UpdateAlias"), aliases.update_alias, _TARGET),
    _row("DeleteAlias", on_alias_and_key("kms:DeleteAlias"), aliases.delete_alias, _ALIAS),
    _row("ListAliases", on_everything("kms:ListAliases"), aliases.list_aliases),
)

_CIPHERS = (
    _encrypting_row("Encrypt", ciphers.encrypt),
    _row(
        "Decrypt",
        requirements.on_ciphertext,
        ciphers.decrypt,
        frozenset({"CiphertextBlob", "EncryptionContext", "KeyId"}),
    ),
    _row(
        "ReEncrypt",
        requirements.on_re_encryption,
        ciphers.re_encrypt,
        frozenset(
            {
                "CiphertextBlob",
                "DestinationEncryptionContext",
                "DestinationKeyId",
                "SourceEncryptionContext",
                "SourceKeyId",
            }
        ),
    ),
    _encrypting_row("GenerateDataKey", ciphers.generate_data_key),
    _encrypting_row("GenerateDataKeyWithoutPlaintext", ciphers.generate_data_key_without_plaintext),
    _row("GenerateRandom", on_everything("kms:GenerateRandom"), ciphers.generate_random),
)

_GRANTS = (
    _row(
        "CreateGrant",
        requirements.on_new_grant,
        grants.create_grant,
        frozenset({"Constraints", "GranteePrincipal", "KeyId", "Operations", "RetiringPrincipal"}),
    ),
    _key_row("ListGrants", grants.list_grants),
    _row("ListRetirableGrants", on_everything("kms:ListRetirableGrants"), grants.list_retirable_grants),
    _row(
        "RetireGrant",
        requirements.on_retired_grant,
        grants.retire_grant,
        frozenset({"GrantId", "GrantToken", "KeyId"}),
    ),
    _key_row("RevokeGrant", grants.revoke_grant),
)

ROWS: tuple[Row, ...] = (*_KEYS, *_ALIASES, *_CIPHERS, *_GRANTS)
