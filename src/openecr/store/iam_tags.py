"""Tags of users, roles, managed policies and OIDC providers."""

from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_replace, is_one_of
from openecr.store.iam_tables import IAM_TAGS
from openecr.store.statements import Statement

_T = IAM_TAGS.c
PUT = insert_or_replace(
    IAM_TAGS,
    conflict=("entity_id", "key_key"),
    columns=("entity_id", "key_key", "key", "value"),
    replace=("key", "value"),
)
LIST = Statement(select(_T.key, _T.value).where(_T.entity_id == bindparam("the_id")).order_by(_T.key_key))
REMOVE = Statement(delete(IAM_TAGS).where(_T.entity_id == bindparam("the_id"), is_one_of(_T.key_key, "keys")))
REMOVE_ALL = Statement(delete(IAM_TAGS).where(_T.entity_id == bindparam("the_id")))


def put(connection: Connection, entity_id: str, tags: Mapping[str, str]) -> None:
    """Set tags; a key that differs by letter case alone is replaced."""
    for key, value in tags.items():
        connection.execute(PUT, entity_id=entity_id, key_key=key.lower(), key=key, value=value)


def list_of(connection: Connection, entity_id: str) -> dict[str, str]:
    """Return every tag by key, in the order of keys without letter case."""
    return {str(key): str(value) for key, value in connection.fetch_all(LIST, the_id=entity_id)}


def remove(connection: Connection, entity_id: str, keys: Iterable[str]) -> None:
    """Remove tags by key in any letter case; unknown keys are fine."""
    connection.execute(REMOVE, the_id=entity_id, keys=as_list(key.lower() for key in keys))


def remove_all(connection: Connection, entity_id: str) -> None:
    """Remove every tag of an entity that goes."""
    connection.execute(REMOVE_ALL, the_id=entity_id)
