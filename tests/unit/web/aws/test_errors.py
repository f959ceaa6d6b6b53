"""The one table from errors to exceptions: complete, modelled, and never more than an operation allows."""

from collections.abc import Iterator

import pytest

from openecr.domain import errors, iam_errors, kms_errors, sts_errors
from openecr.domain.decisions import Requirement
from openecr.domain.registries import RegistryId
from openecr.engines.sigv4 import InvalidSignature, MissingAuthentication, SignatureError, UnknownKey
from openecr.web.aws import protocol_errors
from openecr.web.aws.errors import (
    COMMON_CODES,
    ERRORS,
    SIGNATURE_ERRORS,
    Throttled,
    internal_error,
    json_fault,
    query_fault,
    row_of,
)
from openecr.web.aws.model import load_service
from openecr.web.aws.operations import ROWS, ROWS_BY_NAME
from openecr.web.aws.rows import Row

ECR_CODES = {code for operation in load_service("ecr").operations.values() for code in operation.errors}
IAM_CODES = {code for operation in load_service("iam").operations.values() for code in operation.errors}
CLOUDTRAIL_CODES = load_service("cloudtrail").operations["LookupEvents"].errors.keys()
KMS_CODES = {code for operation in load_service("kms").operations.values() for code in operation.errors}
STS_CODES = {code for operation in load_service("sts").operations.values() for code in operation.errors}
QUERY_CODES = {"InvalidParameterValue", "ValidationError"}


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def samples() -> list[errors.DomainError | errors.Unavailable]:
    """One error of each class, made without its constructor: only class and message matter."""
    made: list[errors.DomainError | errors.Unavailable] = []
    for kind in ERRORS:
        error = kind.__new__(kind)
        error.message = "why"
        if isinstance(error, errors.InvalidLayerPart | errors.LayerPartLengthMismatch):
            error.upload_id, error.received_bytes = "id", 7
        if isinstance(error, kms_errors.KmsFailed):
            error.kms_error = "DisabledException"
        made.append(error)
    return made


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    found = {*subclasses(errors.DomainError), errors.Unavailable, *subclasses(errors.Unavailable)}

    assert set(ERRORS) == {kind for kind in found if kind.__module__.startswith("openecr.domain.")}
    assert set(SIGNATURE_ERRORS) == set(subclasses(SignatureError))


def test_every_code_is_modelled_for_ecr_or_iam_or_common() -> None:
    codes = {row.code for row in ERRORS.values()} | {row.code for row in SIGNATURE_ERRORS.values()}

    assert (
        codes <= ECR_CODES | IAM_CODES | STS_CODES | KMS_CODES | CLOUDTRAIL_CODES | QUERY_CODES | COMMON_CODES
    )
    assert COMMON_CODES.isdisjoint(ECR_CODES)


def test_protocol_errors_are_common_or_modelled() -> None:
    json_errors: set[type[protocol_errors.ProtocolError]] = {
        protocol_errors.Serialization,
        protocol_errors.UnknownOperation,
        protocol_errors.InvalidParameter,
        protocol_errors.RequestEntityTooLarge,
        Throttled,
    }

    assert {kind.code for kind in json_errors} <= ECR_CODES | COMMON_CODES


@pytest.mark.parametrize("row", [row for row in ROWS if row.service == "ecr"], ids=lambda row: row.name)
def test_no_operation_answers_an_exception_that_the_model_denies_it(row: Row) -> None:
    for error in samples():
        fault = json_fault(error, row.model)

        assert fault.code in row.model.errors.keys() | COMMON_CODES, type(error)
        assert fault.message == "why"


def test_an_exception_that_the_operation_has_is_kept_and_another_becomes_invalid_parameter() -> None:
    error = errors.LimitExceeded(message="full")

    assert json_fault(error, ROWS_BY_NAME["ecr", "PutImage"].model).code == "LimitExceededException"
    assert (
        json_fault(error, ROWS_BY_NAME["ecr", "InitiateLayerUpload"].model).code
        == "InvalidParameterException"
    )


def test_statuses_are_400_but_for_the_servers_faults_and_bodies_too_large_or_late() -> None:
    others = {
        kind: row.status
        for kind, row in ERRORS.items()
        if row.status != 400 and kind.__module__ == errors.__name__
    }

    assert others == {
        errors.ContentDamaged: 500,
        errors.Unavailable: 500,
        errors.StorageFull: 500,
        errors.BodyStalled: 408,
        errors.BodyTooLarge: 413,
    }
    assert row_of(errors.StorageFull()).status == 500


@pytest.mark.parametrize(
    "kind",
    [kind for kind in ERRORS if kind.__module__ == iam_errors.__name__],
    ids=lambda kind: kind.__name__,
)
def test_errors_of_iam_have_the_codes_and_statuses_of_its_model(kind: type[errors.DomainError]) -> None:
    error = kind.__new__(kind)
    error.message = "why"
    modelled = {
        model.code: (name, model.status)
        for operation in load_service("iam").operations.values()
        for name, model in operation.errors.items()
    } | {"ValidationError": ("ValidationError", 400)}

    fault = query_fault(error, load_service("iam").operations["GetAccessKeyLastUsed"])

    assert modelled[fault.code] == (ERRORS[kind].code, fault.status)
    assert fault.message == "why"


@pytest.mark.parametrize(
    "kind",
    [kind for kind in ERRORS if kind.__module__ == sts_errors.__name__],
    ids=lambda kind: kind.__name__,
)
def test_errors_of_sts_have_the_codes_and_statuses_of_its_model(kind: type[errors.DomainError]) -> None:
    error = kind.__new__(kind)
    error.message = "why"
    modelled = {
        model.code: model.status
        for operation in load_service("sts").operations.values()
        for model in operation.errors.values()
    } | {"InvalidParameterValue": 400}

    fault = query_fault(error, load_service("sts").operations["AssumeRoleWithWebIdentity"])

    assert modelled[fault.code] == fault.status
    assert fault.message == "why"


@pytest.mark.parametrize(
    "kind",
    [kind for kind in ERRORS if kind.__module__ == kms_errors.__name__],
    ids=lambda kind: kind.__name__,
)
def test_errors_of_kms_have_the_codes_and_statuses_of_its_model(kind: type[errors.DomainError]) -> None:
    modelled = {
        model.code: model.status
        for service in ("kms", "ecr")
        for operation in load_service(service).operations.values()
        for model in operation.errors.values()
    }

    assert modelled[ERRORS[kind].code] == ERRORS[kind].status


@pytest.mark.parametrize("name", load_service("kms").operations)
def test_no_operation_of_kms_answers_an_exception_that_the_model_denies_it(name: str) -> None:
    model = load_service("kms").operations[name]
    for error in samples():
        fault = json_fault(error, model)

        assert fault.code in model.errors.keys() | COMMON_CODES | {"ValidationException"}, type(error)


def test_a_key_that_failed_tells_what_kms_had_said() -> None:
    error = kms_errors.KmsFailed(message="why", kms_error="DisabledException")
    model = load_service("ecr").operations["PutImage"]

    fault = json_fault(error, model)

    assert (fault.code, fault.members) == ("KmsException", {"kmsError": "DisabledException"})
    assert fault.members.keys() | {"message"} == model.errors["KmsException"].shape.members.keys()


def test_an_error_that_only_ecr_has_is_a_validation_error_in_iam() -> None:
    error = errors.InvalidParameter(parameter="x", constraint="y")

    assert query_fault(error, load_service("iam").operations["GetUser"]).code == "ValidationError"


def test_an_invalid_layer_part_says_where_to_go_on() -> None:
    registry = RegistryId(account_id="111111111111", region="us-east-1")
    requirements = [Requirement(actions=("ecr:UploadLayerPart",), registry=registry, repository_name="app")]
    model = ROWS_BY_NAME["ecr", "UploadLayerPart"].model
    error = errors.InvalidLayerPart(upload_id="id", first_byte=3, received_bytes=10)
    at_start = errors.LayerPartLengthMismatch(
        upload_id="id", expected_bytes=1, actual_bytes=2, received_bytes=0
    )

    fault = json_fault(error, model, requirements)

    assert fault.members == {
        "registryId": "111111111111",
        "repositoryName": "app",
        "uploadId": "id",
        "lastValidByteReceived": 9,
    }
    assert (
        fault.members.keys() | {"message"} == model.errors["InvalidLayerPartException"].shape.members.keys()
    )
    assert json_fault(at_start, model, requirements).members["lastValidByteReceived"] == 0


def test_the_query_protocol_has_codes_of_its_own() -> None:
    expected: dict[
        errors.DomainError | errors.Unavailable | SignatureError | protocol_errors.ProtocolError,
        tuple[str, int],
    ] = {
        MissingAuthentication(): ("MissingAuthenticationToken", 403),
        InvalidSignature(): ("SignatureDoesNotMatch", 403),
        UnknownKey(): ("InvalidClientTokenId", 403),
        errors.AccessDenied(message="no"): ("AccessDenied", 403),
        Throttled(): ("Throttling", 400),
        internal_error("some-id"): ("InternalFailure", 500),
    }

    told = {error: query_fault(error) for error in expected}

    assert {error: (fault.code, fault.status) for error, fault in told.items()} == expected
    assert [fault.is_senders for fault in told.values()] == [True] * 5 + [False]


def test_a_bug_tells_the_requests_id_and_no_more() -> None:
    fault = json_fault(internal_error("some-id"))

    assert (fault.code, fault.status) == ("ServerException", 500)
    assert fault.message == "An internal error occurred. Request id: some-id"
