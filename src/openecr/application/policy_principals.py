"""Principals that policies name: they have to exist, and are remembered by their unique ids.

A user or role that is deleted and made again under the same name is another one, to whom an old policy says nothing
(IAM user guide, "AWS JSON policy elements: Principal").
"""

import json
from collections.abc import Mapping

from openecr.domain.iam import EntityKind
from openecr.domain.registries import is_account_id
from openecr.engines.iam import principals_of
from openecr.store import accounts, iam_entities
from openecr.store.connections import Connection

_ARN_PARTS = 6
_KINDS = {"user": EntityKind.USER, "role": EntityKind.ROLE}


class PrincipalNotFound(Exception):
    """A policy names a user, role or account that is not here."""

    def __init__(self, principal: str) -> None:
        super().__init__(principal)
        self.principal = principal


def resolve(connection: Connection, text: str) -> dict[str, str]:
    """Return the unique id of each user and role that a policy names by its ARN. Raises PrincipalNotFound."""
    found: dict[str, str] = {}
    for principal in principals_of(text):
        unique_id = _resolve(connection, principal)
        if unique_id is not None:
            found[principal] = unique_id
    return found


def shown(connection: Connection, document: str, principals: Mapping[str, str | None]) -> str:
    """Return a policy as it is shown: whoever is gone, or is another one now, by the unique id that is meant."""
    for arn, unique_id in principals.items():
        if unique_id is not None and _now(connection, arn) != unique_id:
            document = document.replace(json.dumps(arn), json.dumps(unique_id))
    return document


def is_known(connection: Connection, principal: str) -> bool:
    """Tell whether a policy may name a principal."""
    try:
        _resolve(connection, principal)
    except PrincipalNotFound:
        return False
    return True


def _resolve(connection: Connection, principal: str) -> str | None:
    """Return the id of a user or role; None for what has none: accounts, sessions, services, everybody."""
    parts = principal.split(":", maxsplit=_ARN_PARTS - 1)
    if is_account_id(principal):
        _require_account(connection, principal, principal)
        return None
    if len(parts) != _ARN_PARTS or parts[0] != "arn":
        return None
    _require_account(connection, parts[4], principal)
    kind, _, name = parts[5].partition("/")
    if parts[2] == "sts" and kind == "assumed-role":
        return _require(connection, principal, parts[4], EntityKind.ROLE, name.partition("/")[0], path=None)
    if parts[2] == "iam" and kind in _KINDS:
        path, _, last = name.rpartition("/")
        return _require(
            connection, principal, parts[4], _KINDS[kind], last, path=f"/{path}/" if path else "/"
        )
    if parts[2] == "iam" and (parts[5] == "root" or kind == "oidc-provider"):
        return None
    if parts[2] == "sts" and kind == "federated-user":
        return None
    raise PrincipalNotFound(principal)


def _require_account(connection: Connection, account_id: str, principal: str) -> None:
    if not is_account_id(account_id) or not accounts.exists(connection, account_id):
        raise PrincipalNotFound(principal)


def _require(
    connection: Connection,
    principal: str,
    account_id: str,
    kind: EntityKind,
    name: str,
    *,
    path: str | None,
) -> str:
    entity = iam_entities.find(connection, account_id, kind, name)
    if entity is None or entity.name != name or (path is not None and entity.path != path):
        raise PrincipalNotFound(principal)
    return entity.unique_id


def _now(connection: Connection, arn: str) -> str | None:
    try:
        return _resolve(connection, arn)
    except PrincipalNotFound:
        return None
