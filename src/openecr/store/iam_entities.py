"""Users, groups and roles: found, listed, made, changed and removed. What decisions read is in `principals`."""

from collections.abc import Sequence

from sqlalchemy import Integer, Text, bindparam, delete, func, insert, select, update

from openecr.domain.iam import Entity, EntityKind, IamGroup, IamRole, IamUser
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, is_one_of
from openecr.store.iam_tables import PRINCIPALS
from openecr.store.statements import Statement

_P = PRINCIPALS.c
COLUMNS = (
    _P.id,
    _P.account_id,
    _P.kind,
    _P.name,
    _P.path,
    _P.created_at,
    _P.boundary_arn,
    _P.trust_policy,
    _P.trust_principals,
    _P.max_session_seconds,
    _P.description,
)
_INSERTED = (
    "id",
    "account_id",
    "kind",
    "name",
    "name_key",
    "path",
    "created_at",
    "boundary_arn",
    "trust_policy",
    "trust_principals",
    "max_session_seconds",
    "description",
)
_OF_KIND = (_P.account_id == bindparam("the_account"), _P.kind == bindparam("the_kind"))
_IS_THIS = _P.id == bindparam("the_id")

INSERT = Statement(insert(PRINCIPALS), columns=_INSERTED)
FIND = Statement(select(*COLUMNS).where(*_OF_KIND, _P.name_key == bindparam("the_key")))
FIND_BY_ID = Statement(select(*COLUMNS).where(_IS_THIS))
LIST = Statement(
    select(*COLUMNS)
    .where(
        *_OF_KIND,
        _P.name_key > bindparam("after"),
        func.substr(_P.path, 1, bindparam("length", type_=Integer())) == bindparam("prefix", type_=Text()),
    )
    .order_by(_P.name_key)
    .limit(bindparam("count"))
)
LIST_BY_ID = Statement(
    select(*COLUMNS)
    .where(is_one_of(_P.id, "ids"), _P.name_key > bindparam("after"))
    .order_by(_P.name_key)
    .limit(bindparam("count"))
)
COUNT = Statement(select(func.count()).select_from(PRINCIPALS).where(*_OF_KIND))
RENAME = Statement(
    update(PRINCIPALS)
    .where(_IS_THIS)
    .values(name=bindparam("new_name"), name_key=bindparam("new_key"), path=bindparam("new_path"))
)
DELETE = Statement(delete(PRINCIPALS).where(_IS_THIS))


def add(connection: Connection, entity: Entity) -> None:
    """Add an entity. Raises ConstraintViolated where the name is taken."""
    role = entity if isinstance(entity, IamRole) else None
    connection.execute(
        INSERT,
        id=entity.unique_id,
        account_id=entity.account_id,
        kind=entity.kind.value,
        name=entity.name,
        name_key=entity.name.lower(),
        path=entity.path,
        created_at=entity.created_at,
        boundary_arn=entity.boundary_arn,
        trust_policy=role.trust_policy if role else None,
        trust_principals=role.trust_principals if role else None,
        max_session_seconds=role.max_session_seconds if role else None,
        description=role.description if role else None,
    )


def find(connection: Connection, account_id: str, kind: EntityKind, name: str) -> Entity | None:
    """Return the entity of that name in any letter case, or None."""
    row = connection.fetch_one(FIND, the_account=account_id, the_kind=kind.value, the_key=name.lower())
    return None if row is None else entity_of(row)


def find_by_id(connection: Connection, unique_id: str) -> Entity | None:
    """Return the entity with that id, or None."""
    row = connection.fetch_one(FIND_BY_ID, the_id=unique_id)
    return None if row is None else entity_of(row)


def list_after(
    connection: Connection, account_id: str, kind: EntityKind, *, path_prefix: str, after: str, limit: int
) -> list[Entity]:
    """Return entities below a path by name without letter case, those that sort after `after`."""
    rows = connection.fetch_all(
        LIST,
        the_account=account_id,
        the_kind=kind.value,
        after=after,
        length=len(path_prefix),
        prefix=path_prefix,
        count=limit,
    )
    return [entity_of(row) for row in rows]


def list_by_id(connection: Connection, unique_ids: Sequence[str], *, after: str, limit: int) -> list[Entity]:
    """Return some entities of one kind by name without letter case, those that sort after `after`."""
    rows = connection.fetch_all(LIST_BY_ID, ids=as_list(unique_ids), after=after, count=limit)
    return [entity_of(row) for row in rows]


def count(connection: Connection, account_id: str, kind: EntityKind) -> int:
    """Return how many entities of a kind an account has."""
    row = connection.fetch_one(COUNT, the_account=account_id, the_kind=kind.value)
    return 0 if row is None else int(row[0])


def rename(connection: Connection, entity: Entity, *, name: str, path: str) -> None:
    """Give an entity another name or path. Raises ConstraintViolated where the name is taken."""
    connection.execute(RENAME, the_id=entity.unique_id, new_name=name, new_key=name.lower(), new_path=path)


def remove(connection: Connection, entity: Entity) -> None:
    """Remove an entity. Raises ConstraintViolated while members, policies or attachments hang on it."""
    connection.execute(DELETE, the_id=entity.unique_id)


def entity_of(row: Row) -> Entity:
    """Make an entity of COLUMNS."""
    kind = EntityKind(row[2])
    unique_id, account_id, _, name, path, created_at, boundary_arn = row[:7]
    match kind:
        case EntityKind.USER:
            return IamUser(
                kind=kind,
                account_id=account_id,
                unique_id=unique_id,
                name=name,
                path=path,
                created_at=created_at,
                boundary_arn=boundary_arn,
            )
        case EntityKind.GROUP:
            return IamGroup(
                kind=kind,
                account_id=account_id,
                unique_id=unique_id,
                name=name,
                path=path,
                created_at=created_at,
            )
        case EntityKind.ROLE:
            return IamRole(
                kind=kind,
                account_id=account_id,
                unique_id=unique_id,
                name=name,
                path=path,
                created_at=created_at,
                boundary_arn=boundary_arn,
                trust_policy=row[7],
                trust_principals=row[8],
                max_session_seconds=row[9],
                description=row[10],
            )
