"""Constraints are found and worded as the service words them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.web.aws.model import load_service
from openecr.web.aws.protocol_errors import (
    InvalidParameter,
    ProtocolError,
    QueryValidationFailed,
    ValidationFailed,
)
from openecr.web.aws.validation import validate
from tests.unit.web.aws.oracle import SERVED, values

DIGEST = "sha256:" + "0" * 64
LONG_NAME = "a" * 257


def refusal(service: str, operation: str, value: dict[str, Any]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        validate(load_service(service).operations[operation], value)
    return caught.value


def ecr_message(operation: str, **value: Any) -> str:
    error = refusal("ecr", operation, {"repositoryName": "team/app", **value})
    assert isinstance(error, InvalidParameter)
    assert (error.code, error.status) == ("InvalidParameterException", 400)
    return error.message


@pytest.mark.parametrize(
    ("operation", "value", "parameter", "reason"),
    [
        ("CreateRepository", {"repositoryName": None}, "repositoryName", "Cannot be null"),
        (
            "CreateRepository",
            {"repositoryName": "a"},
            "repositoryName",
            "must have length greater than or equal to 2",
        ),
        (
            "CreateRepository",
            {"repositoryName": LONG_NAME},
            "repositoryName",
            "must have length less than or equal to 256",
        ),
        (
            "CreateRepository",
            {"repositoryName": "A_b"},
            "repositoryName",
            (
                r"must satisfy regular expression "
                r"'[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*'"
            ),
        ),
        (
            "CreateRepository",
            {"imageTagMutability": "SOMETIMES"},
            "imageTagMutability",
            (
                "Member must satisfy enum value set: "
                "[IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE, MUTABLE_WITH_EXCLUSION]"
            ),
        ),
        (
            "CreateRepository",
            {"tags": [{"Key": "a"}]},
            "tags",
            "Member must satisfy constraint: [Member 'Value' must not be null]",
        ),
        (
            "CreateRepository",
            {"encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": ""}},
            "encryptionConfiguration",
            "Member 'kmsKey' must have length greater than or equal to 1",
        ),
        (
            "DescribeRepositories",
            {"registryId": "1"},
            "registryId",
            "must satisfy regular expression '[0-9]{12}'",
        ),
        (
            "DescribeRepositories",
            {"maxResults": 1001},
            "maxResults",
            "Member must have value less than or equal to 1000",
        ),
        (
            "DescribeRepositories",
            {"maxResults": 0},
            "maxResults",
            "Member must have value greater than or equal to 1",
        ),
        (
            "DescribeRepositories",
            {"repositoryNames": ["ab"] * 101},
            "repositoryNames",
            "Member must have length less than or equal to 100",
        ),
        (
            "DescribeImages",
            {"imageIds": []},
            "imageIds",
            "Member must have length greater than or equal to 1",
        ),
        (
            "DescribeImages",
            {"imageIds": [{"imageTag": "v1"}, {"imageTag": "not ok"}]},
            "imageIds",
            (
                "Member must satisfy constraint: [Member 'imageTag' must satisfy regular expression pattern: "
                "[a-zA-Z0-9-_.]+]"
            ),
        ),
        (
            "GetAuthorizationToken",
            {"registryIds": ["1"]},
            "registryIds",
            "Member must satisfy constraint: [Member must satisfy regular expression pattern: [0-9]{12}]",
        ),
        (
            "PutImage",
            {"imageManifest": "{}", "imageTag": "a b"},
            "imageTag",
            "must satisfy regular expression '[a-zA-Z0-9-_.]+'",
        ),
        (
            "PutImage",
            {"imageManifest": ""},
            "ImageManifest",
            "must have length greater than or equal to 1",
        ),
        (
            "PutLifecyclePolicy",
            {"lifecyclePolicyText": "{}"},
            "LifecyclePolicyText",
            "must have length greater than or equal to 100",
        ),
        (
            "SetRepositoryPolicy",
            {"policyText": "a" * 10_241},
            "PolicyText",
            "must have length less than or equal to 10240",
        ),
        (
            "UploadLayerPart",
            {
                "uploadId": "01234567-0123-0123-0123-0123456789ab",
                "partFirstByte": -1,
                "partLastByte": 2,
                "layerPartBlob": b"",
            },
            "partFirstByte",
            "Member must have value greater than or equal to 0",
        ),
        (
            "UploadLayerPart",
            {
                "uploadId": "01234567-0123-0123-0123-0123456789ab",
                "partFirstByte": 0,
                "partLastByte": 2,
                "layerPartBlob": bytes(20_971_521),
            },
            "layerPartBlob",
            "Member must have length less than or equal to 20971520",
        ),
    ],
)
def test_ecr_names_the_parameter_and_the_reason(
    operation: str, value: dict[str, Any], parameter: str, reason: str
) -> None:
    assert ecr_message(operation, **value) == (
        f"Invalid parameter at '{parameter}' failed to satisfy constraint: '{reason}'"
    )


def test_ecr_public_words_its_faults_as_ecr_does() -> None:
    error = refusal("ecr-public", "DescribeRepositories", {"registryId": "x"})

    assert isinstance(error, InvalidParameter)
    assert error.message == (
        "Invalid parameter at 'registryId' failed to satisfy constraint: "
        "'must satisfy regular expression '[0-9]{12}''"
    )


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("BatchGetImage", {"imageIds": [{"imageTag": "a b"}, {"imageDigest": "x"}, {"imageTag": ""}]}),
        ("BatchDeleteImage", {"imageIds": [{"imageTag": "a b"}, {"imageDigest": "x"}, {}]}),
        ("BatchCheckLayerAvailability", {"layerDigests": ["x", "", "a" * 2_000]}),
    ],
)
def test_batch_calls_leave_malformed_items_to_themselves(operation: str, members: dict[str, Any]) -> None:
    validate(load_service("ecr").operations[operation], {"repositoryName": "ab", **members})


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("BatchGetImage", {"imageIds": []}),
        ("BatchGetImage", {"imageIds": [{"imageTag": "a"}] * 101}),
        ("BatchGetImage", {"imageIds": [None]}),
        ("BatchGetImage", {"imageIds": [{"imageTag": "a b"}], "acceptedMediaTypes": []}),
        ("BatchCheckLayerAvailability", {"layerDigests": []}),
        ("BatchCheckLayerAvailability", {"layerDigests": [None]}),
    ],
)
def test_batch_calls_still_check_the_list(operation: str, members: dict[str, Any]) -> None:
    assert ecr_message(operation, **members)


def test_valid_input_passes() -> None:
    validate(
        load_service("ecr").operations["PutImage"],
        {"repositoryName": "team/app", "imageManifest": "{}", "imageDigest": DIGEST, "imageTag": "v1.0_x-y"},
    )


def test_a_check_can_be_limited_to_what_the_arns_need() -> None:
    operation = load_service("ecr").operations["PutImage"]

    validate(operation, {"repositoryName": "ab", "imageTag": "a b"}, only={"repositoryName", "registryId"})
    with pytest.raises(InvalidParameter):
        validate(operation, {"repositoryName": "A"}, only={"repositoryName", "registryId"})


def test_the_other_services_list_every_fault() -> None:
    error = refusal(
        "sts",
        "AssumeRole",
        {
            "RoleArn": "x",
            "RoleSessionName": "a:b",
            "DurationSeconds": 1,
            "Tags": [{"Key": "k"}],
            "TransitiveTagKeys": ["!"],
        },
    )

    assert isinstance(error, QueryValidationFailed)
    assert error.code == "ValidationError"
    assert error.message == (
        "5 validation errors detected: "
        "Value 'x' at 'roleArn' failed to satisfy constraint: "
        "Member must have length greater than or equal to 20; "
        "Value 'a:b' at 'roleSessionName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\w+=,.@-]*; "
        "Value '1' at 'durationSeconds' failed to satisfy constraint: "
        "Member must have value greater than or equal to 900; "
        "Value null at 'tags.1.member.value' failed to satisfy constraint: Member must not be null; "
        "Value '[!]' at 'transitiveTagKeys' failed to satisfy constraint: Member must satisfy constraint: "
        "[Member must have length less than or equal to 128, "
        "Member must have length greater than or equal to 1, "
        r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+]"
    )


def test_one_fault_is_told_in_the_singular() -> None:
    error = refusal("kms", "DescribeKey", {"KeyId": ""})

    assert isinstance(error, ValidationFailed)
    assert error.code == "ValidationException"
    assert error.message == (
        "1 validation error detected: Value '' at 'keyId' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )


def test_secrets_are_not_repeated() -> None:
    message = refusal("iam", "CreateLoginProfile", {"UserName": "u", "Password": "x" * 200}).message

    assert message.startswith("1 validation error detected: Value at 'password' failed")
    assert "xxx" not in message


def test_a_long_value_is_cut_and_a_long_list_of_faults_ends() -> None:
    assert len(refusal("sts", "AssumeRole", {"RoleArn": "x" * 100_000}).message) < 2_000
    tags = {"Tags": [{"Key": f"{n}!", "Value": ""} for n in range(50)]}
    message = refusal("iam", "TagUser", {"UserName": "u!", **tags}).message
    assert message.startswith("50 validation errors detected")


OPERATIONS = [(service, operation) for service in SERVED for operation in load_service(service).operations]


@given(data=st.data(), which=st.sampled_from(OPERATIONS))
def test_any_decoded_input_is_accepted_or_refused_with_a_message(
    data: st.DataObject, which: tuple[str, str]
) -> None:
    operation = load_service(which[0]).operations[which[1]]
    value = data.draw(values(operation.input))
    try:
        validate(operation, value)
    except ProtocolError as error:
        message = error.message
        assert "failed to satisfy constraint: " in message
