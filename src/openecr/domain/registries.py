"""A registry: one account in one region. It is never created; it exists with the account."""

import re
from dataclasses import dataclass
from typing import Self

PARTITION = "aws"
"""The partition that stands in every ARN of a server."""

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_REGION = re.compile(r"[a-z]{2,12}(-[a-z0-9]+){1,4}", re.ASCII)
_REGION_MAX_CHARACTERS = 40


def is_account_id(text: str) -> bool:
    """Tell whether `text` is a twelve-digit account id."""
    return _ACCOUNT.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Tell whether `text` has the form of a region name such as `us-east-1`."""
    return len(text) <= _REGION_MAX_CHARACTERS and _REGION.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryId:
    """One account in one region; the key of every table."""

    account_id: str
    region: str

    def __str__(self) -> str:
        """Return the form kept in the database: `<account>/<region>`."""
        return f"{self.account_id}/{self.region}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        account_id, _, region = text.partition("/")
        if not is_account_id(account_id) or not is_region(region):
            message = f"not a registry id: {text!r}"
            raise ValueError(message)
        return cls(account_id=account_id, region=region)


def repository_arn(registry: RegistryId, repository_name: str) -> str:
    """Return the ARN of a repository; `*` as the name gives the ARN of all of them."""
    return f"arn:{PARTITION}:ecr:{registry.region}:{registry.account_id}:repository/{repository_name}"


_REPOSITORY_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):ecr:(?P<region>[a-z0-9-]{1,40}):(?P<account>[0-9]{12}):repository/(?P<name>.{1,256})",
    re.ASCII | re.DOTALL,
)


def parse_repository_arn(text: str) -> tuple[RegistryId, str] | None:
    """Return the registry and repository name that an ARN names, or None if it is no repository's ARN."""
    match = _REPOSITORY_ARN.fullmatch(text)
    if match is None or match["partition"] != PARTITION:
        return None
    return RegistryId(account_id=match["account"], region=match["region"]), match["name"]
