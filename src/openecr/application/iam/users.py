"""Users: made, looked at, renamed and deleted."""

from collections.abc import Mapping
from dataclasses import dataclass

from openecr.application.audit import audited
from openecr.application.iam import entities
from openecr.application.iam.boundaries import check_boundary
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.iam import Entity, EntityKind, IamUser
from openecr.domain.iam_errors import DeleteConflict
from openecr.domain.pages import Page, PageRequest
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import access_keys, accounts, group_members, iam_entities, iam_tags, inline_policies
from openecr.store.connections import Connection
from openecr.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedUser:
    """A user with its tags."""

    user: IamUser
    tags: Mapping[str, str]


class Users:
    """The use cases of users. Access keys, groups and policies are other modules' nouns."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def create(
        self,
        grant: Grant,
        name: str,
        *,
        path: str,
        tags: Mapping[str, str],
        boundary_arn: str | None = None,
    ) -> DescribedUser:
        """Make a user, who may do nothing yet. Raises EntityAlreadyExists, IamLimitExceeded, NoSuchEntity."""
        account_id = grant.registry.account_id
        user = IamUser(
            kind=EntityKind.USER,
            account_id=account_id,
            unique_id=entities.draw_unique_id(self._ids, EntityKind.USER.id_prefix),
            name=name,
            path=path,
            created_at=self._clock.now(),
            boundary_arn=boundary_arn,
        )

        def unit(connection: Connection) -> DescribedUser:
            entities.check_quota(
                iam_entities.count(connection, account_id, EntityKind.USER),
                self._limits.users_per_account,
                "UsersPerAccount",
            )
            if boundary_arn is not None:
                check_boundary(connection, account_id, boundary_arn)
            entities.add(connection, user)
            iam_tags.put(connection, user.unique_id, tags)
            return DescribedUser(user=user, tags=tags)

        return await self._database.write(audited(grant, unit))

    async def get(self, grant: Grant) -> DescribedUser:
        """Return the user that the grant is about. Raises NoSuchEntity."""

        def work(connection: Connection) -> DescribedUser:
            user = entities.require_user(connection, grant)
            return DescribedUser(user=user, tags=iam_tags.list_of(connection, user.unique_id))

        return await self._database.read(work)

    async def root_created_at(self, grant: Grant) -> int | None:
        """Return when the account was made, and its root with it."""
        account_id = grant.registry.account_id
        return await self._database.read(lambda connection: accounts.find_created_at(connection, account_id))

    async def list(self, grant: Grant, page: PageRequest, *, path_prefix: str) -> Page[Entity]:
        """Return a page of the account's users by name."""
        return await entities.list_page(self._database, grant, EntityKind.USER, page, path_prefix=path_prefix)

    async def rename(self, grants: tuple[Grant, ...], *, name: str | None, path: str | None) -> None:
        """Give a user another name or path; the id stays. Raises NoSuchEntity, EntityAlreadyExists."""

        def unit(connection: Connection) -> None:
            user = entities.require_same(connection, grants)
            entities.rename(connection, user, name=name, path=path)

        await self._database.write(audited(grants[0], unit))

    async def delete(self, grant: Grant) -> None:
        """Delete a user on whom nothing hangs any more. Raises NoSuchEntity, DeleteConflict."""

        def unit(connection: Connection) -> None:
            user = entities.require_user(connection, grant)
            if access_keys.list_of(connection, user.account_id, user.unique_id):
                raise DeleteConflict(message=entities.DELETE_KEYS_FIRST)
            if inline_policies.has_any(connection, user.unique_id):
                raise DeleteConflict(message=entities.DELETE_POLICIES_FIRST)
            if group_members.count_groups(connection, user):
                raise DeleteConflict(message=entities.REMOVE_USERS_FIRST)
            entities.remove(connection, user)

        await self._database.write(audited(grant, unit))
