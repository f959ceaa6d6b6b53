"""AWS's own managed policies under their ARNs (AWS managed policy reference). They are no rows: nobody changes them."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openecr.domain.registries import PARTITION

_UNIQUE_ID_CHARACTERS = 17
_CREATED_AT = 1_423_000_000_000_000
"""2015: older than anything here, as AWS's are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsPolicy:
    """A policy that AWS keeps. `version` is the number of its default version."""

    name: str
    path: str
    version: int
    document: str
    created_at: int = _CREATED_AT

    @property
    def arn(self) -> str:
        """Return the ARN, which names no account."""
        return f"arn:{PARTITION}:iam::aws:policy{self.path}{self.name}"


def _document(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=4)


def _allow(actions: Sequence[str] | str, **more: object) -> Mapping[str, object]:
    return {"Effect": "Allow", "Action": actions, "Resource": "*", **more}


_READ = (
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:GetRepositoryPolicy",
    "ecr:DescribeRepositories",
    "ecr:ListImages",
    "ecr:DescribeImages",
    "ecr:BatchGetImage",
    "ecr:GetLifecyclePolicy",
    "ecr:GetLifecyclePolicyPreview",
    "ecr:ListTagsForResource",
    "ecr:DescribeImageScanFindings",
)
_UPLOAD = ("InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage")
_PUBLIC_READ = (
    "ecr-public:GetAuthorizationToken",
    "sts:GetServiceBearerToken",
    "ecr-public:BatchCheckLayerAvailability",
    "ecr-public:GetRepositoryPolicy",
    "ecr-public:DescribeRepositories",
    "ecr-public:DescribeRegistries",
    "ecr-public:DescribeImages",
    "ecr-public:DescribeImageTags",
    "ecr-public:GetRepositoryCatalogData",
    "ecr-public:GetRegistryCatalogData",
)


def _policy(name: str, version: int, *statements: Mapping[str, object], path: str = "/") -> AwsPolicy:
    return AwsPolicy(name=name, path=path, version=version, document=_document(*statements))


_SERVICE_ROLE = "/aws-service-role/"
_POLICIES = (
    _policy("AdministratorAccess", 1, _allow("*")),
    _policy("IAMFullAccess", 2, _allow(("iam:*",))),
    _policy("IAMReadOnlyAccess", 4, _allow(("iam:Get*", "iam:List*", "iam:Simulate*"))),
    _policy(
        "AmazonEC2ContainerRegistryFullAccess",
        3,
        _allow(("ecr:*", "cloudtrail:LookupEvents")),
        _allow(
            ("iam:CreateServiceLinkedRole",),
            Condition={"StringEquals": {"iam:AWSServiceName": ["replication.ecr.amazonaws.com"]}},
        ),
    ),
    _policy("AmazonEC2ContainerRegistryReadOnly", 3, _allow(_READ)),
    _policy(
        "AmazonEC2ContainerRegistryPowerUser",
        3,
        _allow((*_READ, *(f"ecr:{name}" for name in _UPLOAD))),
    ),
    _policy(
        "AmazonEC2ContainerRegistryPullOnly",
        1,
        _allow(
            (
                "ecr:GetAuthorizationToken",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
                "ecr:BatchImportUpstreamImage",
            )
        ),
    ),
    _policy(
        "AmazonElasticContainerRegistryPublicFullAccess",
        1,
        _allow(("ecr-public:*", "sts:GetServiceBearerToken")),
    ),
    _policy("AmazonElasticContainerRegistryPublicReadOnly", 1, _allow(_PUBLIC_READ)),
    _policy(
        "AmazonElasticContainerRegistryPublicPowerUser",
        1,
        _allow((*_PUBLIC_READ, *(f"ecr-public:{name}" for name in _UPLOAD))),
    ),
    _policy(
        "ECRReplicationServiceRolePolicy",
        1,
        _allow(("ecr:CreateRepository", "ecr:ReplicateImage")),
        path=_SERVICE_ROLE,
    ),
    _policy("ECRTemplateServiceRolePolicy", 1, _allow(("ecr:CreateRepository",)), path=_SERVICE_ROLE),
    _policy(
        "AWSECRPullThroughCache_ServiceRolePolicy",
        4,
        _allow(
            (
                "ecr:GetAuthorizationToken",
                "ecr:BatchCheckLayerAvailability",
                *(f"ecr:{name}" for name in _UPLOAD),
                "ecr:BatchGetImage",
                "ecr:BatchImportUpstreamImage",
                "ecr:GetDownloadUrlForLayer",
                "ecr:GetImageCopyStatus",
            ),
            Condition={"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}},
        ),
        {
            "Effect": "Allow",
            "Action": ["secretsmanager:GetSecretValue"],
            "Resource": "arn:aws:secretsmanager:*:*:secret:ecr-pullthroughcache/*",
        },
        path=_SERVICE_ROLE,
    ),
)

POLICIES: Mapping[str, AwsPolicy] = {policy.arn: policy for policy in _POLICIES}
"""By ARN, in the order in which they are listed."""


def unique_id(policy: AwsPolicy) -> str:
    """Return an id of AWS's form, always the same for a policy."""
    text = base64.b32encode(hashlib.sha256(policy.arn.encode()).digest()).decode()
    return f"ANPA{text[:_UNIQUE_ID_CHARACTERS]}"


def find_document(arn: str) -> str | None:
    """Return the document of one of AWS's policies, or None where there is no such."""
    policy = POLICIES.get(arn)
    return None if policy is None else policy.document
