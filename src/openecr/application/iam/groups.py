"""Groups: made, looked at, renamed and deleted, and who belongs to them."""

from openecr.application.audit import audited
from openecr.application.iam import entities
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.iam import Entity, EntityKind, IamGroup
from openecr.domain.iam_errors import DeleteConflict, IamLimitExceeded, NoSuchEntity
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.ports.clock import Clock
from openecr.ports.ids import Ids
from openecr.store import accounts, group_members, iam_entities, inline_policies
from openecr.store.connections import Connection
from openecr.store.database import Database


class Groups:
    """The use cases of groups."""

    def __init__(self, *, database: Database, clock: Clock, ids: Ids, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def create(self, grant: Grant, name: str, *, path: str) -> IamGroup:
        """Make a group. Raises EntityAlreadyExists, IamLimitExceeded."""
        group = IamGroup(
            kind=EntityKind.GROUP,
            account_id=grant.registry.account_id,
            unique_id=entities.draw_unique_id(self._ids, EntityKind.GROUP.id_prefix),
            name=name,
            path=path,
            created_at=self._clock.now(),
        )

        def unit(connection: Connection) -> None:
            entities.check_quota(
                iam_entities.count(connection, group.account_id, EntityKind.GROUP),
                self._limits.groups_per_account,
                "GroupsPerAccount",
            )
            entities.add(connection, group)

        await self._database.write(audited(grant, unit))
        return group

    async def get(self, grant: Grant, page: PageRequest) -> tuple[IamGroup, Page[Entity]]:
        """Return a group and a page of its users by name. Raises NoSuchEntity."""

        def scan(connection: Connection) -> tuple[IamGroup, list[Entity]]:
            group = entities.require_group(connection, grant)
            return group, group_members.list_members(
                connection, group, after=page.after or "", limit=page.limit + 1
            )

        group, found = await self._database.scan(scan)
        return group, cut_page(found, page.limit, entities.name_key)

    async def list(self, grant: Grant, page: PageRequest, *, path_prefix: str) -> Page[Entity]:
        """Return a page of the account's groups by name."""
        return await entities.list_page(
            self._database, grant, EntityKind.GROUP, page, path_prefix=path_prefix
        )

    async def list_of_user(self, grant: Grant, page: PageRequest) -> Page[Entity]:
        """Return a page of a user's groups by name. Raises NoSuchEntity."""

        def scan(connection: Connection) -> list[Entity]:
            user = entities.require_user(connection, grant)
            return group_members.list_groups(connection, user, after=page.after or "", limit=page.limit + 1)

        return cut_page(await self._database.scan(scan), page.limit, entities.name_key)

    async def rename(self, grants: tuple[Grant, ...], *, name: str | None, path: str | None) -> None:
        """Give a group another name or path; the id stays. Raises NoSuchEntity, EntityAlreadyExists."""

        def unit(connection: Connection) -> None:
            group = entities.require_same(connection, grants)
            entities.rename(connection, group, name=name, path=path)

        await self._database.write(audited(grants[0], unit))

    async def add_user(self, grant: Grant, user_name: str) -> None:
        """Put a user into a group; it may be in it already. Raises NoSuchEntity, IamLimitExceeded."""

        def unit(connection: Connection) -> None:
            group = entities.require_group(connection, grant)
            user = entities.find_named(connection, group.account_id, EntityKind.USER, user_name)
            if not group_members.add(connection, user=user, group=group):
                return
            limit = self._limits.groups_per_user
            if group_members.count_groups(connection, user) > limit:
                raise IamLimitExceeded(message=f"Cannot exceed quota for GroupsPerUser: {limit}")
            accounts.raise_epoch(connection, group.account_id)

        await self._database.write(audited(grant, unit))

    async def remove_user(self, grant: Grant, user_name: str) -> None:
        """Take a user out of a group. Raises NoSuchEntity, also where the user is not in it."""

        def unit(connection: Connection) -> None:
            group = entities.require_group(connection, grant)
            user = entities.find_named(connection, group.account_id, EntityKind.USER, user_name)
            if not group_members.remove(connection, user=user, group=group):
                raise NoSuchEntity(message=f"The user with name {user_name} is not in group {group.name}.")
            accounts.raise_epoch(connection, group.account_id)

        await self._database.write(audited(grant, unit))

    async def delete(self, grant: Grant) -> None:
        """Delete a group without users and policies. Raises NoSuchEntity, DeleteConflict."""

        def unit(connection: Connection) -> None:
            group = entities.require_group(connection, grant)
            if group_members.has_members(connection, group):
                raise DeleteConflict(message=entities.REMOVE_USERS_FIRST)
            if inline_policies.has_any(connection, group.unique_id):
                raise DeleteConflict(message=entities.DELETE_POLICIES_FIRST)
            entities.remove(connection, group)

        await self._database.write(audited(grant, unit))
