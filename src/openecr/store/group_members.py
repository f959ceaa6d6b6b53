"""Which users belong to which groups."""

from sqlalchemy import and_, bindparam, delete, func, select

from openecr.domain.iam import Entity
from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_ignore
from openecr.store.iam_entities import COLUMNS, entity_of
from openecr.store.iam_tables import GROUP_MEMBERS, PRINCIPALS
from openecr.store.statements import Statement

_M = GROUP_MEMBERS.c
_P = PRINCIPALS.c
ADD = insert_or_ignore(GROUP_MEMBERS, conflict=("user_id", "group_id"), columns=("user_id", "group_id"))
REMOVE = Statement(
    delete(GROUP_MEMBERS).where(and_(_M.user_id == bindparam("user"), _M.group_id == bindparam("group")))
)
COUNT_GROUPS = Statement(
    select(func.count()).select_from(GROUP_MEMBERS).where(_M.user_id == bindparam("user"))
)
FIND_MEMBER = Statement(select(_M.user_id).where(_M.group_id == bindparam("group")).limit(1))
LIST_MEMBERS = Statement(
    select(*COLUMNS)
    .join_from(GROUP_MEMBERS, PRINCIPALS, _P.id == _M.user_id)
    .where(_M.group_id == bindparam("group"), _P.name_key > bindparam("after"))
    .order_by(_P.name_key)
    .limit(bindparam("count"))
)
LIST_GROUPS = Statement(
    select(*COLUMNS)
    .join_from(GROUP_MEMBERS, PRINCIPALS, _P.id == _M.group_id)
    .where(_M.user_id == bindparam("user"), _P.name_key > bindparam("after"))
    .order_by(_P.name_key)
    .limit(bindparam("count"))
)


def add(connection: Connection, *, user: Entity, group: Entity) -> bool:
    """Put a user into a group; tell whether it was not in it before."""
    return connection.execute(ADD, user_id=user.unique_id, group_id=group.unique_id) == 1


def remove(connection: Connection, *, user: Entity, group: Entity) -> bool:
    """Take a user out of a group; tell whether it was in it."""
    return connection.execute(REMOVE, user=user.unique_id, group=group.unique_id) == 1


def count_groups(connection: Connection, user: Entity) -> int:
    """Return to how many groups a user belongs."""
    row = connection.fetch_one(COUNT_GROUPS, user=user.unique_id)
    return 0 if row is None else int(row[0])


def has_members(connection: Connection, group: Entity) -> bool:
    """Tell whether any user belongs to a group."""
    return connection.fetch_one(FIND_MEMBER, group=group.unique_id) is not None


def list_members(connection: Connection, group: Entity, *, after: str, limit: int) -> list[Entity]:
    """Return users of a group by name without letter case, those that sort after `after`."""
    rows = connection.fetch_all(LIST_MEMBERS, group=group.unique_id, after=after, count=limit)
    return [entity_of(row) for row in rows]


def list_groups(connection: Connection, user: Entity, *, after: str, limit: int) -> list[Entity]:
    """Return groups of a user by name without letter case, those that sort after `after`."""
    rows = connection.fetch_all(LIST_GROUPS, user=user.unique_id, after=after, count=limit)
    return [entity_of(row) for row in rows]
