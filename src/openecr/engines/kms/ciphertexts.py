"""The ciphertext blob: what Encrypt and GenerateDataKey give, and Decrypt takes. Format version 1.

    version (1) = 1
    length of the region's name (1), region, account (12 digits)
    length of the key's id (1), key id
    material id (32)
    salt (16), nonce (12)
    AES-256-GCM ciphertext with its tag (16)

Everything before the ciphertext is authenticated, with the canonical encryption context behind it. Each blob is
encrypted with a key of its own, derived from the material by HKDF-SHA256 (RFC 5869) with the salt: so one material is
good for any number of blobs, and random nonces do not meet (NIST SP 800-38D, section 8.3). No secret is in the header:
Decrypt finds the key by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from openecr.domain.kms import MATERIAL_BYTES, MATERIAL_ID_BYTES, is_key_id
from openecr.domain.registries import RegistryId
from openecr.engines.kms.contexts import canonical

_VERSION = 1
_ACCOUNT_DIGITS = 12
_SALT_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
_INFO = b"openecr/kms/ciphertext/1"

RANDOM_BYTES = _SALT_BYTES + _NONCE_BYTES
"""How much chance one encryption takes."""


class NotOurs(ValueError):
    """Bytes that are no ciphertext of this format, were changed, or belong to another encryption context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose ciphertext it is: what stands in its header. `material_id` is 64 hexadecimal digits."""

    registry: RegistryId
    key_id: str
    material_id: str


def encrypt(
    origin: Origin, material: bytes, plaintext: bytes, context: Mapping[str, str], *, random: bytes
) -> bytes:
    """Return the ciphertext of a plaintext. `random` are RANDOM_BYTES that were never used before."""
    assert len(random) == RANDOM_BYTES, "a salt and a nonce"
    salt, nonce = random[:_SALT_BYTES], random[_SALT_BYTES:]
    header = _header(origin) + random
    cipher = AESGCM(_derived(material, salt))
    return header + cipher.encrypt(nonce, plaintext, header + canonical(context))


def origin_of(blob: bytes) -> Origin:
    """Return what the header says, which is not authenticated yet. Raises NotOurs."""
    return _parse(blob)[0]


def decrypt(blob: bytes, material: bytes, context: Mapping[str, str]) -> bytes:
    """Return the plaintext. Raises NotOurs."""
    _, start = _parse(blob)
    header, random = blob[:start], blob[start - RANDOM_BYTES : start]
    salt, nonce = random[:_SALT_BYTES], random[_SALT_BYTES:]
    try:
        return AESGCM(_derived(material, salt)).decrypt(nonce, blob[start:], header + canonical(context))
    except InvalidTag as error:
        raise NotOurs("changed, or of another encryption context") from error


def _header(origin: Origin) -> bytes:
    region, key_id = origin.registry.region.encode("ascii"), origin.key_id.encode("ascii")
    return b"".join(
        (
            bytes((_VERSION, len(region))),
            region,
            origin.registry.account_id.encode("ascii"),
            bytes((len(key_id),)),
            key_id,
            bytes.fromhex(origin.material_id),
        )
    )


def _parse(blob: bytes) -> tuple[Origin, int]:
    """Return the origin, and where the ciphertext begins. Raises NotOurs."""
    cursor = _Cursor(blob)
    if cursor.number() != _VERSION:
        raise NotOurs("another version")
    region = cursor.text(cursor.number())
    account_id = cursor.text(_ACCOUNT_DIGITS)
    key_id = cursor.text(cursor.number())
    material_id = cursor.take(MATERIAL_ID_BYTES).hex()
    cursor.take(RANDOM_BYTES)
    if len(blob) - cursor.position < _TAG_BYTES or not is_key_id(key_id):
        raise NotOurs("cut short, or of no key")
    try:
        registry = RegistryId.parse(f"{account_id}/{region}")
    except ValueError as error:
        raise NotOurs("of no account") from error
    return Origin(registry=registry, key_id=key_id, material_id=material_id), cursor.position


class _Cursor:
    """Reads from the front. Every step raises NotOurs where bytes are missing."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self.position = 0

    def take(self, size_bytes: int) -> bytes:
        found = self._blob[self.position : self.position + size_bytes]
        if len(found) != size_bytes:
            raise NotOurs("cut short")
        self.position += size_bytes
        return found

    def number(self) -> int:
        return self.take(1)[0]

    def text(self, size_bytes: int) -> str:
        try:
            return self.take(size_bytes).decode("ascii")
        except UnicodeDecodeError as error:
            raise NotOurs("no text") from error


def _derived(material: bytes, salt: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=MATERIAL_BYTES, salt=salt, info=_INFO).derive(material)
