"""Managed policies: those of an account, in versions, and AWS's own."""

from dataclasses import dataclass

VERSIONS_MAX = 5
"""IAM user guide, quotas: a managed policy keeps so many versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedPolicy:
    """A policy of an account. Versions are numbered from 1, and no number is given twice."""

    unique_id: str
    account_id: str
    name: str
    path: str
    arn: str
    description: str | None
    created_at: int
    updated_at: int
    default_version: int
    newest_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One document of a managed policy."""

    number: int
    document: str
    created_at: int
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """How many users, groups and roles have a policy attached, and of how many it is the boundary."""

    attachments: int = 0
    boundaries: int = 0
