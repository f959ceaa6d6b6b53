"""How much of IAM an account has."""

from sqlalchemy import BindParameter, bindparam, func, select

from openecr.domain.accounts import KeyStatus
from openecr.domain.iam import EntityKind
from openecr.store.connections import Connection
from openecr.store.iam_tables import ATTACHMENTS, MANAGED_POLICIES, OIDC_PROVIDERS, PRINCIPALS
from openecr.store.statements import Statement
from openecr.store.tables import ACCESS_KEYS

_ACCOUNT: BindParameter[str] = bindparam("the_account")
ENTITIES = Statement(
    select(PRINCIPALS.c.kind, func.count())
    .where(PRINCIPALS.c.account_id == _ACCOUNT)
    .group_by(PRINCIPALS.c.kind)
)
MANAGED = Statement(
    select(func.count()).select_from(MANAGED_POLICIES).where(MANAGED_POLICIES.c.account_id == _ACCOUNT)
)
PROVIDERS = Statement(
    select(func.count()).select_from(OIDC_PROVIDERS).where(OIDC_PROVIDERS.c.account_id == _ACCOUNT)
)
ATTACHED = Statement(
    select(func.count(ATTACHMENTS.c.policy_arn.distinct()))
    .join_from(ATTACHMENTS, PRINCIPALS, PRINCIPALS.c.id == ATTACHMENTS.c.principal_id)
    .where(PRINCIPALS.c.account_id == _ACCOUNT)
)
ROOT_KEYS = Statement(
    select(func.count())
    .select_from(ACCESS_KEYS)
    .where(
        ACCESS_KEYS.c.account_id == _ACCOUNT,
        ACCESS_KEYS.c.principal_id == _ACCOUNT,
        ACCESS_KEYS.c.status == KeyStatus.ACTIVE.value,
    )
)


def entities(connection: Connection, account_id: str) -> dict[EntityKind, int]:
    """Return how many users, groups and roles an account has; a kind that it has none of is left out."""
    rows = connection.fetch_all(ENTITIES, the_account=account_id)
    return {EntityKind(kind): int(number) for kind, number in rows}


def managed_policies(connection: Connection, account_id: str) -> int:
    """Return how many managed policies of its own an account has."""
    return _only(connection, MANAGED, account_id)


def attached_policies(connection: Connection, account_id: str) -> int:
    """Return how many managed policies are attached to anything of an account."""
    return _only(connection, ATTACHED, account_id)


def providers(connection: Connection, account_id: str) -> int:
    """Return how many OIDC providers an account has."""
    return _only(connection, PROVIDERS, account_id)


def root_keys(connection: Connection, account_id: str) -> int:
    """Return how many keys of the root work."""
    return _only(connection, ROOT_KEYS, account_id)


def _only(connection: Connection, statement: Statement, account_id: str) -> int:
    row = connection.fetch_one(statement, the_account=account_id)
    return 0 if row is None else int(row[0])
