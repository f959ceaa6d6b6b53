"""The policies of a simulation: those of a user, group or role as they are now, and those that the request brings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from openecr.application.iam import aws_policies
from openecr.domain.decisions import PolicyKind
from openecr.domain.iam import Entity
from openecr.domain.iam_errors import InvalidInput
from openecr.engines.iam import DocumentKind, MalformedPolicy, Policy, compile_policy, validate
from openecr.store import iam_entities, principals
from openecr.store.connections import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A policy of a simulation. `identifier` and `type` are what IAM calls it in results.

    `owner` is (kind, name) of whose inline policy it is, `arn` a managed policy's.
    """

    document: str
    identifier: str
    type: str
    kind: PolicyKind = PolicyKind.IDENTITY
    name: str = ""
    owner: tuple[str, str] | None = None
    arn: str | None = None

    def compiled(self, number: int) -> Policy:
        """Return the policy, whose statements then refer to it by its number."""
        return compile_policy(self.document, kind=self.kind, source=str(number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Policies that a simulation leaves out: of a type, of an ARN, or inline ones of a name and an owner."""

    type: str | None = None
    arn: str | None = None
    inline: tuple[str, str, str] | None = None

    def is_about(self, policy: Simulated, *, is_boundary: bool) -> bool:
        """Tell whether a policy is left out. `inline` is (name, kind of owner, owner with wildcards)."""
        if self.type is not None:
            return self.type == ("permission-boundary" if is_boundary else _exclusion_type(policy))
        if self.arn is not None:
            return policy.arn is not None and _glob(self.arn).fullmatch(policy.arn) is not None
        if self.inline is None or policy.owner is None:
            return False
        name, kind, owner = self.inline
        owner_kind, owner_name = policy.owner
        return (name, kind) == (policy.name, owner_kind) and _glob(owner).fullmatch(owner_name) is not None


def given(
    documents: Sequence[str],
    list_name: str,
    *,
    kind: PolicyKind = PolicyKind.IDENTITY,
    document_kind: DocumentKind = DocumentKind.IDENTITY,
    policy_type: str = "none",
) -> tuple[Simulated, ...]:
    """Return policies that a request brings. Raises InvalidInput."""
    found: list[Simulated] = []
    for number, document in enumerate(documents, 1):
        identifier = f"{list_name}.{number}"
        _check(document, identifier, document_kind)
        found.append(Simulated(document=document, identifier=identifier, type=policy_type, kind=kind))
    return tuple(found)


def given_for_resource(document: str | None) -> Simulated | None:
    """Return a policy that a request puts on every resource. Raises InvalidInput."""
    if document is None:
        return None
    (found,) = given(
        (document,),
        "ResourcePolicy",
        kind=PolicyKind.RESOURCE,
        document_kind=DocumentKind.REPOSITORY,  # with or without resources
        policy_type="resource",
    )
    return found


def of_entity(
    connection: Connection, entity: Entity, excluded: Sequence[Exclusion]
) -> tuple[tuple[Simulated, ...], Simulated | None, Mapping[str, str]]:
    """Return policies, boundary and tags of a user, group or role. A user has the policies of its groups too."""
    row = principals.find(connection, entity.unique_id)
    assert row is not None, "it was found in the same unit"
    owners = {owner_id: iam_entities.find_by_id(connection, owner_id) for owner_id, _, _ in row.inline}
    found = [
        Simulated(
            document=document,
            identifier=f"{owner.kind.value}_{owner.name}_{name}",
            type=owner.kind.value,
            name=name,
            owner=(owner.kind.value, owner.name),
        )
        for owner_id, name, document in row.inline
        if (owner := owners[owner_id]) is not None
    ]
    found += _managed(connection, row.attached_arns, PolicyKind.IDENTITY)
    boundary = None
    if row.boundary_arn is not None:
        boundary = next(iter(_managed(connection, (row.boundary_arn,), PolicyKind.BOUNDARY)), None)
    if boundary is not None and any(each.is_about(boundary, is_boundary=True) for each in excluded):
        boundary = None
    kept = (
        policy for policy in found if not any(each.is_about(policy, is_boundary=False) for each in excluded)
    )
    return tuple(kept), boundary, dict(row.tags)


def _managed(connection: Connection, arns: Sequence[str], kind: PolicyKind) -> list[Simulated]:
    of_aws = {arn: text for arn in arns if (text := aws_policies.find_document(arn)) is not None}
    documents = {**principals.managed_documents(connection, [arn for arn in arns if arn not in of_aws])}
    return [
        Simulated(
            document=document,
            identifier=arn.rpartition("/")[2],
            type="aws-managed" if arn in of_aws else "user-managed",
            kind=kind,
            arn=arn,
        )
        for arn, document in {**of_aws, **documents}.items()
    ]


def _exclusion_type(policy: Simulated) -> str:
    return policy.type if policy.arn is not None else "inline"


def _check(document: str, identifier: str, kind: DocumentKind) -> None:
    try:
        validate(document, kind)
    except MalformedPolicy as error:
        raise InvalidInput(message=f"Invalid policy document in {identifier}: {error.message}") from error


@lru_cache(256)
def _glob(pattern: str) -> re.Pattern[str]:
    """One `*` at most, so that no pattern takes long. Raises InvalidInput."""
    if pattern.count("*") > 1:
        raise InvalidInput(message=f"Only one * is allowed in {pattern[:256]}")
    return re.compile(
        "".join({"*": ".*", "?": "."}.get(character) or re.escape(character) for character in pattern)
    )
