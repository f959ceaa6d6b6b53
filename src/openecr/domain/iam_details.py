"""Users, groups, roles and managed policies with all that hangs on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachables:
    """What hangs on entities, by their ids: inline policies (name, document), ARNs, names of groups, tags."""

    inline: Mapping[str, Sequence[tuple[str, str]]]
    attached_arns: Mapping[str, Sequence[str]]
    group_names: Mapping[str, Sequence[str]]
    tags: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionDetails:
    """A version of a managed policy."""

    number: int
    document: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDetails:
    """A managed policy of an account with its versions, newest first."""

    unique_id: str
    name: str
    path: str
    arn: str
    description: str | None
    created_at: int
    updated_at: int
    default_version: int
    versions: tuple[VersionDetails, ...]
