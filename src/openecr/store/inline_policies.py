"""Inline policies of users, groups and roles: documents as they were given."""

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import insert_or_replace
from openecr.store.iam_tables import INLINE_POLICIES
from openecr.store.statements import Statement

_I = INLINE_POLICIES.c
_IS_OWNERS = _I.principal_id == bindparam("owner")
PUT = insert_or_replace(
    INLINE_POLICIES,
    conflict=("principal_id", "name"),
    columns=("principal_id", "name", "document"),
    replace=("document",),
)
FIND = Statement(select(_I.document).where(_IS_OWNERS, _I.name == bindparam("the_name")))
LIST = Statement(
    select(_I.name, _I.document)
    .where(_IS_OWNERS, _I.name > bindparam("after"))
    .order_by(_I.name)
    .limit(bindparam("count"))
)
LIST_ALL = Statement(select(_I.name, _I.document).where(_IS_OWNERS).order_by(_I.name))
REMOVE = Statement(delete(INLINE_POLICIES).where(_IS_OWNERS, _I.name == bindparam("the_name")))
FIND_ANY = Statement(select(_I.name).where(_IS_OWNERS).limit(1))


def put(connection: Connection, principal_id: str, name: str, document: str) -> None:
    """Add a policy, or replace the one of that name."""
    connection.execute(PUT, principal_id=principal_id, name=name, document=document)


def find(connection: Connection, principal_id: str, name: str) -> str | None:
    """Return the document of a policy, or None."""
    row = connection.fetch_one(FIND, owner=principal_id, the_name=name)
    return None if row is None else str(row[0])


def list_after(connection: Connection, principal_id: str, *, after: str, limit: int) -> list[str]:
    """Return names of policies, those that sort after `after`."""
    rows = connection.fetch_all(LIST, owner=principal_id, after=after, count=limit)
    return [str(name) for name, _ in rows]


def list_all(connection: Connection, principal_id: str) -> dict[str, str]:
    """Return every document by name; their total size is bounded."""
    return {str(name): str(document) for name, document in connection.fetch_all(LIST_ALL, owner=principal_id)}


def has_any(connection: Connection, principal_id: str) -> bool:
    """Tell whether an entity has any inline policy."""
    return connection.fetch_one(FIND_ANY, owner=principal_id) is not None


def remove(connection: Connection, principal_id: str, name: str) -> bool:
    """Remove a policy; tell whether it was there."""
    return connection.execute(REMOVE, owner=principal_id, the_name=name) == 1
