"""Principals that policies name: they have to exist, and are remembered by their unique ids.

A user or role that is deleted and made again under the same name is another one, to whom an old policy says nothing
(IAM user guide, "AWS JSON policy elements: Principal").
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from openecr.application.policy_texts import laid_out, principal_elements
from openecr.domain.iam import EntityKind
from openecr.domain.registries import PARTITION, is_account_id
from openecr.store import accounts, iam_entities
from openecr.store.connections import Connection

_ARN_PARTS = 6
_KINDS = {"user": EntityKind.USER, "role": EntityKind.ROLE}
_UNIQUE_ID = re.compile(r"(AIDA|AROA)[A-Z2-7]{17}", re.ASCII)
_EVERYBODY = "*"


class PrincipalNotFound(Exception):
    """A policy names a user, role or account that is not here."""

    def __init__(self, principal: str) -> None:
        super().__init__(principal)
        self.principal = principal


def resolve(connection: Connection, text: str) -> dict[str, str]:
    """Return the unique id of each user and role that a valid policy names by its ARN. Raises PrincipalNotFound."""
    found: dict[str, str] = {}
    for kind, principal in _named(json.loads(text)):
        unique_id = _resolve(connection, kind, principal)
        if unique_id is not None:
            found[principal] = unique_id
    return found


def shown(connection: Connection, document: str, principals: Mapping[str, str | None]) -> str:
    """Return a policy as it is shown: whoever is gone, or is another one now, by the unique id that is meant."""
    gone = {
        arn: unique_id
        for arn, unique_id in principals.items()
        if unique_id is not None and _now(connection, arn) != unique_id
    }
    if not gone:
        return document
    parsed: dict[str, Any] = json.loads(document)
    for element in principal_elements(parsed):
        element.update({kind: _renamed(names, gone) for kind, names in element.items()})
    return laid_out(parsed)


def is_known(connection: Connection, principal: str) -> bool:
    """Tell whether a policy may name a principal, of whatever type."""
    for kind in ("AWS", "Federated"):
        try:
            _resolve(connection, kind, principal)
        except PrincipalNotFound:
            continue
        return True
    return False


def _named(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield type and name of each principal, but for everybody."""
    for element in principal_elements(document):
        for kind, names in element.items():
            for name in cast("list[str]", names) if isinstance(names, list) else [names]:
                yield kind, name


def _renamed(names: str | list[str], others: Mapping[str, str]) -> str | list[str]:
    if isinstance(names, list):
        return [others.get(name, name) for name in names]
    return others.get(names, names)


def _resolve(connection: Connection, kind: str, principal: str) -> str | None:
    """Return the id of a user or role; None for what has none: accounts, services, everybody."""
    match kind:
        case "Service":
            return None
        case "Federated":
            _check_provider(connection, principal)
            return None
        case "AWS":
            return _resolve_aws(connection, principal)
        case _:  # CanonicalUser is of S3 alone
            raise PrincipalNotFound(principal)


def _check_provider(connection: Connection, principal: str) -> None:
    """Check an OpenID Connect provider's ARN, or the domain of one that everybody knows."""
    if "." in principal and not principal.startswith("arn:"):
        return
    account_id, resource = _parse(principal, "iam")
    _require_account(connection, account_id, principal)
    if not resource.startswith("oidc-provider/"):
        raise PrincipalNotFound(principal)


def _resolve_aws(connection: Connection, principal: str) -> str | None:
    if principal == _EVERYBODY:
        return None
    if is_account_id(principal):
        _require_account(connection, principal, principal)
        return None
    if _UNIQUE_ID.fullmatch(principal):
        if iam_entities.find_by_id(connection, principal) is None:
            raise PrincipalNotFound(principal)
        return None
    service = "sts" if principal.startswith(f"arn:{PARTITION}:sts:") else "iam"
    account_id, resource = _parse(principal, service)
    _require_account(connection, account_id, principal)
    return _SERVICES[service](connection, principal, account_id, resource)


def _of_iam(connection: Connection, principal: str, account_id: str, resource: str) -> str | None:
    if resource == "root":
        return None
    kind, _, name = resource.partition("/")
    if kind not in _KINDS:
        raise PrincipalNotFound(principal)
    path, _, last = name.rpartition("/")
    return _require(connection, principal, account_id, _KINDS[kind], last, path=f"/{path}/" if path else "/")


def _of_sts(connection: Connection, principal: str, account_id: str, resource: str) -> str | None:
    """Return the role's id of one of its sessions. Federated users come and go without a record."""
    kind, _, name = resource.partition("/")
    match kind:
        case "assumed-role":
            role_name = name.partition("/")[0]
            return _require(connection, principal, account_id, EntityKind.ROLE, role_name, path=None)
        case "federated-user":
            return None
        case _:
            raise PrincipalNotFound(principal)


_SERVICES: Mapping[str, Callable[[Connection, str, str, str], str | None]] = {"iam": _of_iam, "sts": _of_sts}


def _parse(principal: str, service: str) -> tuple[str, str]:
    """Return account and resource of an ARN of IAM or STS, which know no regions. Raises PrincipalNotFound."""
    parts = principal.split(":", maxsplit=_ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS or parts[:4] != ["arn", PARTITION, service, ""]:
        raise PrincipalNotFound(principal)
    return parts[4], parts[5]


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
        return _resolve_aws(connection, arn)
    except PrincipalNotFound:
        return None
