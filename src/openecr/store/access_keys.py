"""Access keys. Their secrets are sealed before they come here."""

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, insert, outerjoin, select, update

from openecr.domain.accounts import AccessKey, KeyOwner, KeyStatus, SealedKey
from openecr.domain.registries import RegistryId
from openecr.store import repositories
from openecr.store.connections import Connection, Row
from openecr.store.dialects import as_list, is_one_of
from openecr.store.iam_tables import PRINCIPALS
from openecr.store.principals import Scene, scene_of
from openecr.store.statements import Statement
from openecr.store.tables import ACCESS_KEYS, ACCOUNTS, REPOSITORIES

_K = ACCESS_KEYS.c
_USER = PRINCIPALS.c
_ACCOUNT = ACCOUNTS.alias("account")
_OWNER = ACCOUNTS.alias("owner")
_WITH_USER = outerjoin(ACCESS_KEYS, PRINCIPALS, _USER.id == _K.principal_id).join(
    _ACCOUNT, _ACCOUNT.c.account_id == _K.account_id
)
_COLUMNS = (_K.access_key_id, _K.account_id, _K.principal_id, _K.sealed_secret)
_IS_ACTIVE = _K.status == KeyStatus.ACTIVE.value

INSERT = Statement(
    insert(ACCESS_KEYS),
    columns=("access_key_id", "account_id", "principal_id", "sealed_secret", "status", "created_at"),
)
FIND_ACTIVE = Statement(
    select(*_COLUMNS, _USER.name, _USER.path)
    .select_from(_WITH_USER)
    .where(_K.access_key_id == bindparam("the_id"), _IS_ACTIVE),
    is_shared=True,
)
FIND_ACTIVE_OWNER = Statement(
    select(
        _K.access_key_id,
        _K.account_id,
        _K.principal_id,
        _USER.name,
        _USER.path,
        _ACCOUNT.c.authorization_epoch,
        _OWNER.c.authorization_epoch,
        *repositories.COLUMNS,
    )
    .select_from(
        _WITH_USER.outerjoin(_OWNER, _OWNER.c.account_id == bindparam("the_owner")).outerjoin(
            REPOSITORIES, repositories.is_named(bindparam("registry"), bindparam("name"))
        )
    )
    .where(_K.access_key_id == bindparam("the_id"), _IS_ACTIVE),
    is_shared=True,
)
"""Asked by every request to the registry: whose is this key, if it works, and which repository is meant?"""

LIST_KNOWN = Statement(select(_K.access_key_id).where(is_one_of(_K.access_key_id, "key_ids")))
FIND_NEWEST_ACTIVE = Statement(
    select(*_COLUMNS)
    .where(_K.account_id == bindparam("the_account"), _K.principal_id == bindparam("principal"), _IS_ACTIVE)
    .order_by(_K.created_at.desc(), _K.access_key_id)
    .limit(1)
)
LIST_ACTIVE = Statement(
    select(_K.account_id, _K.access_key_id)
    .where(is_one_of(_K.account_id, "accounts"), _K.principal_id == _K.account_id, _IS_ACTIVE)
    .order_by(_K.account_id, _K.created_at, _K.access_key_id)
)
DELETE_INACTIVE = Statement(
    delete(ACCESS_KEYS).where(
        _K.account_id == bindparam("the_account"),
        _K.principal_id == bindparam("principal"),
        _K.status == KeyStatus.INACTIVE.value,
    )
)
_DESCRIBED = (_K.access_key_id, _K.account_id, _K.principal_id, _K.status, _K.created_at)
_IS_THIS = _K.access_key_id == bindparam("the_id")
FIND = Statement(select(*_DESCRIBED).where(_IS_THIS))
LIST_OF = Statement(
    select(*_DESCRIBED)
    .where(_K.account_id == bindparam("the_account"), _K.principal_id == bindparam("principal"))
    .order_by(_K.created_at, _K.access_key_id)
)
SET_STATUS = Statement(update(ACCESS_KEYS).where(_IS_THIS).values(status=bindparam("new_status")))
REMOVE = Statement(delete(ACCESS_KEYS).where(_IS_THIS))
DEACTIVATE = Statement(
    update(ACCESS_KEYS)
    .where(_K.account_id == bindparam("the_account"), _K.principal_id == bindparam("principal"))
    .values(status=bindparam("new_status"))
)


def add(connection: Connection, key: SealedKey, *, created_at: int) -> None:
    """Add an active key."""
    connection.execute(
        INSERT,
        access_key_id=key.access_key_id,
        account_id=key.account_id,
        principal_id=key.principal_id,
        sealed_secret=key.sealed_secret,
        status=KeyStatus.ACTIVE.value,
        created_at=created_at,
    )


def find_active(connection: Connection, access_key_id: str) -> tuple[SealedKey, KeyOwner] | None:
    """Return a key that works and whose it is, or None."""
    row = connection.fetch_one(FIND_ACTIVE, the_id=access_key_id)
    return None if row is None else (_key(row), _owner([*row[:3], *row[4:]]))


def find_active_owner(
    connection: Connection, access_key_id: str, registry: RegistryId, repository_name: str | None
) -> tuple[KeyOwner, Scene] | None:
    """Return whose a key is that works, both accounts' epochs and the live repository of that name, or None."""
    row = connection.fetch_one(
        FIND_ACTIVE_OWNER,
        the_id=access_key_id,
        the_owner=registry.account_id,
        registry=str(registry),
        name=repository_name,
    )
    return None if row is None else (_owner(row), scene_of(registry, row[5:]))


def find_newest_active(connection: Connection, account_id: str, principal_id: str) -> SealedKey | None:
    """Return the newest key of a principal that works, or None."""
    row = connection.fetch_one(FIND_NEWEST_ACTIVE, the_account=account_id, principal=principal_id)
    return None if row is None else _key(row)


def list_active_roots(connection: Connection, account_ids: list[str]) -> list[tuple[str, str]]:
    """Return (account id, access key id) of the root keys of some accounts that work, oldest first in each."""
    rows = connection.fetch_all(LIST_ACTIVE, accounts=as_list(account_ids))
    return [(str(account_id), str(access_key_id)) for account_id, access_key_id in rows]


def retire(connection: Connection, account_id: str, principal_id: str) -> None:
    """Make a principal's keys inactive, and forget those that were inactive before."""
    connection.execute(DELETE_INACTIVE, the_account=account_id, principal=principal_id)
    connection.execute(
        DEACTIVATE, the_account=account_id, principal=principal_id, new_status=KeyStatus.INACTIVE.value
    )


def find(connection: Connection, access_key_id: str) -> AccessKey | None:
    """Return a key, whether it works or not, or None."""
    row = connection.fetch_one(FIND, the_id=access_key_id)
    return None if row is None else _described(row)


def list_of(connection: Connection, account_id: str, principal_id: str) -> list[AccessKey]:
    """Return every key of a principal, oldest first."""
    rows = connection.fetch_all(LIST_OF, the_account=account_id, principal=principal_id)
    return [_described(row) for row in rows]


def set_status(connection: Connection, access_key_id: str, status: KeyStatus) -> None:
    """Make a key work or not."""
    connection.execute(SET_STATUS, the_id=access_key_id, new_status=status.value)


def remove(connection: Connection, access_key_id: str) -> None:
    """Forget a key."""
    connection.execute(REMOVE, the_id=access_key_id)


def _described(row: Row) -> AccessKey:
    return AccessKey(
        access_key_id=str(row[0]),
        account_id=str(row[1]),
        principal_id=str(row[2]),
        status=KeyStatus(row[3]),
        created_at=int(row[4]),
    )


def _owner(row: Row) -> KeyOwner:
    access_key_id, account_id, principal_id, name, path = row[:5]
    user = None if name is None else (name, path)
    return KeyOwner(access_key_id=access_key_id, account_id=account_id, principal_id=principal_id, user=user)


def _key(row: Row) -> SealedKey:
    return SealedKey(
        access_key_id=str(row[0]),
        account_id=str(row[1]),
        principal_id=str(row[2]),
        sealed_secret=bytes(row[3]),
    )


def list_known(connection: Connection, access_key_ids: Iterable[str]) -> set[str]:
    """Return those ids that a key has, whosever it is and whether it works."""
    return {str(row[0]) for row in connection.fetch_all(LIST_KNOWN, key_ids=as_list(access_key_ids))}
