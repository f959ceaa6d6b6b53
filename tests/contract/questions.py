"""Simple questions to a database, over the simplest table, for tests of databases themselves."""

from collections.abc import Awaitable, Callable

from sqlalchemy import bindparam, delete, insert, select, update

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_ignore, insert_or_replace, is_one_of
from openecr.store.statements import Statement
from openecr.store.tables import SERVER_STATE

_S = SERVER_STATE.c
ADD = Statement(insert(SERVER_STATE), columns=("name", "value"))
ADD_IF_NEW = insert_or_ignore(SERVER_STATE, conflict=("name",), columns=("name", "value"))
PUT = insert_or_replace(SERVER_STATE, conflict=("name",), columns=("name", "value"), replace=("value",))
FIND = Statement(select(_S.value).where(_S.name == bindparam("the_name")))
LIST = Statement(select(_S.name).order_by(_S.name))
LIST_AFTER = Statement(select(_S.name).where(_S.name > bindparam("after")).order_by(_S.name))
LIST_NAMED = Statement(select(_S.name).where(is_one_of(_S.name, "names")).order_by(_S.name))
SET = Statement(
    update(SERVER_STATE).where(_S.name == bindparam("the_name")).values(value=bindparam("new_value"))
)
REMOVE = Statement(delete(SERVER_STATE).where(_S.name == bindparam("the_name")))


Meanwhile = Callable[[Callable[[], Awaitable[object]]], None]
"""Runs something else to its end in the middle of a synchronous unit."""


def value_of(name: str) -> Callable[[Connection], str | None]:
    def work(connection: Connection) -> str | None:
        row = connection.fetch_one(FIND, the_name=name)
        return None if row is None else str(row[0])

    return work


def adding(name: str, value: str = "1") -> Callable[[Connection], int]:
    return lambda connection: connection.execute(ADD, name=name, value=value)


def names(connection: Connection) -> list[str]:
    return [row[0] for row in connection.fetch_all(LIST)]
