"""From errors to what an AWS client reads: one table, and the codes of both protocols.

An exception that ECR's model does not allow the operation at hand is sent as `InvalidParameterException`, which every
operation has, so that no client meets one that its SDK does not know there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from openecr.domain import errors, iam_errors, kms_errors, sts_errors
from openecr.domain.decisions import Requirement
from openecr.engines.sigv4 import (
    ExpiredSession,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthentication,
    SignatureError,
    UnknownKey,
)
from openecr.web.aws.model import OperationModel
from openecr.web.aws.protocol_errors import ProtocolError

BAD_REQUEST = 400
FORBIDDEN = 403
TIMED_OUT = 408
TOO_LARGE = 413
INTERNAL = 500
NOT_FOUND = 404
CONFLICT = 409


class Throttled(ProtocolError):
    """The server holds as many request bodies as it may, and none was released in time."""

    code = "ThrottlingException"

    def __init__(self) -> None:
        super().__init__(message="Rate exceeded")


class BodyTimedOut(ProtocolError):
    """A request's body came too slowly."""

    code = "RequestTimeoutException"
    status = TIMED_OUT

    def __init__(self) -> None:
        super().__init__(message="The request's body did not arrive in time.")


COMMON_CODES = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "RequestEntityTooLargeException",
        "RequestTimeoutException",
        "SerializationException",
        "ThrottlingException",
        "UnknownOperationException",
        "UnrecognizedClientException",
    }
)
"""Codes that any AWS service may send (ECR API reference, "Common Errors"; AWS JSON protocol)."""

_LAST_RESORT = "InvalidParameterException"
_KMS_LAST_RESORT = "ValidationException"
_LAST_RESORTS = {"cloudtrail": "InvalidNextTokenException", "kms": _KMS_LAST_RESORT}
_QUERY_LAST_RESORT = "ValidationError"
_LAYER_PART = "InvalidLayerPartException"
_SERVER = "ServerException"
_KMS_SERVER = "KMSInternalException"
_EXPIRED = "ExpiredTokenException"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one class of error is told: the exception's name, and the JSON protocol's status."""

    code: str
    status: int = BAD_REQUEST


def _row(code: str, status: int = BAD_REQUEST) -> Row:
    return Row(code=code, status=status)


ERRORS: Mapping[type[errors.DomainError | errors.Unavailable], Row] = {
    # A dependency failed. SDKs retry a 500; ServerException is the only one that is modelled.
    errors.ContentDamaged: _row(_SERVER, status=INTERNAL),
    errors.Unavailable: _row(_SERVER, status=INTERNAL),
    errors.StorageFull: _row(_SERVER, status=INTERNAL),
    # Who may do what. Tokens and links are the other doors'; their rows keep the table whole.
    errors.AccessDenied: _row("AccessDeniedException"),
    errors.TokenMissing: _row("MissingAuthenticationTokenException"),
    errors.TokenInvalid: _row("UnrecognizedClientException"),
    errors.TokenMalformed: _row("UnrecognizedClientException"),
    errors.TokenExpired: _row("ExpiredTokenException"),
    errors.LinkExpired: _row("AccessDeniedException"),
    errors.RegistryNotServed: _row(_LAST_RESORT),
    # The audit trail
    errors.InvalidLookupAttributes: _row("InvalidLookupAttributesException"),
    errors.InvalidTimeRange: _row("InvalidTimeRangeException"),
    # Parameters
    errors.InvalidParameter: _row(_LAST_RESORT),
    errors.UnknownSetting: _row("ValidationException"),
    errors.InvalidTagParameter: _row("InvalidTagParameterException"),
    errors.TooManyTags: _row("TooManyTagsException"),
    errors.LimitExceeded: _row("LimitExceededException"),
    # Repositories
    errors.RepositoryNotFound: _row("RepositoryNotFoundException"),
    errors.RepositoryPolicyNotFound: _row("RepositoryPolicyNotFoundException"),
    errors.RegistryPolicyNotFound: _row("RegistryPolicyNotFoundException"),
    errors.RepositoryAlreadyExists: _row("RepositoryAlreadyExistsException"),
    errors.RepositoryNotEmpty: _row("RepositoryNotEmptyException"),
    # Images
    errors.ImageNotFound: _row("ImageNotFoundException"),
    errors.ManifestNotFound: _row("ImageNotFoundException"),
    errors.ImageAlreadyExists: _row("ImageAlreadyExistsException"),
    errors.ImageTagAlreadyExists: _row("ImageTagAlreadyExistsException"),
    errors.ImageDigestDoesNotMatch: _row("ImageDigestDoesNotMatchException"),
    errors.InvalidManifest: _row(_LAST_RESORT),
    errors.ManifestTooLarge: _row(_LAST_RESORT),
    errors.ReferencedImagesNotFound: _row("ReferencedImagesNotFoundException"),
    errors.ImageReferencedByManifestList: _row(_LAST_RESORT),
    # Layers and uploads
    errors.LayersNotFound: _row("LayersNotFoundException"),
    errors.LayerNotFound: _row("LayersNotFoundException"),
    errors.LayerInaccessible: _row("LayerInaccessibleException"),
    errors.LayerInUse: _row(_LAST_RESORT),
    errors.UploadNotFound: _row("UploadNotFoundException"),
    errors.InvalidLayerPart: _row(_LAYER_PART),
    errors.LayerPartLengthMismatch: _row(_LAYER_PART),
    errors.InvalidLayer: _row("InvalidLayerException"),
    errors.UnsupportedDigest: _row(_LAST_RESORT),
    errors.LayerPartTooSmall: _row("LayerPartTooSmallException"),
    errors.LayerAlreadyExists: _row("LayerAlreadyExistsException"),
    errors.EmptyUpload: _row("EmptyUploadException"),
    errors.LayerTooLarge: _row("LimitExceededException"),
    # Bodies. Where one ends early, nobody hears the answer.
    errors.UploadInterrupted: _row("SerializationException"),
    errors.BodyStalled: _row("RequestTimeoutException", status=TIMED_OUT),
    errors.BodyTooLarge: _row("RequestEntityTooLargeException", status=TOO_LARGE),
    # IAM
    iam_errors.NoSuchEntity: _row("NoSuchEntityException", status=NOT_FOUND),
    iam_errors.EntityAlreadyExists: _row("EntityAlreadyExistsException", status=CONFLICT),
    iam_errors.DeleteConflict: _row("DeleteConflictException", status=CONFLICT),
    iam_errors.IamLimitExceeded: _row("LimitExceededException", status=CONFLICT),
    iam_errors.MalformedPolicyDocument: _row("MalformedPolicyDocumentException"),
    iam_errors.InvalidInput: _row("InvalidInputException"),
    iam_errors.IamValidationError: _row(_QUERY_LAST_RESORT),
    iam_errors.UnmodifiableEntity: _row("UnmodifiableEntityException"),
    iam_errors.PolicyNotAttachable: _row("PolicyNotAttachableException"),
    iam_errors.ConcurrentModification: _row("ConcurrentModificationException", status=CONFLICT),
    iam_errors.PolicyEvaluationFailed: _row("PolicyEvaluationException", status=INTERNAL),
    # KMS
    kms_errors.KmsNotFound: _row("NotFoundException"),
    kms_errors.KmsInvalidArn: _row("InvalidArnException"),
    kms_errors.KeyDisabled: _row("DisabledException"),
    kms_errors.KmsInvalidState: _row("KMSInvalidStateException"),
    kms_errors.InvalidCiphertext: _row("InvalidCiphertextException"),
    kms_errors.IncorrectKey: _row("IncorrectKeyException"),
    kms_errors.InvalidGrantToken: _row("InvalidGrantTokenException"),
    kms_errors.InvalidGrantId: _row("InvalidGrantIdException"),
    kms_errors.InvalidAliasName: _row("InvalidAliasNameException"),
    kms_errors.AliasAlreadyExists: _row("AlreadyExistsException"),
    kms_errors.KmsLimitExceeded: _row("LimitExceededException"),
    kms_errors.MalformedKeyPolicy: _row("MalformedPolicyDocumentException"),
    kms_errors.InvalidKeyTag: _row("TagException"),
    kms_errors.UnsupportedKey: _row("UnsupportedOperationException"),
    kms_errors.InvalidMarker: _row("InvalidMarkerException"),
    kms_errors.DryRunSucceeded: _row("DryRunOperationException"),
    kms_errors.KmsValidationFailed: _row(_KMS_LAST_RESORT),
    kms_errors.KmsFailed: _row("KmsException"),
    # STS
    sts_errors.InvalidSessionParameter: _row("InvalidParameterValue"),
    sts_errors.PackedPolicyTooLarge: _row("PackedPolicyTooLargeException"),
    sts_errors.InvalidIdentityToken: _row("InvalidIdentityTokenException"),
    sts_errors.IdentityTokenExpired: _row(_EXPIRED),
    sts_errors.IdentityProviderUnreachable: _row("IDPCommunicationErrorException"),
    sts_errors.IdentityClaimRejected: _row("IDPRejectedClaimException", status=FORBIDDEN),
}
"""Every class of domain error has its row; a test sees to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRow:
    """How a refused signature is told: JSON always with 400, the query protocol with a status of its own."""

    code: str
    query_code: str
    query_status: int = FORBIDDEN
    query_message: str | None = None


SIGNATURE_ERRORS: Mapping[type[SignatureError], SignatureRow] = {
    MissingAuthentication: SignatureRow(
        code="MissingAuthenticationTokenException",
        query_code="MissingAuthenticationToken",
        query_message="Request is missing Authentication Token",
    ),
    IncompleteSignature: SignatureRow(
        code="IncompleteSignatureException", query_code="IncompleteSignature", query_status=BAD_REQUEST
    ),
    InvalidSignature: SignatureRow(code="InvalidSignatureException", query_code="SignatureDoesNotMatch"),
    UnknownKey: SignatureRow(code="UnrecognizedClientException", query_code="InvalidClientTokenId"),
    ExpiredSession: SignatureRow(code="ExpiredTokenException", query_code="ExpiredToken"),
}

_QUERY_CODES: Mapping[str, tuple[str, int]] = {
    "AccessDeniedException": ("AccessDenied", FORBIDDEN),
    "ThrottlingException": ("Throttling", BAD_REQUEST),
    _EXPIRED: (_EXPIRED, BAD_REQUEST),  # of an identity token: STS keeps the name whole
    _SERVER: ("InternalFailure", INTERNAL),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error as a client reads it. `members` are those that the exception has besides its message."""

    code: str
    message: str
    status: int
    members: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def is_senders(self) -> bool:
        """Tell whether the caller is at fault, and not the server."""
        return self.status < INTERNAL


Refusal = errors.DomainError | errors.Unavailable | SignatureError | ProtocolError


def json_fault(
    error: Refusal, operation: OperationModel | None = None, requirements: Sequence[Requirement] = ()
) -> Fault:
    """Tell an error to a client of a JSON service. `operation` and `requirements` as far as they are known."""
    match error:
        case SignatureError():
            code = SIGNATURE_ERRORS[type(error)].code
            return Fault(code=code, message=error.message, status=BAD_REQUEST)
        case ProtocolError():
            return Fault(code=error.code, message=error.message, status=error.status)
        case errors.DomainError() | errors.Unavailable():
            row = row_of(error)
            return Fault(
                code=_permitted(row.code, operation),
                message=error.message,
                status=row.status,
                members=_members(error, requirements),
            )


def query_fault(error: Refusal, operation: OperationModel | None = None) -> Fault:
    """Tell an error to a client of a query service, whose codes have no `Exception` at their end."""
    if isinstance(error, SignatureError):
        row = SIGNATURE_ERRORS[type(error)]
        return Fault(code=row.query_code, message=row.query_message or error.message, status=row.query_status)
    fault = json_fault(error, operation)
    code, status = _QUERY_CODES.get(fault.code, (fault.code.removesuffix("Exception"), fault.status))
    return Fault(code=code, message=fault.message, status=status)


def internal_error(request_id: str) -> errors.Unavailable:
    """Return what a bug is told as: the request's id and nothing else."""
    return errors.Unavailable(message=f"An internal error occurred. Request id: {request_id}")


def row_of(error: errors.DomainError | errors.Unavailable) -> Row:
    """Return how an error is told."""
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def _permitted(code: str, operation: OperationModel | None) -> str:
    if code == _SERVER and operation is not None and operation.service.name == "kms":
        return _KMS_SERVER
    if operation is None or code in COMMON_CODES or code == _SERVER or code in operation.errors:
        return code
    if operation.service.protocol == "query":
        # IAM's models leave out errors that their operations have: whatever is IAM's own may be told.
        return _QUERY_LAST_RESORT if code == _LAST_RESORT else code
    return _LAST_RESORTS.get(operation.service.name, _LAST_RESORT)


def _members(error: Exception, requirements: Sequence[Requirement]) -> Mapping[str, object]:
    """InvalidLayerPartException says where to go on, KmsException what KMS had said."""
    if isinstance(error, kms_errors.KmsFailed):
        return {"kmsError": error.kms_error}
    if not isinstance(error, errors.InvalidLayerPart | errors.LayerPartLengthMismatch) or not requirements:
        return {}
    return {
        "registryId": requirements[0].registry.account_id,
        "repositoryName": requirements[0].repository_name,
        "uploadId": error.upload_id,
        # Before the first part there is no such byte; the member is a number all the same.
        "lastValidByteReceived": max(error.received_bytes - 1, 0),
    }
