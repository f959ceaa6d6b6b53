"""Policy documents: refused where they break the policy language, and counted as quotas count them."""

from openecr.domain.iam_errors import MalformedPolicyDocument
from openecr.engines.iam import DocumentKind, MalformedPolicy, validate


def check_document(document: str, kind: DocumentKind) -> None:
    """Raise MalformedPolicyDocument, in IAM's words, for what is no policy of that kind."""
    try:
        validate(document, kind)
    except MalformedPolicy as error:
        raise MalformedPolicyDocument(message=error.message) from error


def counted_characters(document: str) -> int:
    """Return how many characters count against quotas: white space does not (IAM user guide, quotas)."""
    return sum(not character.isspace() for character in document)
