"""Tags of keys."""

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, delete, select

from openecr.store.connections import Connection
from openecr.store.dialects import as_list, insert_or_replace, is_one_of
from openecr.store.kms_tables import KMS_KEY_TAGS
from openecr.store.statements import Statement

_T = KMS_KEY_TAGS.c
_OF_KEY = _T.key_id == bindparam("the_key")

LIST = Statement(select(_T.key, _T.value).where(_OF_KEY).order_by(_T.key))
PUT = insert_or_replace(
    KMS_KEY_TAGS, conflict=("key_id", "key"), columns=("key_id", "key", "value"), replace=("value",)
)
REMOVE = Statement(delete(KMS_KEY_TAGS).where(_OF_KEY, is_one_of(_T.key, "tag_keys")))
REMOVE_ALL = Statement(delete(KMS_KEY_TAGS).where(_OF_KEY))


def list_of(connection: Connection, key_id: str) -> dict[str, str]:
    """Return a key's tags by their key; there are few."""
    return {str(key): str(value) for key, value in connection.fetch_all(LIST, the_key=key_id)}


def put(connection: Connection, key_id: str, tags: Mapping[str, str]) -> None:
    """Add tags, replacing those of the same key."""
    for key, value in tags.items():
        connection.execute(PUT, key_id=key_id, key=key, value=value)


def remove(connection: Connection, key_id: str, keys: Sequence[str]) -> None:
    """Remove tags; keys that are not there are fine."""
    connection.execute(REMOVE, the_key=key_id, tag_keys=as_list(keys))


def remove_all(connection: Connection, key_id: str) -> None:
    """Remove every tag of a key."""
    connection.execute(REMOVE_ALL, the_key=key_id)
