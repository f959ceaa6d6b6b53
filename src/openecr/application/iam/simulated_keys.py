"""The condition keys of a simulation: those that the request brings, and those that follow from who is simulated."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from openecr.domain.iam import Entity, EntityKind

_SECOND = 1_000_000
_MENTIONED = re.compile(r'["{]([A-Za-z0-9-]+:[^"{}\\,]+)')
"""What may be a key in a document: a string, or the beginning of a variable."""


class Keys:
    """What policies may ask. It notes which keys they asked for that nobody gave."""

    def __init__(self, given: Mapping[str, tuple[str, ...]], documents: Sequence[str], *, now: int) -> None:
        """`given`: values by key in any letter case; `now` is told where the request gives no time."""
        self._written = {
            match[1].lower(): match[1] for document in documents for match in _MENTIONED.finditer(document)
        }
        seconds = now // _SECOND
        instant = datetime.fromtimestamp(seconds, UTC)
        self._given = {
            "aws:currenttime": (instant.strftime("%Y-%m-%dT%H:%M:%SZ"),),
            "aws:epochtime": (str(seconds),),
            **{key.lower(): values for key, values in given.items()},
        }
        self.asked: dict[str, None] = {}

    def get(self, key: str) -> tuple[str, ...] | None:
        """Return a key's values, or None where the simulation has no such key."""
        found = self._given.get(key)
        if found is None:
            self.asked[key] = None
        return found

    def missing(self) -> tuple[str, ...]:
        """Return the keys that were asked for in vain, as the documents write them."""
        return tuple(self._written.get(key, key) for key in self.asked)


def principal_keys(entity: Entity, tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return what is known of a user or role without a request."""
    if entity.kind is EntityKind.GROUP:
        return {"aws:PrincipalAccount": (entity.account_id,)}
    found: dict[str, tuple[str, ...]] = {
        "aws:PrincipalAccount": (entity.account_id,),
        "aws:PrincipalArn": (entity.arn,),
        **{f"aws:PrincipalTag/{key}": (value,) for key, value in tags.items()},
    }
    if entity.kind is EntityKind.USER:
        found |= {
            "aws:PrincipalType": ("User",),
            "aws:userid": (entity.unique_id,),
            "aws:username": (entity.name,),
        }
    else:
        found["aws:PrincipalType"] = ("AssumedRole",)
    return found
