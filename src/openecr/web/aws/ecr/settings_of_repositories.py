"""What CreateRepository and PutImageTagMutability are told, read into the domain's settings and written back."""

from typing import Any

from openecr.domain.errors import InvalidParameter
from openecr.domain.repositories import (
    AES256,
    Encryption,
    RepositorySettings,
    TagMutability,
    TagMutabilitySetting,
)
from openecr.web.aws.call import Parameters

MAX_WILDCARDS = 2
"""Asterisks that one exclusion filter may have."""

_MODE = "imageTagMutability"
_FILTERS = "imageTagMutabilityExclusionFilters"
_ENCRYPTION = "encryptionConfiguration"


def read_settings(parameters: Parameters) -> RepositorySettings:
    """Read what CreateRepository chooses. Raises InvalidParameter."""
    scanning: Parameters = parameters.get("imageScanningConfiguration") or {}
    return RepositorySettings(
        tag_mutability=read_tag_mutability(parameters),
        scan_on_push=scanning.get("scanOnPush", False),
        encryption=_read_encryption(parameters.get(_ENCRYPTION) or {}),
    )


def read_tag_mutability(parameters: Parameters) -> TagMutabilitySetting:
    """Read the mode and its filters. Raises InvalidParameter where they contradict each other."""
    mode = TagMutability(parameters.get(_MODE, TagMutability.MUTABLE.value))
    filters = tuple(each["filter"] for each in parameters.get(_FILTERS) or ())
    if mode.takes_filters and not filters:
        raise _refused(f"can't be null when imageTagMutability is set as {mode.value}")
    if filters and not mode.takes_filters:
        raise _refused(f"must be null when imageTagMutability is set as {mode.value}")
    if any(each.count("*") > MAX_WILDCARDS for each in filters):
        raise _refused(f"can have at most {MAX_WILDCARDS} wildcards in each filter")
    return TagMutabilitySetting(mode=mode, exclusion_filters=filters)


def write_tag_mutability(setting: TagMutabilitySetting) -> dict[str, Any]:
    """Return the members that tell a mode and its filters."""
    filters = [{"filterType": "WILDCARD", "filter": each} for each in setting.exclusion_filters]
    return {_MODE: setting.mode.value, _FILTERS: filters or None}


def write_encryption(encryption: Encryption) -> dict[str, Any]:
    """Return the encryption configuration."""
    return {"encryptionType": encryption.encryption_type, "kmsKey": encryption.kms_key}


def _read_encryption(configuration: Parameters) -> Encryption:
    """Read the type, and for those of KMS the key as it is named; a key for AES256 makes no sense to ECR."""
    kind = configuration.get("encryptionType", AES256)
    if kind != AES256:
        return Encryption(encryption_type=kind, kms_key=configuration.get("kmsKey"))
    if "kmsKey" in configuration:
        raise InvalidParameter(
            parameter=_ENCRYPTION, constraint="kmsKey cannot be set when encryptionType is AES256"
        )
    return Encryption()


def _refused(reason: str) -> InvalidParameter:
    return InvalidParameter(parameter=_FILTERS, constraint=f"ImageTagMutabilityExclusionFilters {reason}")
