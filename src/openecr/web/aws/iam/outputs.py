"""How entities and documents of IAM stand in answers."""

from collections.abc import Mapping
from urllib.parse import quote

from openecr.domain.iam import Entity, EntityKind
from openecr.web.aws.call import Output

_BOUNDARY_TYPE = "PermissionsBoundaryPolicy"


def encoded(document: str) -> str:
    """Return a policy document as IAM sends it: percent-encoded (RFC 3986)."""
    return quote(document, safe="")


def boundary(arn: str | None) -> Output | None:
    """Return a permissions boundary, or None where there is none."""
    return None if arn is None else {"PermissionsBoundaryType": _BOUNDARY_TYPE, "PermissionsBoundaryArn": arn}


def tag_list(tags: Mapping[str, str]) -> list[Output] | None:
    """Return tags as a list, or None where there are none."""
    return [{"Key": key, "Value": value} for key, value in tags.items()] or None


def user(entity: Entity) -> Output:
    """Return a user as lists show it: without tags and boundary."""
    return _common(entity, "User")


def group(entity: Entity) -> Output:
    """Return a group."""
    return _common(entity, "Group")


def role(entity: Entity) -> Output:
    """Return what a role shares with users and groups."""
    return _common(entity, "Role")


_TOLD = {EntityKind.USER: user, EntityKind.GROUP: group, EntityKind.ROLE: role}


def entity(shown: Entity) -> Output:
    """Return an entity of any kind."""
    return _TOLD[shown.kind](shown)


def _common(entity: Entity, noun: str) -> Output:
    return {
        "Path": entity.path,
        f"{noun}Name": entity.name,
        f"{noun}Id": entity.unique_id,
        "Arn": entity.arn,
        "CreateDate": entity.created_at,
    }
