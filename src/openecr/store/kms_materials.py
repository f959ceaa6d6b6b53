"""Materials of keys, sealed before they come here."""

from sqlalchemy import bindparam, delete, func, insert, select

from openecr.domain.kms import KeyMaterial, RotationType
from openecr.store.connections import Connection, Row
from openecr.store.kms_tables import KMS_MATERIALS
from openecr.store.statements import Statement

_M = KMS_MATERIALS.c
_COLUMNS = (_M.material_id, _M.number, _M.sealed, _M.created_at, _M.rotation)
_OF_KEY = _M.key_id == bindparam("the_key")

ADD = Statement(
    insert(KMS_MATERIALS), columns=("key_id", "material_id", "number", "sealed", "created_at", "rotation")
)
FIND = Statement(
    select(*_COLUMNS).where(_OF_KEY, _M.material_id == bindparam("the_material")), is_shared=True
)
LIST = Statement(
    select(*_COLUMNS)
    .where(_OF_KEY, _M.number > bindparam("after"))
    .order_by(_M.number)
    .limit(bindparam("count"))
)
NEWEST = Statement(select(func.max(_M.number)).where(_OF_KEY))
COUNT_ON_DEMAND = Statement(
    select(func.count())
    .select_from(KMS_MATERIALS)
    .where(_OF_KEY, _M.rotation == RotationType.ON_DEMAND.value)
)
REMOVE_ALL = Statement(delete(KMS_MATERIALS).where(_OF_KEY))


def add(connection: Connection, key_id: str, material: KeyMaterial) -> None:
    """Add a material. Raises ConstraintViolated where another one has its number."""
    connection.execute(
        ADD,
        key_id=key_id,
        material_id=material.material_id,
        number=material.number,
        sealed=material.sealed,
        created_at=material.created_at,
        rotation=None if material.rotation is None else material.rotation.value,
    )


def find(connection: Connection, key_id: str, material_id: str) -> KeyMaterial | None:
    """Return a key's material, or None."""
    row = connection.fetch_one(FIND, the_key=key_id, the_material=material_id)
    return None if row is None else _material(row)


def list_after(connection: Connection, key_id: str, *, after: int, limit: int) -> list[KeyMaterial]:
    """Return a key's materials by number, from the first after `after`."""
    rows = connection.fetch_all(LIST, the_key=key_id, after=after, count=limit)
    return [_material(row) for row in rows]


def newest_number(connection: Connection, key_id: str) -> int:
    """Return the number of the newest material."""
    row = connection.fetch_one(NEWEST, the_key=key_id)
    return 0 if row is None or row[0] is None else int(row[0])


def count_on_demand(connection: Connection, key_id: str) -> int:
    """Return how often a key was rotated on demand."""
    row = connection.fetch_one(COUNT_ON_DEMAND, the_key=key_id)
    return 0 if row is None else int(row[0])


def remove_all(connection: Connection, key_id: str) -> None:
    """Destroy a key's materials: what they encrypted is lost."""
    connection.execute(REMOVE_ALL, the_key=key_id)


def _material(row: Row) -> KeyMaterial:
    material_id, number, sealed, created_at, rotation = row
    return KeyMaterial(
        material_id=material_id,
        number=number,
        sealed=bytes(sealed),
        created_at=created_at,
        rotation=None if rotation is None else RotationType(rotation),
    )
