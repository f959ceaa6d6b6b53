"""All of an account's IAM, page by page: what auditors read."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from openecr.application.iam.aws_policies import POLICIES as AWS_POLICIES
from openecr.application.iam.aws_policies import AwsPolicy
from openecr.application.iam.trust_policies import as_shown
from openecr.domain.decisions import Grant
from openecr.domain.iam import Entity, EntityKind
from openecr.domain.iam_details import Attachables, PolicyDetails
from openecr.domain.iam_errors import IamValidationError
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.store import iam_details, iam_entities
from openecr.store.connections import Connection
from openecr.store.database import Database


class Section(Enum):
    """The parts of the list, in their order, by IAM's names."""

    USERS = "User"
    GROUPS = "Group"
    ROLES = "Role"
    POLICIES = "LocalManagedPolicy"
    AWS_POLICIES = "AWSManagedPolicy"


_SECTIONS = tuple(Section)
_KINDS = {
    Section.USERS: EntityKind.USER,
    Section.GROUPS: EntityKind.GROUP,
    Section.ROLES: EntityKind.ROLE,
}
_PAGE_MAX_ITEMS = 100
"""Documents of so many entities are a few mebibytes at most; IAM too may give fewer items than were asked for."""

Item = Entity | PolicyDetails | AwsPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDetails:
    """A page, with what hangs on its entities, and how often each managed policy is used, by ARN."""

    page: Page[Item]
    attachables: Attachables
    attachment_counts: Mapping[str, int]
    boundary_counts: Mapping[str, int]


class AccountDetailLists:
    """Lists users, groups, roles and managed policies with all that hangs on them."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def list(self, grant: Grant, page: PageRequest, sections: Collection[Section]) -> AccountDetails:
        """Return a page of some sections. Raises IamValidationError where `after` is no key of this list."""
        account_id, limit = grant.registry.account_id, min(page.limit, _PAGE_MAX_ITEMS)
        start, after = _start(page.after)

        def scan(connection: Connection) -> AccountDetails:
            counts = iam_details.attachment_counts(connection, account_id)
            found: list[tuple[str, Item]] = []
            for index in range(start, len(_SECTIONS)):
                missing = limit + 1 - len(found)
                if missing > 0 and _SECTIONS[index] in sections:
                    items = _LISTS[_SECTIONS[index]](
                        connection, account_id, after if index == start else "", missing, counts
                    )
                    found += [(f"{index}/{_key(item)}", item) for item in items]
            cut = cut_page(found, limit, lambda pair: pair[0])
            items_of_page = tuple(item for _, item in cut.items)
            ids = [item.unique_id for item in items_of_page if isinstance(item, Entity)]
            return AccountDetails(
                page=Page(items=items_of_page, after=cut.after),
                attachables=iam_details.attachables(connection, ids),
                attachment_counts=counts,
                boundary_counts=iam_details.boundary_counts(connection, account_id),
            )

        return await self._database.scan(scan)


_Lister = Callable[[Connection, str, str, int, Mapping[str, int]], "list[Item]"]


def _entities(kind: EntityKind) -> _Lister:
    def lister(
        connection: Connection, account_id: str, after: str, limit: int, counts: Mapping[str, int]
    ) -> list[Item]:
        del counts
        found = iam_entities.list_after(
            connection, account_id, kind, path_prefix="/", after=after, limit=limit
        )
        return [as_shown(connection, each) for each in found]

    return lister


def _policies(
    connection: Connection, account_id: str, after: str, limit: int, counts: Mapping[str, int]
) -> list[Item]:
    del counts
    return [*iam_details.policies(connection, account_id, after=after, limit=limit)]


def _aws_policies(
    connection: Connection, account_id: str, after: str, limit: int, counts: Mapping[str, int]
) -> list[Item]:
    """Return those of AWS's policies that are attached in the account, as IAM does."""
    del connection, account_id
    used = sorted(
        (AWS_POLICIES[arn] for arn in counts if arn in AWS_POLICIES), key=lambda policy: policy.name.lower()
    )
    return [*[policy for policy in used if policy.name.lower() > after][:limit]]


_LISTS: Mapping[Section, _Lister] = {
    **{section: _entities(kind) for section, kind in _KINDS.items()},
    Section.POLICIES: _policies,
    Section.AWS_POLICIES: _aws_policies,
}


def _key(item: Item) -> str:
    return item.name.lower()


def _start(after: str | None) -> tuple[int, str]:
    """Return in which section a page begins, and after which name."""
    if after is None:
        return 0, ""
    index, separator, name = after.partition("/")
    if not separator or index not in {str(number) for number in range(len(_SECTIONS))}:
        raise IamValidationError(message="Invalid Marker.")
    return int(index), name
