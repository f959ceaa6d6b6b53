"""From errors to answers: one table of codes and statuses, and the body that carries them.

Source of codes: OCI distribution-spec 1.1, "Error codes", and Docker's Registry V2 API. Codes, texts and the status of
refusals are ECR's as clients have reported them; where the specification prescribes a status, that one is given.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openecr.domain import errors, iam_errors, kms_errors, sts_errors
from openecr.web.messages import Headers, Response

API_VERSION = ("docker-distribution-api-version", "registry/2.0")
"""Stands on every response."""

UNAUTHORIZED = "UNAUTHORIZED"
"""The code of what is answered with a challenge."""

_JSON_HEADERS: Headers = (API_VERSION, ("content-type", "application/json"))
_TEXT_HEADERS: Headers = (API_VERSION, ("content-type", "text/plain; charset=utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How one class of error is told."""

    code: str
    status: int


class ProtocolError(Exception):
    """What only this face can find wrong: a path, a method, a header or a query that the protocol does not have."""

    def __init__(self, *, code: str, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.headers = headers


Refusal = errors.DomainError | errors.Unavailable | ProtocolError


def _row(code: str, status: int) -> Row:
    return Row(code=code, status=status)


ERRORS: dict[type[Exception], Row] = {
    # A dependency failed. Docker and containerd retry a 503. A full disk does not mend itself in their patience:
    # docker tries anything above 499 for fifty seconds and then hides the sentence, podman and skopeo hide it too,
    # and crane tries whatever is UNAVAILABLE again. A denial is printed by all of them, at once.
    errors.ContentDamaged: _row("UNAVAILABLE", 503),
    errors.Unavailable: _row("UNAVAILABLE", 503),
    errors.StorageFull: _row("DENIED", 403),
    # Who may do what. An expired token is no challenge: ECR's 403 makes docker print the sentence.
    errors.AccessDenied: _row("DENIED", 403),
    errors.TokenMissing: _row(UNAUTHORIZED, 401),
    errors.TokenInvalid: _row(UNAUTHORIZED, 401),
    errors.TokenMalformed: _row("DENIED", 400),
    errors.TokenExpired: _row("DENIED", 403),
    errors.LinkExpired: _row("DENIED", 403),
    errors.RegistryNotServed: _row("NAME_INVALID", 400),
    # Parameters: ECR's 405 for whatever its API behind the registry rejects.
    errors.InvalidLookupAttributes: _row("UNSUPPORTED", 405),
    errors.InvalidTimeRange: _row("UNSUPPORTED", 405),
    errors.InvalidParameter: _row("UNSUPPORTED", 405),
    errors.UnknownSetting: _row("UNSUPPORTED", 405),
    errors.InvalidTagParameter: _row("UNSUPPORTED", 405),
    errors.TooManyTags: _row("UNSUPPORTED", 405),
    errors.LimitExceeded: _row("DENIED", 403),
    # Repositories
    errors.RepositoryNotFound: _row("NAME_UNKNOWN", 404),
    errors.RepositoryPolicyNotFound: _row("UNSUPPORTED", 404),
    errors.RegistryPolicyNotFound: _row("UNSUPPORTED", 404),
    errors.RepositoryAlreadyExists: _row("UNSUPPORTED", 405),
    errors.RepositoryNotEmpty: _row("UNSUPPORTED", 405),
    # Images. ECR names missing layers BLOB_UPLOAD_UNKNOWN; the specification's draft says MANIFEST_BLOB_UNKNOWN, which
    # is kept for children of an index, where no report of ECR's code exists. No suite looks at either.
    errors.ImageNotFound: _row("MANIFEST_UNKNOWN", 404),
    errors.ManifestNotFound: _row("MANIFEST_UNKNOWN", 404),
    errors.ImageAlreadyExists: _row("TAG_INVALID", 400),
    errors.ImageTagAlreadyExists: _row("TAG_INVALID", 400),
    errors.ImageDigestDoesNotMatch: _row("DIGEST_INVALID", 400),
    errors.InvalidManifest: _row("MANIFEST_INVALID", 400),
    errors.ManifestTooLarge: _row("MANIFEST_INVALID", 413),
    errors.LayersNotFound: _row("BLOB_UPLOAD_UNKNOWN", 404),
    errors.ReferencedImagesNotFound: _row("MANIFEST_BLOB_UNKNOWN", 404),
    errors.ImageReferencedByManifestList: _row("UNSUPPORTED", 405),
    # Layers and uploads. A wrong offset is 416 in the specification and in ECR alike.
    errors.LayerNotFound: _row("BLOB_UNKNOWN", 404),
    errors.LayerInaccessible: _row("BLOB_UNKNOWN", 404),
    errors.LayerInUse: _row("UNSUPPORTED", 405),
    errors.UploadNotFound: _row("BLOB_UPLOAD_UNKNOWN", 404),
    errors.InvalidLayerPart: _row("BLOB_UPLOAD_INVALID", 416),
    errors.LayerPartLengthMismatch: _row("SIZE_INVALID", 400),
    errors.InvalidLayer: _row("DIGEST_INVALID", 400),
    errors.UnsupportedDigest: _row("DIGEST_INVALID", 400),
    errors.LayerPartTooSmall: _row("BLOB_UPLOAD_INVALID", 400),
    errors.LayerAlreadyExists: _row("BLOB_UPLOAD_INVALID", 400),
    errors.EmptyUpload: _row("BLOB_UPLOAD_INVALID", 400),
    errors.LayerTooLarge: _row("SIZE_INVALID", 413),
    errors.UploadInterrupted: _row("BLOB_UPLOAD_INVALID", 400),
    errors.BodyStalled: _row("BLOB_UPLOAD_INVALID", 408),
    errors.BodyTooLarge: _row("SIZE_INVALID", 413),
    # IAM's, which no route of a registry leads to
    iam_errors.NoSuchEntity: _row("UNSUPPORTED", 405),
    iam_errors.EntityAlreadyExists: _row("UNSUPPORTED", 405),
    iam_errors.DeleteConflict: _row("UNSUPPORTED", 405),
    iam_errors.IamLimitExceeded: _row("UNSUPPORTED", 405),
    iam_errors.MalformedPolicyDocument: _row("UNSUPPORTED", 405),
    iam_errors.InvalidInput: _row("UNSUPPORTED", 405),
    iam_errors.IamValidationError: _row("UNSUPPORTED", 405),
    iam_errors.UnmodifiableEntity: _row("UNSUPPORTED", 405),
    iam_errors.PolicyNotAttachable: _row("UNSUPPORTED", 405),
    iam_errors.ConcurrentModification: _row("UNSUPPORTED", 405),
    iam_errors.PolicyEvaluationFailed: _row("UNSUPPORTED", 405),
    # KMS's, likewise, but for the keys of repositories: who pulls hears why, at once
    kms_errors.KmsFailed: _row("DENIED", 403),
    kms_errors.KmsNotFound: _row("UNSUPPORTED", 405),
    kms_errors.KmsInvalidArn: _row("UNSUPPORTED", 405),
    kms_errors.KeyDisabled: _row("UNSUPPORTED", 405),
    kms_errors.KmsInvalidState: _row("UNSUPPORTED", 405),
    kms_errors.InvalidCiphertext: _row("UNSUPPORTED", 405),
    kms_errors.IncorrectKey: _row("UNSUPPORTED", 405),
    kms_errors.InvalidGrantToken: _row("UNSUPPORTED", 405),
    kms_errors.InvalidGrantId: _row("UNSUPPORTED", 405),
    kms_errors.InvalidAliasName: _row("UNSUPPORTED", 405),
    kms_errors.AliasAlreadyExists: _row("UNSUPPORTED", 405),
    kms_errors.KmsLimitExceeded: _row("UNSUPPORTED", 405),
    kms_errors.MalformedKeyPolicy: _row("UNSUPPORTED", 405),
    kms_errors.InvalidKeyTag: _row("UNSUPPORTED", 405),
    kms_errors.UnsupportedKey: _row("UNSUPPORTED", 405),
    kms_errors.InvalidMarker: _row("UNSUPPORTED", 405),
    kms_errors.DryRunSucceeded: _row("UNSUPPORTED", 405),
    kms_errors.KmsValidationFailed: _row("UNSUPPORTED", 405),
    # STS's, likewise
    sts_errors.InvalidSessionParameter: _row("UNSUPPORTED", 405),
    sts_errors.PackedPolicyTooLarge: _row("UNSUPPORTED", 405),
    sts_errors.InvalidIdentityToken: _row("UNSUPPORTED", 405),
    sts_errors.IdentityTokenExpired: _row("UNSUPPORTED", 405),
    sts_errors.IdentityProviderUnreachable: _row("UNSUPPORTED", 405),
    sts_errors.IdentityClaimRejected: _row("UNSUPPORTED", 405),
}
"""Every class of domain error has its row; a test sees to it."""


def row_of(error: Refusal) -> Row:
    """Return how an error is told."""
    if isinstance(error, ProtocolError):
        return Row(code=error.code, status=error.status)
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def internal_error(request_id: str) -> ProtocolError:
    """Return what a client is told of a bug: how to find it in the log."""
    return ProtocolError(code="UNKNOWN", status=500, message=f"Internal error. Request id: {request_id}")


def refusal(error: Refusal, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """Return the answer to a request that failed; a challenge is plain text, as ECR's is."""
    row = row_of(error)
    own = error.headers if isinstance(error, ProtocolError) else ()
    if row.code == UNAUTHORIZED:
        return Response(
            status=row.status, headers=(*_TEXT_HEADERS, *headers, *own), body=error.message.encode()
        )
    entry: dict[str, Any] = {"code": row.code, "message": error.message}
    if isinstance(error, errors.InvalidManifest):
        entry["detail"] = error.detail
    body = json.dumps({"errors": [entry]}, separators=(",", ":")).encode()  # ASCII, whatever the texts quote
    return Response(status=row.status, headers=(*_JSON_HEADERS, *headers, *own), body=body)
