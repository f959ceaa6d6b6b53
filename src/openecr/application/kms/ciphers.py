"""Encryption under keys (KMS API: Encrypt, Decrypt, ReEncrypt, GenerateDataKey and its kin)."""

from collections.abc import Mapping
from dataclasses import dataclass

from openecr.application.key_names import require_key
from openecr.application.kms.materials import Materials
from openecr.application.kms.states import check_usable
from openecr.domain.decisions import Grant
from openecr.domain.kms import KmsKey
from openecr.domain.kms_errors import DryRunSucceeded, IncorrectKey, InvalidCiphertext, KmsValidationFailed
from openecr.engines.kms import RANDOM_BYTES, NotOurs, Origin, decrypt, encrypt, origin_of
from openecr.ports.ids import Ids
from openecr.store.connections import Connection
from openecr.store.database import Database

CONTEXT_MAX_CHARACTERS = 8_192
"""Keys and values of an encryption context together (KMS developer guide, "Encryption context")."""

Context = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encrypted:
    """A ciphertext, and what encrypted it."""

    key: KmsKey
    material_id: str
    blob: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decrypted:
    """A plaintext, and what had encrypted it."""

    key: KmsKey
    material_id: str
    plaintext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKey:
    """A new key, in clear and encrypted."""

    plaintext: bytes
    encrypted: Encrypted


class Ciphers:
    """The use cases that encrypt and decrypt. With `is_dry_run` all checks are made, and DryRunSucceeded is raised."""

    def __init__(self, *, database: Database, materials: Materials, ids: Ids) -> None:
        self._database = database
        self._materials = materials
        self._ids = ids

    async def encrypt(
        self, grant: Grant, plaintext: bytes, context: Context, *, is_dry_run: bool = False
    ) -> Encrypted:
        """Encrypt. Raises KmsNotFound, KeyDisabled, KmsInvalidState, KmsValidationFailed, DryRunSucceeded."""
        check_context(context)

        def look(connection: Connection) -> tuple[KmsKey, bytes]:
            key = require_key(connection, grant)
            check_usable(key)
            return key, self._materials.open_current(connection, key)

        key, material = await self._database.read(look)
        if is_dry_run:
            raise DryRunSucceeded
        return encrypted(key, material, plaintext, context, random=self._ids.token(RANDOM_BYTES))

    async def generate_data_key(
        self, grant: Grant, size_bytes: int, context: Context, *, is_dry_run: bool = False
    ) -> DataKey:
        """Draw a key and encrypt it. Raises as `encrypt`."""
        plaintext = self._ids.token(size_bytes)
        return DataKey(
            plaintext=plaintext,
            encrypted=await self.encrypt(grant, plaintext, context, is_dry_run=is_dry_run),
        )

    async def decrypt(
        self, grant: Grant, blob: bytes, context: Context, *, is_dry_run: bool = False
    ) -> Decrypted:
        """Decrypt with the key that the grant is about.

        Raises KmsNotFound (AccessDenied where only the ciphertext names the key), IncorrectKey, KeyDisabled,
        KmsInvalidState, InvalidCiphertext, KmsValidationFailed, DryRunSucceeded.
        """
        check_context(context)
        origin = read_origin(blob)

        def look(connection: Connection) -> tuple[KmsKey, bytes | None]:
            key = require_key(connection, grant)
            if (key.registry, key.key_id) != (origin.registry, origin.key_id):
                raise IncorrectKey
            check_usable(key)
            return key, self._materials.open(connection, key, origin.material_id)

        key, material = await self._database.read(look)
        if material is None:
            raise InvalidCiphertext
        plaintext = decrypted(blob, material, context)
        if is_dry_run:
            raise DryRunSucceeded
        return Decrypted(key=key, material_id=origin.material_id, plaintext=plaintext)

    async def re_encrypt(
        self,
        source: tuple[Grant, Context],
        destination: tuple[Grant, Context],
        blob: bytes,
        *,
        is_dry_run: bool = False,
    ) -> tuple[Decrypted, Encrypted]:
        """Decrypt, and encrypt under another key or context. Raises as both do."""
        opened = await self.decrypt(source[0], blob, source[1])
        closed = await self.encrypt(destination[0], opened.plaintext, destination[1], is_dry_run=is_dry_run)
        return opened, closed

    def random(self, size_bytes: int) -> bytes:
        """Return random bytes."""
        return self._ids.token(size_bytes)


def encrypted(
    key: KmsKey, material: bytes, plaintext: bytes, context: Context, *, random: bytes
) -> Encrypted:
    """Encrypt with a key's current material. `random` are RANDOM_BYTES that were never used before."""
    origin = Origin(registry=key.registry, key_id=key.key_id, material_id=key.material_id)
    return Encrypted(
        key=key,
        material_id=key.material_id,
        blob=encrypt(origin, material, plaintext, context, random=random),
    )


def decrypted(blob: bytes, material: bytes, context: Context) -> bytes:
    """Decrypt. Raises InvalidCiphertext."""
    try:
        return decrypt(blob, material, context)
    except NotOurs as error:
        raise InvalidCiphertext from error


def read_origin(blob: bytes) -> Origin:
    """Return what a ciphertext says of its key. Raises InvalidCiphertext."""
    try:
        return origin_of(blob)
    except NotOurs as error:
        raise InvalidCiphertext from error


def check_context(context: Context) -> None:
    """Check an encryption context. Raises KmsValidationFailed."""
    if sum(len(key) + len(value) for key, value in context.items()) > CONTEXT_MAX_CHARACTERS:
        raise KmsValidationFailed(
            message=f"The encryption context has more than {CONTEXT_MAX_CHARACTERS} characters"
        )
    if len({key.lower() for key in context}) != len(context):
        raise KmsValidationFailed(message="Keys of an encryption context differ in letter case only")
    try:
        for key, value in context.items():
            f"{key}{value}".encode()
    except UnicodeEncodeError as error:
        raise KmsValidationFailed(message="The encryption context is not Unicode") from error
