"""How calls of the AWS face stand in the audit trail, and which of their parameters it keeps.

Parameters are kept by a list of names: what is not on it, such as a secret, a token or a layer's bytes, is not kept.
"""

import functools
from collections.abc import Mapping
from typing import cast

from openecr.domain.audit import ITEMS_MAX, clean
from openecr.domain.decisions import AuditedCall
from openecr.web.aws.call import Parameters
from openecr.web.aws.rows import Row

_READS = (
    "AssumeRole",
    "BatchCheck",
    "BatchGet",
    "Decrypt",
    "Describe",
    "Encrypt",
    "Generate",
    "Get",
    "List",
    "Lookup",
    "ReEncrypt",
    "Simulate",
)
"""Beginnings of the names of operations that change nothing; to take a role changes nothing either (CloudTrail)."""

_UPLOADS = frozenset({"InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"})
"""They change something, but make nothing visible: their records need not commit with them."""

_POLICY_MAX_CHARACTERS = 6_144
_POLICIES = frozenset({"assumeRolePolicyDocument", "policy", "policyDocument", "policyText"})
_KEPT = _POLICIES | {
    "accessKeyId",
    "aliasName",
    "appliedScanFrequency",
    "awsServiceName",
    "bypassPolicyLockoutSafetyCheck",
    "catalogIds",
    "clientIDList",
    "constraints",
    "customerMasterKeySpec",
    "destinationEncryptionContext",
    "destinationKeyId",
    "dryRun",
    "durationSeconds",
    "encryptionConfiguration",
    "encryptionContext",
    "endTime",
    "filter",
    "force",
    "grantId",
    "granteePrincipal",
    "groupName",
    "imageDigest",
    "imageId",
    "imageIds",
    "imageScanningConfiguration",
    "imageTag",
    "imageTagMutability",
    "includeKeyMaterial",
    "keyId",
    "keySpec",
    "keyUsage",
    "layerDigest",
    "layerDigests",
    "maxItems",
    "maxResults",
    "maxSessionDuration",
    "multiRegion",
    "name",
    "newGroupName",
    "newPath",
    "newUserName",
    "numberOfBytes",
    "onlyAttached",
    "openIDConnectProviderArn",
    "operations",
    "origin",
    "partFirstByte",
    "partLastByte",
    "path",
    "pathPrefix",
    "pendingWindowInDays",
    "permissionsBoundary",
    "policyArn",
    "policyName",
    "policyScope",
    "policySourceArn",
    "providerId",
    "registryId",
    "registryIds",
    "repositoryName",
    "repositoryNames",
    "resourceArn",
    "retiringPrincipal",
    "roleArn",
    "roleName",
    "roleSessionName",
    "rotationPeriodInDays",
    "scope",
    "setAsDefault",
    "sourceEncryptionContext",
    "sourceIdentity",
    "sourceKeyId",
    "startTime",
    "status",
    "subjectId",
    "tagKeys",
    "targetKeyId",
    "uploadId",
    "url",
    "userName",
    "value",
    "versionId",
}
_MAPS = frozenset(
    {
        "destinationEncryptionContext",
        "encryptionContext",
        "encryptionContextEquals",
        "encryptionContextSubset",
        "sourceEncryptionContext",
    }
)
"""What callers give with keys of their own, whose letter case means something; all else names members."""

_DEPTH = 3


@functools.cache
def audited_call(service: str, name: str) -> AuditedCall:
    """Return how an operation is called in the trail."""
    is_read_only = name.startswith(_READS)
    return AuditedCall(
        source=f"{service}.amazonaws.com",
        name=name,
        is_read_only=is_read_only,
        commits=not is_read_only and service != "sts" and name not in _UPLOADS,
    )


def audited_row(row: Row) -> AuditedCall:
    """Return how a row's operation is called in the trail."""
    return audited_call(row.service, row.name)


def kept_parameters(parameters: Parameters) -> dict[str, object]:
    """Return what the trail keeps of a call's parameters, by CloudTrail's names: they begin with a small letter."""
    named = ((_name(name), value) for name, value in parameters.items())
    return {name: _bounded(name, value) for name, value in named if _is_kept(name, value)}


def _name(name: str) -> str:
    return name[:1].lower() + name[1:]


def _is_kept(name: str, value: object) -> bool:
    """A policy that is longer than most is left out: half of one says the wrong thing."""
    if name in _POLICIES and isinstance(value, str):
        return len(value) <= _POLICY_MAX_CHARACTERS
    return name in _KEPT


def _bounded(name: str, value: object, depth: int = 0) -> object:
    match value:
        case str():
            return clean(value, _POLICY_MAX_CHARACTERS) if depth == 0 and name in _POLICIES else clean(value)
        case list() if depth < _DEPTH:
            return [_bounded("", each, depth + 1) for each in cast("list[object]", value)[:ITEMS_MAX]]
        case dict() if depth < _DEPTH:
            members = list(cast("Mapping[str, object]", value).items())[:ITEMS_MAX]
            named = ((key if name in _MAPS else _name(key), each) for key, each in members)
            return {clean(key): _bounded(key, each, depth + 1) for key, each in named}
        case bool() | int():
            return value
        case _:
            return None
