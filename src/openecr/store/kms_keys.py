"""Keys of KMS."""

import json
from collections.abc import Mapping

from sqlalchemy import bindparam, delete, func, insert, select, update

from openecr.domain.kms import KeyManager, KeyState, KmsKey
from openecr.domain.registries import RegistryId
from openecr.store.connections import Connection, Row
from openecr.store.kms_tables import KMS_KEYS
from openecr.store.statements import Statement

_K = KMS_KEYS.c
COLUMNS = (
    _K.key_id,
    _K.registry_id,
    _K.description,
    _K.state,
    _K.manager,
    _K.created_at,
    _K.policy,
    _K.policy_principals,
    _K.material_id,
    _K.deletion_at,
    _K.rotation_period_days,
    _K.next_rotation_at,
)
_IS_THIS = _K.key_id == bindparam("the_id")

ADD = Statement(
    insert(KMS_KEYS),
    columns=(
        "key_id",
        "registry_id",
        "description",
        "state",
        "manager",
        "created_at",
        "policy",
        "policy_principals",
        "material_id",
    ),
)
FIND = Statement(select(*COLUMNS).where(_IS_THIS), is_shared=True)
LIST = Statement(
    select(_K.key_id)
    .where(_K.registry_id == bindparam("registry"), _K.key_id > bindparam("after"))
    .order_by(_K.key_id)
    .limit(bindparam("count"))
)
COUNT = Statement(
    select(func.count())
    .select_from(KMS_KEYS)
    .where(_K.registry_id == bindparam("registry"), _K.manager == KeyManager.CUSTOMER.value)
)
SET_STATE = Statement(
    update(KMS_KEYS)
    .where(_IS_THIS)
    .values(state=bindparam("new_state"), deletion_at=bindparam("new_deletion_at"))
)
SET_DESCRIPTION = Statement(update(KMS_KEYS).where(_IS_THIS).values(description=bindparam("new_description")))
SET_POLICY = Statement(
    update(KMS_KEYS)
    .where(_IS_THIS)
    .values(policy=bindparam("new_policy"), policy_principals=bindparam("new_principals"))
)
SET_ROTATION = Statement(
    update(KMS_KEYS)
    .where(_IS_THIS)
    .values(rotation_period_days=bindparam("new_period"), next_rotation_at=bindparam("new_next_at"))
)
SET_MATERIAL = Statement(update(KMS_KEYS).where(_IS_THIS).values(material_id=bindparam("new_material")))
REMOVE = Statement(delete(KMS_KEYS).where(_IS_THIS))
LIST_TO_DELETE = Statement(
    select(_K.key_id)
    .where(_K.deletion_at <= bindparam("until"))
    .order_by(_K.deletion_at)
    .limit(bindparam("count"))
)
LIST_TO_ROTATE = Statement(
    select(_K.key_id)
    .where(_K.next_rotation_at <= bindparam("until"), _K.state == KeyState.ENABLED.value)
    .order_by(_K.next_rotation_at)
    .limit(bindparam("count"))
)


def add(connection: Connection, key: KmsKey) -> None:
    """Add a key, whose first material is added beside."""
    connection.execute(
        ADD,
        key_id=key.key_id,
        registry_id=str(key.registry),
        description=key.description,
        state=key.state.value,
        manager=key.manager.value,
        created_at=key.created_at,
        policy=key.policy,
        policy_principals=json.dumps(dict(key.policy_principals)),
        material_id=key.material_id,
    )


def find(connection: Connection, key_id: str) -> KmsKey | None:
    """Return a key, or None."""
    row = connection.fetch_one(FIND, the_id=key_id)
    return None if row is None else from_row(row)


def list_after(connection: Connection, registry: RegistryId, *, after: str, limit: int) -> list[str]:
    """Return ids of keys that sort after `after`."""
    rows = connection.fetch_all(LIST, registry=str(registry), after=after, count=limit)
    return [str(key_id) for (key_id,) in rows]


def count(connection: Connection, registry: RegistryId) -> int:
    """Return how many keys of its own an account has in a region."""
    row = connection.fetch_one(COUNT, registry=str(registry))
    return 0 if row is None else int(row[0])


def set_state(
    connection: Connection, key_id: str, state: KeyState, *, deletion_at: int | None = None
) -> None:
    """Enable, disable, or let a key wait for its end."""
    connection.execute(SET_STATE, the_id=key_id, new_state=state.value, new_deletion_at=deletion_at)


def set_description(connection: Connection, key_id: str, description: str) -> None:
    """Describe a key anew."""
    connection.execute(SET_DESCRIPTION, the_id=key_id, new_description=description)


def set_policy(
    connection: Connection, key_id: str, policy: str, principals: Mapping[str, str | None]
) -> None:
    """Replace a key's policy."""
    connection.execute(
        SET_POLICY, the_id=key_id, new_policy=policy, new_principals=json.dumps(dict(principals))
    )


def set_rotation(
    connection: Connection, key_id: str, *, period_days: int | None, next_at: int | None
) -> None:
    """Say how often a key's material is rotated by itself, and when next; None: never."""
    connection.execute(SET_ROTATION, the_id=key_id, new_period=period_days, new_next_at=next_at)


def set_material(connection: Connection, key_id: str, material_id: str) -> None:
    """Let another material encrypt."""
    connection.execute(SET_MATERIAL, the_id=key_id, new_material=material_id)


def remove(connection: Connection, key_id: str) -> None:
    """Remove a key on which nothing hangs any more."""
    connection.execute(REMOVE, the_id=key_id)


def list_to_delete(connection: Connection, *, until: int, limit: int) -> list[str]:
    """Return ids of keys whose time to be deleted has come."""
    return [str(key_id) for (key_id,) in connection.fetch_all(LIST_TO_DELETE, until=until, count=limit)]


def list_to_rotate(connection: Connection, *, until: int, limit: int) -> list[str]:
    """Return ids of enabled keys whose time to be rotated has come."""
    return [str(key_id) for (key_id,) in connection.fetch_all(LIST_TO_ROTATE, until=until, count=limit)]


def from_row(row: Row) -> KmsKey:
    """Return the key whose COLUMNS these are."""
    return KmsKey(
        key_id=row[0],
        registry=RegistryId.parse(row[1]),
        description=row[2],
        state=KeyState(row[3]),
        manager=KeyManager(row[4]),
        created_at=row[5],
        policy=row[6],
        policy_principals=json.loads(row[7]),
        material_id=row[8],
        deletion_at=row[9],
        rotation_period_days=row[10],
        next_rotation_at=row[11],
    )
