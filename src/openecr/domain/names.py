"""Grammars of repository names and image tags.

Sources: ECR API reference (repositoryName, imageTag), OCI distribution-spec 1.1 (tag).
"""

import re

REPOSITORY_NAME_MIN_CHARACTERS = 2
REPOSITORY_NAME_MAX_CHARACTERS = 256
TAG_MAX_CHARACTERS = 128

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]*", re.ASCII)


def is_repository_name(text: str) -> bool:
    """Tell whether `text` is a legal repository name, namespaces included."""
    length_ok = REPOSITORY_NAME_MIN_CHARACTERS <= len(text) <= REPOSITORY_NAME_MAX_CHARACTERS
    return length_ok and _REPOSITORY_NAME.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Tell whether `text` is a legal image tag on both faces."""
    return len(text) <= TAG_MAX_CHARACTERS and _TAG.fullmatch(text) is not None
