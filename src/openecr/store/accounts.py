"""Accounts."""

from sqlalchemy import bindparam, case, select, update

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_ignore, now_microseconds
from openecr.store.statements import Statement
from openecr.store.tables import ACCOUNTS

_A = ACCOUNTS.c
INSERT = insert_or_ignore(ACCOUNTS, conflict=("account_id",), columns=("account_id", "created_at"))
FIND = Statement(select(_A.created_at).where(_A.account_id == bindparam("the_id")))
LIST = Statement(
    select(_A.account_id, _A.created_at)
    .where(_A.account_id > bindparam("after"))
    .order_by(_A.account_id)
    .limit(bindparam("count"))
)
RAISE_EPOCH = Statement(
    update(ACCOUNTS)
    .where(_A.account_id == bindparam("the_id"))
    .values(
        authorization_epoch=case(
            (_A.authorization_epoch < now_microseconds(), now_microseconds()),
            else_=_A.authorization_epoch + 1,
        )
    )
)
FIND_EPOCH = Statement(select(_A.authorization_epoch).where(_A.account_id == bindparam("the_id")))


def add(connection: Connection, account_id: str, *, created_at: int) -> bool:
    """Add an account; tell whether it was not there before."""
    return connection.execute(INSERT, account_id=account_id, created_at=created_at) == 1


def exists(connection: Connection, account_id: str) -> bool:
    """Tell whether the server has an account."""
    return connection.fetch_one(FIND, the_id=account_id) is not None


def find_created_at(connection: Connection, account_id: str) -> int | None:
    """Return when an account was made, or None without such an account."""
    row = connection.fetch_one(FIND, the_id=account_id)
    return None if row is None else int(row[0])


def list_after(connection: Connection, after: str, *, count: int) -> list[tuple[str, int]]:
    """Return up to `count` ids, with the instants of creation, that sort after `after`."""
    rows = connection.fetch_all(LIST, after=after, count=count)
    return [(str(account_id), int(created_at)) for account_id, created_at in rows]


def raise_epoch(connection: Connection, account_id: str) -> None:
    """Tell every cache that keys, principals or policies of the account changed.

    The number is never one that was there before, also where a database has lost its last changes since: a backup was
    put back, or a standby took over that was behind. So it goes with the database's clock, and never backwards.
    """
    connection.execute(RAISE_EPOCH, the_id=account_id)


def find_epoch(connection: Connection, account_id: str) -> int | None:
    """Return the version that validates what is cached about an account, or None without such an account."""
    row = connection.fetch_one(FIND_EPOCH, the_id=account_id)
    return None if row is None else int(row[0])
