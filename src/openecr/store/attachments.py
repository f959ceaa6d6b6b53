"""Managed policies that are attached to users, groups and roles, and the boundaries of users and roles."""

from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, update

from openecr.domain.iam import Entity
from openecr.domain.managed_policies import Uses
from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_ignore
from openecr.store.iam_entities import COLUMNS, entity_of
from openecr.store.iam_tables import ATTACHMENTS, PRINCIPALS
from openecr.store.statements import Statement

_A, _P = ATTACHMENTS.c, PRINCIPALS.c
_OF_PRINCIPAL = _A.principal_id == bindparam("the_id")
_IS_POLICY = _A.policy_arn == bindparam("the_arn")
_OF_ACCOUNT = _P.account_id == bindparam("the_account")

ADD = insert_or_ignore(
    ATTACHMENTS, conflict=("principal_id", "policy_arn"), columns=("principal_id", "policy_arn")
)
REMOVE = Statement(delete(ATTACHMENTS).where(_OF_PRINCIPAL, _IS_POLICY))
REMOVE_ALL = Statement(delete(ATTACHMENTS).where(_OF_PRINCIPAL))
LIST = Statement(
    select(_A.policy_arn)
    .where(_OF_PRINCIPAL, _A.policy_arn > bindparam("after"))
    .order_by(_A.policy_arn)
    .limit(bindparam("count"))
)
COUNT = Statement(select(func.count()).select_from(ATTACHMENTS).where(_OF_PRINCIPAL))
COUNT_USES = Statement(
    select(func.count())
    .select_from(ATTACHMENTS.join(PRINCIPALS, _P.id == _A.principal_id))
    .where(_OF_ACCOUNT, _IS_POLICY)
)
COUNT_BOUNDARIES = Statement(
    select(func.count()).select_from(PRINCIPALS).where(_OF_ACCOUNT, _P.boundary_arn == bindparam("the_arn"))
)
_HAS_POLICY = _P.id.in_(select(_A.principal_id).where(_IS_POLICY))
_IS_BOUNDED = _P.boundary_arn == bindparam("the_arn")


def _entities(condition: ColumnElement[bool]) -> Statement:
    return Statement(
        select(*COLUMNS)
        .where(_OF_ACCOUNT, condition, _P.id > bindparam("after"))
        .order_by(_P.id)
        .limit(bindparam("count"))
    )


LIST_ENTITIES = _entities(_HAS_POLICY)
LIST_BOUNDED = _entities(_IS_BOUNDED)
LIST_EITHER = _entities(or_(_HAS_POLICY, _IS_BOUNDED))
SET_BOUNDARY = Statement(
    update(PRINCIPALS).where(_P.id == bindparam("the_id")).values(boundary_arn=bindparam("new_arn"))
)


def add(connection: Connection, principal_id: str, policy_arn: str) -> bool:
    """Attach a policy; tell whether it was not attached before."""
    return connection.execute(ADD, principal_id=principal_id, policy_arn=policy_arn) == 1


def remove(connection: Connection, principal_id: str, policy_arn: str) -> bool:
    """Detach a policy; tell whether it was attached."""
    return connection.execute(REMOVE, the_id=principal_id, the_arn=policy_arn) == 1


def remove_all(connection: Connection, principal_id: str) -> None:
    """Detach every policy of an entity."""
    connection.execute(REMOVE_ALL, the_id=principal_id)


def list_after(connection: Connection, principal_id: str, *, after: str, limit: int) -> list[str]:
    """Return ARNs of attached policies, those that sort after `after`."""
    rows = connection.fetch_all(LIST, the_id=principal_id, after=after, count=limit)
    return [str(arn) for (arn,) in rows]


def count(connection: Connection, principal_id: str) -> int:
    """Return how many policies are attached to an entity."""
    row = connection.fetch_one(COUNT, the_id=principal_id)
    return 0 if row is None else int(row[0])


def uses(connection: Connection, account_id: str, policy_arn: str) -> Uses:
    """Return how often an account uses a policy."""
    attached = connection.fetch_one(COUNT_USES, the_account=account_id, the_arn=policy_arn)
    bounded = connection.fetch_one(COUNT_BOUNDARIES, the_account=account_id, the_arn=policy_arn)
    return Uses(
        attachments=0 if attached is None else int(attached[0]),
        boundaries=0 if bounded is None else int(bounded[0]),
    )


def list_entities(
    connection: Connection,
    account_id: str,
    policy_arn: str,
    *,
    are_attached: bool,
    are_bounded: bool,
    after: str,
    limit: int,
) -> list[Entity]:
    """Return users, groups and roles that have a policy, as theirs or as their boundary, by id after `after`.

    With both flags: in either way.
    """
    statement = LIST_ENTITIES if not are_bounded else LIST_EITHER if are_attached else LIST_BOUNDED
    rows = connection.fetch_all(
        statement, the_account=account_id, the_arn=policy_arn, after=after, count=limit
    )
    return [entity_of(row) for row in rows]


def set_boundary(connection: Connection, principal_id: str, policy_arn: str | None) -> None:
    """Give a user or role another boundary, or none."""
    connection.execute(SET_BOUNDARY, the_id=principal_id, new_arn=policy_arn)
