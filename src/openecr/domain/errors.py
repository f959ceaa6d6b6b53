"""What can go wrong, as a closed set. Each face has one table from these classes to its codes and statuses.

`DomainError`: the caller's fault, told in ECR's own sentence (which both faces show). `Unavailable`: a dependency
failed and a retry may help. Anything else that is raised is a bug: the client hears a request id and no detail.

Errors are plain classes with keyword-only constructors: a frozen dataclass breaks when it crosses a context manager.
"""

from collections.abc import Mapping, Sequence


class DomainError(Exception):
    """Base of everything that is the caller's to mend. `message` is safe to send to the caller."""

    def __init__(self, *, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unavailable(Exception):
    """A dependency failed; retryable. `message` is safe to send, `context` is for the log only."""

    def __init__(self, *, message: str, context: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.context = context


class StorageFull(Unavailable):
    """Free space is below the reserve, so uploads are refused while deletes and reads work."""

    def __init__(self, *, context: str = "") -> None:
        super().__init__(
            message="The registry's storage is full. Delete images and try again.", context=context
        )


class ContentDamaged(Unavailable):
    """Stored bytes are not those that were written: too few, or changed. Reading them again will not help."""


# --- who may do what ---------------------------------------------------------------------------------------------


class AccessDenied(DomainError):
    """The decision was not ALLOW; the message names caller, action, resource and reason.

    `explanation` says more (`domain/audit.explanation_of`): the operator may read it, the caller never hears of it.
    """

    def __init__(self, *, message: str, explanation: Mapping[str, object] | None = None) -> None:
        super().__init__(message=message)
        self.explanation = explanation


class TokenMissing(DomainError):
    """No credentials came with a request to the registry."""

    def __init__(self) -> None:
        super().__init__(message="Not Authorized")


class TokenInvalid(DomainError):
    """Credentials came that are not a token of this server and region, or whose principal is gone."""

    def __init__(self) -> None:
        super().__init__(message="Not Authorized")


class TokenMalformed(DomainError):
    """The Authorization header cannot be decoded."""

    def __init__(self) -> None:
        super().__init__(message="Your Authorization Token is invalid.")


class TokenExpired(DomainError):
    """An authorization token is past its twelve hours."""

    def __init__(self) -> None:
        super().__init__(message="Your authorization token has expired. Reauthenticate and try again.")


class LinkExpired(DomainError):
    """A layer's download URL is past its hour, or its seal does not hold."""

    def __init__(self, *, message: str = "Request has expired") -> None:
        super().__init__(message=message)


class RegistryNotServed(DomainError):
    """A host or a request names an account or region that this server does not have."""


# --- the audit trail ---------------------------------------------------------------------------------------------


class InvalidLookupAttributes(DomainError):
    """Events cannot be looked up by these attributes."""


class InvalidTimeRange(DomainError):
    """A time ends before it begins."""


# --- parameters --------------------------------------------------------------------------------------------------


class InvalidParameter(DomainError):
    """A parameter is out of its grammar or contradicts another one."""

    def __init__(self, *, parameter: str, constraint: str) -> None:
        super().__init__(
            message=f"Invalid parameter at '{parameter}' failed to satisfy constraint: '{constraint}'"
        )
        self.parameter = parameter


class UnknownSetting(DomainError):
    """An account setting that does not exist (ValidationException)."""


class InvalidTagParameter(DomainError):
    """A resource tag is too long, reserved or given twice."""


class TooManyTags(DomainError):
    """More resource tags than a repository may have."""


class LimitExceeded(DomainError):
    """A quota is used up."""


# --- repositories ------------------------------------------------------------------------------------------------


class RepositoryNotFound(DomainError):
    """No live repository has that name."""

    def __init__(self, *, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"The repository with name '{repository_name}' does not exist "
            f"in the registry with id '{registry_id}'"
        )


class RepositoryPolicyNotFound(DomainError):
    """A repository has no policy."""

    def __init__(self, *, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"Repository policy does not exist for the repository with name '{repository_name}' "
            f"in the registry with id '{registry_id}'"
        )


class RegistryPolicyNotFound(DomainError):
    """A registry has no policy."""

    def __init__(self, *, registry_id: str) -> None:
        super().__init__(message=f"Registry policy does not exist in the registry with id '{registry_id}'")


class RepositoryAlreadyExists(DomainError):
    """The name is taken."""

    def __init__(self, *, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"The repository with name '{repository_name}' already exists "
            f"in the registry with id '{registry_id}'"
        )


class RepositoryNotEmpty(DomainError):
    """A repository with images is deleted only by force."""

    def __init__(self, *, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"The repository with name '{repository_name}' in registry with id '{registry_id}' "
            "cannot be deleted because it still contains images"
        )


# --- images ------------------------------------------------------------------------------------------------------


class ImageNotFound(DomainError):
    """DescribeImages names an image that is not there."""

    def __init__(
        self, *, digest: str | None, tag: str | None, repository_name: str, registry_id: str
    ) -> None:
        super().__init__(
            message=f"The image with imageId {{imageDigest:'{digest or 'null'}', imageTag:'{tag or 'null'}'}} "
            f"does not exist within the repository with name '{repository_name}' "
            f"in the registry with id '{registry_id}'"
        )


class ManifestNotFound(DomainError):
    """The registry face asks for a tag or digest that is not there."""

    def __init__(self) -> None:
        super().__init__(message="Requested image not found")


class ImageAlreadyExists(DomainError):
    """PutImage of the same digest under the same tag."""

    def __init__(self, *, digest: str, tag: str | None, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"Image with digest '{digest}' and tag '{tag or 'null'}' already exists in the repository "
            f"with name '{repository_name}' in registry with id '{registry_id}'"
        )


class ImageTagAlreadyExists(DomainError):
    """An immutable tag would move."""

    def __init__(self, *, tag: str, repository_name: str) -> None:
        super().__init__(
            message=f"The image tag '{tag}' already exists in the '{repository_name}' repository "
            "and cannot be overwritten because the tag is immutable."
        )


class ImageDigestDoesNotMatch(DomainError):
    """The digest given with a manifest is not the one of its bytes."""

    def __init__(self, *, given: str, computed: str) -> None:
        super().__init__(
            message=f"The provided image digest '{given}' does not match the computed one '{computed}'"
        )


class InvalidManifest(DomainError):
    """The bytes are no manifest that this registry stores; `detail` says why."""

    def __init__(self, *, detail: str) -> None:
        super().__init__(
            message="Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
        )
        self.detail = detail


class ManifestTooLarge(DomainError):
    """A manifest is over 4 MiB."""

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(message=f"The manifest is larger than {limit_bytes} bytes")


class ReferencedImagesNotFound(DomainError):
    """An index names manifests that the repository does not have."""

    def __init__(self, *, digests: Sequence[str], repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"Images with digests '[{', '.join(digests)}]' required for pushing image into repository "
            f"with name '{repository_name}' in the registry with id '{registry_id}' do not exist"
        )
        self.digests = tuple(digests)


class ImageReferencedByManifestList(DomainError):
    """A manifest is deleted by digest while an index still names it."""

    def __init__(self, *, parents: Sequence[str]) -> None:
        super().__init__(message=f"Requested image referenced by manifest list: [{', '.join(parents)}]")


# --- layers and uploads ------------------------------------------------------------------------------------------


class LayersNotFound(DomainError):
    """A pushed manifest names layers that the repository does not hold."""

    def __init__(self, *, digests: Sequence[str], repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"Layers with digests '[{', '.join(digests)}]' required for pushing image into repository "
            f"with name '{repository_name}' in the registry with id '{registry_id}' do not exist"
        )
        self.digests = tuple(digests)


class LayerNotFound(DomainError):
    """One layer is asked for that the repository does not hold."""

    def __init__(self, *, digest: str, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"The layer with digest '{digest}' does not exist within the repository "
            f"with name '{repository_name}' in the registry with id '{registry_id}'"
        )


class LayerInaccessible(DomainError):
    """The layer is there, but no image refers to it, so it has no download URL."""

    def __init__(self, *, digest: str, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"The layer with digest '{digest}' in the repository with name '{repository_name}' "
            f"in the registry with id '{registry_id}' is not referenced by any image"
        )


class LayerInUse(DomainError):
    """A layer is taken out of a repository while an image of it still needs it (registry face only)."""

    def __init__(self, *, digest: str, repository_name: str) -> None:
        super().__init__(
            message=f"The layer with digest '{digest}' is required by an image of the repository '{repository_name}'"
        )


class UploadNotFound(DomainError):
    """The upload is unknown, expired, finished or another repository's."""

    def __init__(self, *, upload_id: str, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"The upload with id '{upload_id}' does not exist within the repository "
            f"with name '{repository_name}' in the registry with id '{registry_id}'"
        )


class InvalidLayerPart(DomainError):
    """A part does not start where the last one ended. `received_bytes` is where it must start."""

    def __init__(self, *, upload_id: str, first_byte: int, received_bytes: int) -> None:
        super().__init__(message=f"First byte of the layer part is {first_byte} instead of {received_bytes}")
        self.upload_id = upload_id
        self.received_bytes = received_bytes


class LayerPartLengthMismatch(DomainError):
    """A part's bytes are not as many as its range says."""

    def __init__(
        self, *, upload_id: str, expected_bytes: int, actual_bytes: int, received_bytes: int
    ) -> None:
        super().__init__(message=f"The layer part has {actual_bytes} bytes instead of {expected_bytes}")
        self.upload_id = upload_id
        self.received_bytes = received_bytes


class InvalidLayer(DomainError):
    """None of the digests given at the end of an upload is the one of its bytes."""

    def __init__(self) -> None:
        super().__init__(message="None of the provided layer digests match the calculated layer digest")


class UnsupportedDigest(DomainError):
    """A digest is malformed or of an algorithm that is not served."""

    def __init__(self, *, digest: str) -> None:
        super().__init__(message=f"The digest '{digest[:200]}' is malformed or of an unsupported algorithm")


class LayerPartTooSmall(DomainError):
    """A part before the last one is under 5 MiB (AWS face only)."""

    def __init__(self) -> None:
        super().__init__(message="All layer parts except the last part should be at least 5MB")


class LayerAlreadyExists(DomainError):
    """The uploaded layer is in the repository already (AWS face only)."""

    def __init__(self, *, digest: str, repository_name: str, registry_id: str) -> None:
        super().__init__(
            message=f"The layer with digest '{digest}' already exists in the repository "
            f"with name '{repository_name}' in the registry with id '{registry_id}'"
        )


class EmptyUpload(DomainError):
    """An upload ends without a part (AWS face only)."""

    def __init__(self, *, upload_id: str) -> None:
        super().__init__(message=f"The upload with id '{upload_id}' does not have any layer parts")


class LayerTooLarge(DomainError):
    """A layer is over the maximum size."""

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(message=f"The layer is larger than the maximum of {limit_bytes} bytes")


class UploadInterrupted(DomainError):
    """The client went away in the middle of a body; what had arrived is kept where it can be."""

    def __init__(self, *, message: str = "The request ended before its body did") -> None:
        super().__init__(message=message)


class BodyStalled(UploadInterrupted):
    """The client is there but sends nothing more of a body; what had arrived is kept where it can be."""

    def __init__(self) -> None:
        super().__init__(message="The request's body did not arrive in time")


class BodyTooLarge(DomainError):
    """A request body is over the bound of its door."""

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(message=f"The request body is larger than {limit_bytes} bytes")


# --- for the operator only: told on the command line, never to a client ----------------------------------------------


class OperatorError(Exception):
    """What an operator asked for cannot be done. `message` is one line and says the mend."""

    def __init__(self, *, message: str) -> None:
        super().__init__(message)
        self.message = message


class CannotStart(OperatorError):
    """The server, or a command in its place, cannot use its data folder, keys, certificate or port."""


class AccountUnusable(OperatorError):
    """An account exists already, does not exist, or its id is not twelve digits."""
