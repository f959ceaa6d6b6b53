"""Repositories and their settings."""

import enum
import re
from dataclasses import dataclass

from openecr.domain.registries import RegistryId, repository_arn


class TagMutability(enum.Enum):
    """Whether a tag may be moved to another image (ECR API: ImageTagMutability)."""

    MUTABLE = "MUTABLE"
    IMMUTABLE = "IMMUTABLE"
    IMMUTABLE_WITH_EXCLUSION = "IMMUTABLE_WITH_EXCLUSION"
    MUTABLE_WITH_EXCLUSION = "MUTABLE_WITH_EXCLUSION"

    @property
    def takes_filters(self) -> bool:
        """Tell whether this mode needs exclusion filters."""
        return self in {TagMutability.IMMUTABLE_WITH_EXCLUSION, TagMutability.MUTABLE_WITH_EXCLUSION}


def wildcard_matches(pattern: str, tag: str) -> bool:
    """Match a whole tag, case-sensitively, where `*` is any run of characters, also an empty one."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), tag, re.DOTALL) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagMutabilitySetting:
    """A mode and, for the modes with exclusion, one to five wildcard filters."""

    mode: TagMutability = TagMutability.MUTABLE
    exclusion_filters: tuple[str, ...] = ()

    def is_immutable(self, tag: str) -> bool:
        """Tell whether an existing `tag` may not be moved."""
        excluded = any(wildcard_matches(pattern, tag) for pattern in self.exclusion_filters)
        match self.mode:
            case TagMutability.MUTABLE:
                return False
            case TagMutability.IMMUTABLE:
                return True
            case TagMutability.IMMUTABLE_WITH_EXCLUSION:
                return not excluded
            case TagMutability.MUTABLE_WITH_EXCLUSION:
                return excluded


AES256 = "AES256"
"""The encryption type without a key of KMS."""

KMS = "KMS"
"""The encryption type under a key of KMS; the other one is KMS_DSSE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """How a repository's content is encrypted; fixed at creation. `kms_key`: the ARN of its key of KMS."""

    encryption_type: str = AES256
    kms_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySettings:
    """What CreateRepository chooses."""

    tag_mutability: TagMutabilitySetting = TagMutabilitySetting()
    scan_on_push: bool = False
    encryption: Encryption = Encryption()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A live repository. The id names this very one: a namesake made later has another."""

    id: int
    registry: RegistryId
    name: str
    created_at: int
    settings: RepositorySettings

    @property
    def arn(self) -> str:
        """Return the repository's ARN."""
        return repository_arn(self.registry, self.name)
