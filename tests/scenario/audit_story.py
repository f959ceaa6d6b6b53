"""A day that calls every operation of the AWS face which changes something, in an order in which each succeeds.

A new operation that changes something is added here; a test fails until it is.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.scenario.images import MANIFEST_TYPE, SmallImage, digest_of

Given = Callable[["Day"], dict[str, Any]]


@dataclass
class Day:
    """What calls have made so far: their answers by operation, the last one."""

    answers: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


@dataclass(frozen=True, slots=True)
class Step:
    """One call. `given` may need what earlier calls answered."""

    service: str
    operation: str
    given: dict[str, Any] | Given = field(default_factory=dict[str, Any])

    def parameters(self, day: Day) -> dict[str, Any]:
        """Return the call's parameters."""
        return self.given(day) if callable(self.given) else self.given


IMAGE = SmallImage.named("audited")
_ALLOW_NOTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ecr:*", "Resource": "*"}]}
)
_THE_ACCOUNT = {"AWS": "arn:aws:iam::000000000000:root"}
_LET_THE_ACCOUNT_PULL = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": _THE_ACCOUNT, "Action": "ecr:BatchGetImage"}],
    }
)
_LET_THE_ACCOUNT_REPLICATE = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": _THE_ACCOUNT,
                "Action": "ecr:ReplicateImage",
                "Resource": "arn:aws:ecr:us-east-1:000000000000:repository/*",
            }
        ],
    }
)
_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": _THE_ACCOUNT, "Action": "sts:AssumeRole"}],
    }
)
_READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
_PROVIDER = "arn:aws:iam::000000000000:oidc-provider/ci.example.com"
_POLICY = "arn:aws:iam::000000000000:policy/p"
_TAGS = [{"Key": "k", "Value": "v"}]


def _ecr(operation: str, **given: Any) -> Step:
    return Step("ecr", operation, given)


def _app(operation: str, **given: Any) -> Step:
    return _ecr(operation, repositoryName="story/app", **given)


def _iam(operation: str, **given: Any) -> Step:
    return Step("iam", operation, given)


def _key_of_ann(operation: str, **more: Any) -> Step:
    def given(day: Day) -> dict[str, Any]:
        key = day.answers["CreateAccessKey"]["AccessKey"]["AccessKeyId"]
        return {"UserName": "ann", "AccessKeyId": key, **more}

    return Step("iam", operation, given)


def _upload(content: bytes) -> list[Step]:
    def part(day: Day) -> dict[str, Any]:
        upload_id = day.answers["InitiateLayerUpload"]["uploadId"]
        return {
            "repositoryName": "story/app",
            "uploadId": upload_id,
            "partFirstByte": 0,
            "partLastByte": len(content) - 1,
            "layerPartBlob": content,
        }

    def end(day: Day) -> dict[str, Any]:
        upload_id = day.answers["InitiateLayerUpload"]["uploadId"]
        return {
            "repositoryName": "story/app",
            "uploadId": upload_id,
            "layerDigests": [digest_of(content)],
        }

    return [
        _app("InitiateLayerUpload"),
        Step("ecr", "UploadLayerPart", part),
        Step("ecr", "CompleteLayerUpload", end),
    ]


_ARN = "arn:aws:ecr:us-east-1:000000000000:repository/story/app"

ECR_STEPS = (
    _ecr("PutAccountSetting", name="BLOB_MOUNTING", value="ENABLED"),
    _app("CreateRepository"),
    _app("PutImageTagMutability", imageTagMutability="MUTABLE"),
    _app("PutImageScanningConfiguration", imageScanningConfiguration={"scanOnPush": False}),
    _ecr("TagResource", resourceArn=_ARN, tags=[{"Key": "team", "Value": "a"}]),
    _ecr("UntagResource", resourceArn=_ARN, tagKeys=["team"]),
    *_upload(IMAGE.config),
    *_upload(IMAGE.layer),
    _app(
        "PutImage",
        imageTag="v1",
        imageManifest=IMAGE.manifest().decode(),
        imageManifestMediaType=MANIFEST_TYPE,
    ),
    _app("BatchDeleteImage", imageIds=[{"imageTag": "v1"}]),
    _app("SetRepositoryPolicy", policyText=_LET_THE_ACCOUNT_PULL),
    _app("DeleteRepositoryPolicy"),
    _ecr("PutRegistryPolicy", policyText=_LET_THE_ACCOUNT_REPLICATE),
    _ecr("DeleteRegistryPolicy"),
    _app("DeleteRepository", force=True),
)

IAM_STEPS = (
    _iam("CreateUser", UserName="ann"),
    _iam("UpdateUser", UserName="ann", NewPath="/team/"),
    _iam("CreateAccessKey", UserName="ann"),
    _key_of_ann("UpdateAccessKey", Status="Inactive"),
    _key_of_ann("DeleteAccessKey"),
    _iam("PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=_ALLOW_NOTHING),
    _iam("DeleteUserPolicy", UserName="ann", PolicyName="p"),
    _iam("CreateGroup", GroupName="builders"),
    _iam("UpdateGroup", GroupName="builders", NewPath="/team/"),
    _iam("AddUserToGroup", GroupName="builders", UserName="ann"),
    _iam("RemoveUserFromGroup", GroupName="builders", UserName="ann"),
    _iam("PutGroupPolicy", GroupName="builders", PolicyName="p", PolicyDocument=_ALLOW_NOTHING),
    _iam("DeleteGroupPolicy", GroupName="builders", PolicyName="p"),
    _iam("AttachUserPolicy", UserName="ann", PolicyArn=_READ_ONLY),
    _iam("DetachUserPolicy", UserName="ann", PolicyArn=_READ_ONLY),
    _iam("AttachGroupPolicy", GroupName="builders", PolicyArn=_READ_ONLY),
    _iam("DetachGroupPolicy", GroupName="builders", PolicyArn=_READ_ONLY),
    _iam("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=_READ_ONLY),
    _iam("DeleteUserPermissionsBoundary", UserName="ann"),
    _iam("TagUser", UserName="ann", Tags=_TAGS),
    _iam("UntagUser", UserName="ann", TagKeys=["k"]),
    _iam("DeleteGroup", GroupName="builders"),
    _iam("DeleteUser", UserName="ann"),
)

ROLE_STEPS = (
    _iam("CreateRole", RoleName="ci", AssumeRolePolicyDocument=_TRUST),
    _iam("UpdateRole", RoleName="ci", MaxSessionDuration=7200),
    _iam("UpdateRoleDescription", RoleName="ci", Description="builds"),
    _iam("UpdateAssumeRolePolicy", RoleName="ci", PolicyDocument=_TRUST),
    _iam("PutRolePolicy", RoleName="ci", PolicyName="p", PolicyDocument=_ALLOW_NOTHING),
    _iam("DeleteRolePolicy", RoleName="ci", PolicyName="p"),
    _iam("AttachRolePolicy", RoleName="ci", PolicyArn=_READ_ONLY),
    _iam("DetachRolePolicy", RoleName="ci", PolicyArn=_READ_ONLY),
    _iam("PutRolePermissionsBoundary", RoleName="ci", PermissionsBoundary=_READ_ONLY),
    _iam("DeleteRolePermissionsBoundary", RoleName="ci"),
    _iam("TagRole", RoleName="ci", Tags=_TAGS),
    _iam("UntagRole", RoleName="ci", TagKeys=["k"]),
    _iam("DeleteRole", RoleName="ci"),
    _iam("CreateServiceLinkedRole", AWSServiceName="replication.ecr.amazonaws.com"),
    _iam("DeleteServiceLinkedRole", RoleName="AWSServiceRoleForECRReplication"),
    _iam("CreateOpenIDConnectProvider", Url="https://ci.example.com"),
    _iam("AddClientIDToOpenIDConnectProvider", OpenIDConnectProviderArn=_PROVIDER, ClientID="c"),
    _iam("RemoveClientIDFromOpenIDConnectProvider", OpenIDConnectProviderArn=_PROVIDER, ClientID="c"),
    _iam(
        "UpdateOpenIDConnectProviderThumbprint", OpenIDConnectProviderArn=_PROVIDER, ThumbprintList=["a" * 40]
    ),
    _iam("TagOpenIDConnectProvider", OpenIDConnectProviderArn=_PROVIDER, Tags=_TAGS),
    _iam("UntagOpenIDConnectProvider", OpenIDConnectProviderArn=_PROVIDER, TagKeys=["k"]),
    _iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=_PROVIDER),
)

POLICY_STEPS = (
    _iam("CreatePolicy", PolicyName="p", PolicyDocument=_ALLOW_NOTHING),
    _iam("CreatePolicyVersion", PolicyArn=_POLICY, PolicyDocument=_ALLOW_NOTHING),
    _iam("SetDefaultPolicyVersion", PolicyArn=_POLICY, VersionId="v2"),
    _iam("DeletePolicyVersion", PolicyArn=_POLICY, VersionId="v1"),
    _iam("TagPolicy", PolicyArn=_POLICY, Tags=_TAGS),
    _iam("UntagPolicy", PolicyArn=_POLICY, TagKeys=["k"]),
    _iam("DeletePolicy", PolicyArn=_POLICY),
)


def _key(operation: str, **more: Any) -> Step:
    """One call about the key that CreateKey made."""

    def given(day: Day) -> dict[str, Any]:
        return {"KeyId": day.answers["CreateKey"]["KeyMetadata"]["KeyId"], **more}

    return Step("kms", operation, given)


def _alias(operation: str, *, names_key: bool = True) -> Step:
    def given(day: Day) -> dict[str, Any]:
        key_id = day.answers["CreateKey"]["KeyMetadata"]["KeyId"]
        return {"AliasName": "alias/app"} | ({"TargetKeyId": key_id} if names_key else {})

    return Step("kms", operation, given)


def _end_of_grant(operation: str) -> Step:
    def given(day: Day) -> dict[str, Any]:
        key_id = day.answers["CreateKey"]["KeyMetadata"]["Arn"]
        return {"KeyId": key_id, "GrantId": day.answers["CreateGrant"]["GrantId"]}

    return Step("kms", operation, given)


def _policy_of_key(day: Day) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": _THE_ACCOUNT, "Action": "kms:*", "Resource": "*"}
    return {
        "KeyId": day.answers["CreateKey"]["KeyMetadata"]["KeyId"],
        "Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    }


_GRANT = {"GranteePrincipal": _THE_ACCOUNT["AWS"], "Operations": ["Decrypt"]}

KEY_STEPS = (
    Step("kms", "CreateKey"),
    _key("UpdateKeyDescription", Description="of the story"),
    Step("kms", "PutKeyPolicy", _policy_of_key),
    _key("TagResource", Tags=[{"TagKey": "k", "TagValue": "v"}]),
    _key("UntagResource", TagKeys=["k"]),
    _alias("CreateAlias"),
    _alias("UpdateAlias"),
    _alias("DeleteAlias", names_key=False),
    _key("EnableKeyRotation"),
    _key("DisableKeyRotation"),
    _key("RotateKeyOnDemand"),
    _key("CreateGrant", **_GRANT),
    _end_of_grant("RetireGrant"),
    _key("CreateGrant", **_GRANT),
    _end_of_grant("RevokeGrant"),
    _key("DisableKey"),
    _key("EnableKey"),
    _key("ScheduleKeyDeletion"),
    _key("CancelKeyDeletion"),
)

STEPS: tuple[Step, ...] = (*ECR_STEPS, *IAM_STEPS, *ROLE_STEPS, *POLICY_STEPS, *KEY_STEPS)

NEVER_SUCCEED = frozenset({("iam", "DeleteLoginProfile"), ("iam", "RemoveRoleFromInstanceProfile")})
"""What is served only to say that there is nothing of the kind."""
