"""Key materials: drawn, sealed by the key ring, and opened for as long as one use takes."""

from openecr.domain.errors import Unavailable
from openecr.domain.kms import MATERIAL_BYTES, MATERIAL_ID_BYTES, KeyMaterial, KmsKey, RotationType
from openecr.domain.registries import RegistryId
from openecr.ports.ids import Ids
from openecr.ports.keys import ServerKeyRing
from openecr.store import kms_materials
from openecr.store.connections import Connection

PURPOSE = "kms-material"


class Materials:
    """Makes and opens materials."""

    def __init__(self, *, keys: ServerKeyRing, ids: Ids) -> None:
        self._keys = keys
        self._ids = ids

    def check_open(self) -> None:
        """Ask before anything is used that a material opened earlier. Raises Unavailable."""
        self._keys.check_open()

    def draw(
        self,
        registry: RegistryId,
        key_id: str,
        *,
        number: int,
        created_at: int,
        rotation: RotationType | None = None,
    ) -> KeyMaterial:
        """Draw a new material. Outside of a unit of work, which may run twice. Raises Unavailable."""
        material_id = self._ids.token(MATERIAL_ID_BYTES).hex()
        return KeyMaterial(
            material_id=material_id,
            number=number,
            sealed=self._keys.seal(
                PURPOSE,
                self._ids.token(MATERIAL_BYTES),
                associated=associated_data(registry, key_id, material_id),
            ),
            created_at=created_at,
            rotation=rotation,
        )

    def open(self, connection: Connection, key: KmsKey, material_id: str) -> bytes | None:
        """Return a key's material, or None where it has no such one. Raises Unavailable."""
        found = kms_materials.find(connection, key.key_id, material_id)
        if found is None:
            return None
        associated = associated_data(key.registry, key.key_id, material_id)
        try:
            return self._keys.unseal(PURPOSE, found.sealed, associated=associated)
        except ValueError as error:
            raise Unavailable(
                message="The key's material cannot be opened.",
                context=f"{key.arn}, material {material_id}: not sealed by this key ring",
            ) from error

    def open_current(self, connection: Connection, key: KmsKey) -> bytes:
        """Return the material that encrypts. Raises Unavailable."""
        material = self.open(connection, key, key.material_id)
        if material is None:
            raise Unavailable(message="The key's material is missing.", context=key.arn)
        return material


def associated_data(registry: RegistryId, key_id: str, material_id: str) -> bytes:
    """Return what a sealed material is bound to: table, account, region and ids."""
    return f"kms_materials/{registry}/{key_id}/{material_id}".encode()
