"""ECR's sentences as clients print them."""

from tests.running import ACCOUNT


def unknown_repository(name: str) -> str:
    """Said of a repository that nobody made."""
    return f"The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"


def immutable_tag(repository_name: str, tag: str) -> str:
    """Said when a tag may not be moved."""
    return (
        f"The image tag '{tag}' already exists in the '{repository_name}' repository "
        "and cannot be overwritten because the tag is immutable."
    )


def unknown_image(repository_name: str, *, digest: str | None = None, tag: str | None = None) -> str:
    """Said of an image that is not in the repository."""
    image = f"{{imageDigest:'{digest or 'null'}', imageTag:'{tag or 'null'}'}}"
    return (
        f"The image with imageId {image} does not exist within the repository "
        f"with name '{repository_name}' in the registry with id '{ACCOUNT}'"
    )


EXPIRED_TOKEN = "Your authorization token has expired. Reauthenticate and try again."
UNKNOWN_REFERENCE = "Requested image not found"
