"""A grant as a policy of its key: whom it lets in, to what, under which encryption context.

So grants are decided as everything else is: an explicit deny beats them, boundaries and session policies limit what
they give to roles, and to callers of other accounts their own account has to allow it too.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from openecr.domain.kms import CONTEXT_OPERATIONS, FOLDED_CONTEXT_KEYS, GrantConstraints, KmsGrant

_CONTEXT = "kms:EncryptionContext:"
_CONTEXT_KEYS = FOLDED_CONTEXT_KEYS
_EXACT = "EncryptionContextEquals"


def grant_policy(grant: KmsGrant) -> str:
    """Return the document. It has the version whose values know no variables."""
    principal = _principal(grant.grantee)
    statements: list[Mapping[str, Any]] = []
    limited = [each for each in grant.operations if each in CONTEXT_OPERATIONS]
    plain = [each for each in grant.operations if each not in CONTEXT_OPERATIONS | {"CreateGrant"}]
    context = _context_condition(grant.constraints)
    if limited:
        statements.append(_allow(principal, limited, context))
    if plain:
        statements.append(_allow(principal, plain, {}))
    if "CreateGrant" in grant.operations:
        statements.append(_allow(principal, ["CreateGrant"], _inherited(grant, context)))
    if grant.retiring is not None:
        statements.append(_allow(_principal(grant.retiring), ["RetireGrant"], {}))
    return json.dumps({"Version": "2008-10-17", "Statement": statements})


def _allow(
    principal: Mapping[str, str], operations: Sequence[str], condition: Mapping[str, Any]
) -> Mapping[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": principal,
        "Action": [f"kms:{operation}" for operation in operations],
        "Resource": "*",
        "Condition": condition,
    }


def _principal(name: str) -> Mapping[str, str]:
    return {"AWS" if name.startswith("arn:") else "Service": name}


def _context_condition(constraints: GrantConstraints) -> dict[str, dict[str, Any]]:
    """Keys of contexts are compared without letter case, values with it: as condition keys are.

    What is equal has no other keys: each is compared in the lower case in which no two keys of a context are alike.
    """
    wanted = constraints.subset if constraints.equals is None else constraints.equals
    condition: dict[str, dict[str, Any]] = {}
    if wanted:
        condition["StringEquals"] = {f"{_CONTEXT}{key}": value for key, value in wanted.items()}
    if constraints.equals:
        condition["ForAllValues:StringEquals"] = {_CONTEXT_KEYS: [key.lower() for key in constraints.equals]}
    elif constraints.equals is not None:
        condition["Null"] = {_CONTEXT_KEYS: "true"}
    if constraints.source_arn is not None:
        condition["ArnEquals"] = {"aws:SourceArn": constraints.source_arn}
    return condition


def _inherited(grant: KmsGrant, context: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A grant that somebody makes by a grant gives no more than that one, under constraints that are as strict."""
    condition = {operator: dict(keys) for operator, keys in context.items()}
    every = condition.setdefault("ForAllValues:StringEquals", {})
    every["kms:GrantOperations"] = list(grant.operations)
    if grant.constraints.equals is not None:
        condition.setdefault("StringEquals", {})["kms:GrantConstraintType"] = _EXACT
    return condition
