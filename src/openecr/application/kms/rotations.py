"""Rotation: a key gets new material, which encrypts from then on; what the old ones encrypted stays readable."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from openecr.application.audit import audited
from openecr.application.key_names import require_key
from openecr.application.kms.keys import DAY
from openecr.application.kms.materials import Materials
from openecr.application.kms.states import check_usable
from openecr.application.limits import Limits
from openecr.domain.decisions import Grant
from openecr.domain.kms import KeyMaterial, KmsKey, RotationType
from openecr.domain.kms_errors import InvalidMarker, KmsLimitExceeded
from openecr.domain.pages import Page, PageRequest, cut_page
from openecr.ports.clock import Clock
from openecr.store import kms_keys, kms_materials
from openecr.store.connections import Connection, ConstraintViolated
from openecr.store.database import Database

USUAL_PERIOD_DAYS = 365
_BATCH = 100
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
"""Numbers of materials as markers tell them: a longer one is none, and no number that a database takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotations:
    """A page of a key's materials, and the key, whose `material_id` is the one that encrypts."""

    key: KmsKey
    page: Page[KeyMaterial]


class KeyRotations:
    """The use cases of rotation, and the step that rotates by itself."""

    def __init__(self, *, database: Database, materials: Materials, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._materials = materials
        self._clock = clock
        self._limits = limits

    async def enable(self, grant: Grant, period_days: int | None) -> None:
        """Rotate every so many days, the first time so many from now (KMS API: EnableKeyRotation).

        Raises KmsNotFound, KeyDisabled, KmsInvalidState.
        """
        days = period_days or USUAL_PERIOD_DAYS
        next_at = self._clock.now() + days * DAY

        def unit(connection: Connection) -> None:
            key = require_key(connection, grant)
            check_usable(key)
            kms_keys.set_rotation(connection, key.key_id, period_days=days, next_at=next_at)

        await self._database.write(audited(grant, unit))

    async def disable(self, grant: Grant) -> None:
        """Rotate no more by itself. Raises KmsNotFound, KeyDisabled, KmsInvalidState."""

        def unit(connection: Connection) -> None:
            key = require_key(connection, grant)
            check_usable(key)
            kms_keys.set_rotation(connection, key.key_id, period_days=None, next_at=None)

        await self._database.write(audited(grant, unit))

    async def rotate(self, grant: Grant) -> KmsKey:
        """Rotate now. Raises KmsNotFound, KeyDisabled, KmsInvalidState, KmsLimitExceeded."""
        key = await self._database.read(lambda connection: require_key(connection, grant))
        draw = self._drawing(key, RotationType.ON_DEMAND)

        def unit(connection: Connection) -> KmsKey:
            current = require_key(connection, grant)
            check_usable(current)
            count = kms_materials.count_on_demand(connection, key.key_id)
            if count >= self._limits.kms_on_demand_rotations:
                raise KmsLimitExceeded(
                    message=f"{key.arn} was rotated on demand as often as a key may be: {count} times"
                )
            _add(connection, current, draw(kms_materials.newest_number(connection, key.key_id) + 1))
            return current

        return await self._database.write(audited(grant, unit))

    async def list(self, grant: Grant, page: PageRequest, *, with_first: bool) -> Rotations:
        """Return a page of the materials that rotations made, and with the first one.

        Raises KmsNotFound, InvalidMarker.
        """
        if page.after is not None and _NUMBER.fullmatch(page.after) is None:
            raise InvalidMarker
        after = int(page.after or 0)

        def scan(connection: Connection) -> Rotations:
            key = require_key(connection, grant)
            least = after if with_first else max(after, 1)
            found = kms_materials.list_after(connection, key.key_id, after=least, limit=page.limit + 1)
            return Rotations(key=key, page=cut_page(found, page.limit, lambda each: str(each.number)))

        return await self._database.scan(scan)

    async def rotate_due(self) -> int:
        """Rotate the keys whose time has come, a bounded number at a time; return how many. A step of a job."""
        now = self._clock.now()
        due = await self._database.scan(
            lambda connection: kms_keys.list_to_rotate(connection, until=now, limit=_BATCH)
        )
        rotated = 0
        for key_id in due:
            rotated += await self._rotate_one(key_id, now)
        return rotated

    async def _rotate_one(self, key_id: str, now: int) -> bool:
        key = await self._database.read(lambda connection: kms_keys.find(connection, key_id))
        if key is None:
            return False
        draw = self._drawing(key, RotationType.AUTOMATIC)

        def unit(connection: Connection) -> bool:
            current = kms_keys.find(connection, key_id)
            if current is None or current.next_rotation_at is None or current.next_rotation_at > now:
                return False
            _add(connection, current, draw(kms_materials.newest_number(connection, key_id) + 1))
            days = current.rotation_period_days or USUAL_PERIOD_DAYS
            kms_keys.set_rotation(connection, key_id, period_days=days, next_at=now + days * DAY)
            return True

        try:
            return await self._database.write(unit)
        except ConstraintViolated:
            return False  # another process has just done it

    def _drawing(self, key: KmsKey, rotation: RotationType) -> Callable[[int], KeyMaterial]:
        """Draw a material before the unit, whose number only the unit knows."""
        drawn = self._materials.draw(
            key.registry, key.key_id, number=0, created_at=self._clock.now(), rotation=rotation
        )

        def numbered(number: int) -> KeyMaterial:
            return KeyMaterial(
                material_id=drawn.material_id,
                number=number,
                sealed=drawn.sealed,
                created_at=drawn.created_at,
                rotation=rotation,
            )

        return numbered


def _add(connection: Connection, key: KmsKey, material: KeyMaterial) -> None:
    kms_materials.add(connection, key.key_id, material)
    kms_keys.set_material(connection, key.key_id, material.material_id)
