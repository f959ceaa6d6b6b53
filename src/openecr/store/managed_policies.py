"""Managed policies of accounts and their versions. AWS's own are no rows."""

from sqlalchemy import Integer, Text, bindparam, delete, func, insert, select, update

from openecr.domain.managed_policies import ManagedPolicy, PolicyVersion
from openecr.store.connections import Connection, Row
from openecr.store.iam_tables import MANAGED_POLICIES, POLICY_VERSIONS
from openecr.store.statements import Statement

_M, _V = MANAGED_POLICIES.c, POLICY_VERSIONS.c
_COLUMNS = (
    _M.id,
    _M.account_id,
    _M.name,
    _M.path,
    _M.arn,
    _M.description,
    _M.created_at,
    _M.updated_at,
    _M.default_version,
    _M.newest_version,
)
_OF_ACCOUNT = _M.account_id == bindparam("the_account")
_IS_THIS = _M.id == bindparam("the_id")
_OF_POLICY = _V.policy_id == bindparam("the_id")
_IS_VERSION = _V.version == bindparam("number")

ADD = Statement(
    insert(MANAGED_POLICIES),
    columns=(
        "id",
        "account_id",
        "name",
        "name_key",
        "path",
        "arn",
        "description",
        "created_at",
        "updated_at",
        "default_version",
        "newest_version",
    ),
)
FIND = Statement(select(*_COLUMNS).where(_OF_ACCOUNT, _M.arn == bindparam("the_arn")))
FIND_NAMED = Statement(select(*_COLUMNS).where(_OF_ACCOUNT, _M.name_key == bindparam("the_key")))
LIST = Statement(
    select(*_COLUMNS)
    .where(
        _OF_ACCOUNT,
        _M.name_key > bindparam("after"),
        func.substr(_M.path, 1, bindparam("length", type_=Integer())) == bindparam("prefix", type_=Text()),
    )
    .order_by(_M.name_key)
    .limit(bindparam("count"))
)
COUNT = Statement(select(func.count()).select_from(MANAGED_POLICIES).where(_OF_ACCOUNT))
CHANGE = Statement(
    update(MANAGED_POLICIES)
    .where(_IS_THIS)
    .values(
        default_version=bindparam("new_default"),
        newest_version=bindparam("new_newest"),
        updated_at=bindparam("new_updated_at"),
    )
)
REMOVE = Statement(delete(MANAGED_POLICIES).where(_IS_THIS))
ADD_VERSION = Statement(insert(POLICY_VERSIONS), columns=("policy_id", "version", "document", "created_at"))
FIND_VERSION = Statement(select(_V.version, _V.document, _V.created_at).where(_OF_POLICY, _IS_VERSION))
LIST_VERSIONS = Statement(
    select(_V.version, _V.document, _V.created_at).where(_OF_POLICY).order_by(_V.version.desc())
)
REMOVE_VERSION = Statement(delete(POLICY_VERSIONS).where(_OF_POLICY, _IS_VERSION))


def add(connection: Connection, policy: ManagedPolicy, document: str) -> None:
    """Add a policy with its first version. Raises ConstraintViolated where the name is taken."""
    connection.execute(
        ADD,
        id=policy.unique_id,
        account_id=policy.account_id,
        name=policy.name,
        name_key=policy.name.lower(),
        path=policy.path,
        arn=policy.arn,
        description=policy.description,
        created_at=policy.created_at,
        updated_at=policy.updated_at,
        default_version=policy.default_version,
        newest_version=policy.newest_version,
    )
    add_version(connection, policy, policy.newest_version, document, created_at=policy.created_at)


def find(connection: Connection, account_id: str, arn: str) -> ManagedPolicy | None:
    """Return the account's policy of that ARN, or None."""
    row = connection.fetch_one(FIND, the_account=account_id, the_arn=arn)
    return None if row is None else _policy(row)


def find_named(connection: Connection, account_id: str, name: str) -> ManagedPolicy | None:
    """Return the account's policy of that name in any letter case, or None."""
    row = connection.fetch_one(FIND_NAMED, the_account=account_id, the_key=name.lower())
    return None if row is None else _policy(row)


def list_after(
    connection: Connection, account_id: str, *, path_prefix: str, after: str, limit: int
) -> list[ManagedPolicy]:
    """Return policies below a path by name without letter case, those that sort after `after`."""
    rows = connection.fetch_all(
        LIST,
        the_account=account_id,
        after=after,
        length=len(path_prefix),
        prefix=path_prefix,
        count=limit,
    )
    return [_policy(row) for row in rows]


def count(connection: Connection, account_id: str) -> int:
    """Return how many policies an account has."""
    row = connection.fetch_one(COUNT, the_account=account_id)
    return 0 if row is None else int(row[0])


def change(
    connection: Connection,
    policy: ManagedPolicy,
    *,
    default_version: int,
    newest_version: int,
    updated_at: int,
) -> None:
    """Note which versions are the default and the newest one."""
    connection.execute(
        CHANGE,
        the_id=policy.unique_id,
        new_default=default_version,
        new_newest=newest_version,
        new_updated_at=updated_at,
    )


def remove(connection: Connection, policy: ManagedPolicy) -> None:
    """Remove a policy with its versions."""
    connection.execute(REMOVE, the_id=policy.unique_id)


def add_version(
    connection: Connection, policy: ManagedPolicy, number: int, document: str, *, created_at: int
) -> None:
    """Add a version."""
    connection.execute(
        ADD_VERSION, policy_id=policy.unique_id, version=number, document=document, created_at=created_at
    )


def find_version(connection: Connection, policy: ManagedPolicy, number: int) -> PolicyVersion | None:
    """Return a version, or None."""
    row = connection.fetch_one(FIND_VERSION, the_id=policy.unique_id, number=number)
    return None if row is None else _version(policy, row)


def list_versions(connection: Connection, policy: ManagedPolicy) -> list[PolicyVersion]:
    """Return all versions, the newest first; there are few."""
    return [_version(policy, row) for row in connection.fetch_all(LIST_VERSIONS, the_id=policy.unique_id)]


def remove_version(connection: Connection, policy: ManagedPolicy, number: int) -> bool:
    """Remove a version; tell whether it was there."""
    return connection.execute(REMOVE_VERSION, the_id=policy.unique_id, number=number) == 1


def _policy(row: Row) -> ManagedPolicy:
    unique_id, account_id, name, path, arn, description, created_at, updated_at, default, newest = row
    return ManagedPolicy(
        unique_id=unique_id,
        account_id=account_id,
        name=name,
        path=path,
        arn=arn,
        description=description,
        created_at=created_at,
        updated_at=updated_at,
        default_version=default,
        newest_version=newest,
    )


def _version(policy: ManagedPolicy, row: Row) -> PolicyVersion:
    number, document, created_at = row
    return PolicyVersion(
        number=number,
        document=document,
        created_at=created_at,
        is_default=number == policy.default_version,
    )
