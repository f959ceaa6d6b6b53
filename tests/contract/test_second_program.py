"""A repository under a key of KMS is opened by its rows, its files and a master key, as docs/sealed-format.md says.

Nothing here but the test's own set-up is the program's: what opens is the library alone.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select

from openecr.adapters.keys import MASTER_KEY_BYTES
from openecr.application.images import PutRules
from openecr.store.kms_tables import KMS_MATERIALS
from openecr.store.statements import Statement
from openecr.store.tables import BLOBS, IMAGES, LINKS, MANIFESTS, REPOSITORIES
from tests.contract.databases import Databases
from tests.contract.galleries import REGISTRY, image_of
from tests.contract.keyed_shelves import KeyedShelf

MASTER_KEY = b"k" * MASTER_KEY_BYTES
SEGMENT_BYTES = 262_144
ACCOUNT, REGION = REGISTRY.account_id, REGISTRY.region
MATERIALS = Statement(
    select(KMS_MATERIALS.c.key_id, KMS_MATERIALS.c.material_id, KMS_MATERIALS.c.sealed).order_by(
        KMS_MATERIALS.c.number
    )
)
SEALED_REPOSITORY_KEY = Statement(select(REPOSITORIES.c.sealed_key))
HELD = Statement(
    select(
        LINKS.c.digest, LINKS.c.sealed_key, BLOBS.c.sealed_key, BLOBS.c.header, BLOBS.c.location
    ).join_from(LINKS, BLOBS, LINKS.c.blob_id == BLOBS.c.id)
)
CONTENTS = Statement(
    select(IMAGES.c.digest, MANIFESTS.c.content).join_from(
        IMAGES, MANIFESTS, MANIFESTS.c.image_id == IMAGES.c.id
    )
)


def derived(key: bytes, *, salt: bytes | None, info: str) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=info.encode()).derive(key))


def opened_by_the_ring(sealed: bytes, purpose: str, adds: bytes) -> bytes:
    assert sealed[:5] == b"\1\0\0\0\1", "version 1, under master key 1"
    cipher = derived(MASTER_KEY, salt=None, info=f"openecr/{purpose}")
    return cipher.decrypt(sealed[5:17], sealed[17:], sealed[:5] + adds)


def opened_envelope(sealed: bytes, key: bytes, purpose: str, adds: bytes) -> bytes:
    return AESGCM(key).decrypt(sealed[1:13], sealed[13:], sealed[:1] + purpose.encode() + b"\0" + adds)


def with_length(text: str) -> bytes:
    return len(text.encode()).to_bytes(4, "big") + text.encode()


def opened_ciphertext(
    blob: bytes, materials: Mapping[tuple[str, str], bytes], context: dict[str, str]
) -> bytes:
    region_stop = 2 + blob[1]
    account_stop = region_stop + 12
    key_stop = account_stop + 1 + blob[account_stop]
    material_stop = key_stop + 32
    salt_stop, start = material_stop + 16, material_stop + 28
    assert (blob[0], blob[2:region_stop].decode()) == (1, REGION)
    assert blob[region_stop:account_stop].decode() == ACCOUNT
    named = blob[account_stop + 1 : key_stop].decode(), blob[key_stop:material_stop].hex()
    pairs = sorted(context.items(), key=lambda pair: pair[0].encode())
    adds = len(pairs).to_bytes(4, "big") + b"".join(with_length(text) for pair in pairs for text in pair)
    cipher = derived(materials[named], salt=blob[material_stop:salt_stop], info="openecr/kms/ciphertext/1")
    return cipher.decrypt(blob[salt_stop:start], blob[start:], blob[:start] + adds)


def opened_segments(stored: bytes, key: bytes, header: bytes) -> bytes:
    version, extents = msgspec.msgpack.decode(header)
    assert version == 1
    cipher, content, place = AESGCM(key), b"", 0
    for extent_id, size in extents:
        starts = range(0, size, SEGMENT_BYTES)
        for index, start in enumerate(starts):
            stop = place + 12 + min(SEGMENT_BYTES, size - start) + 16
            adds = bytes((1, index == len(starts) - 1)) + index.to_bytes(8, "big") + extent_id
            content += cipher.decrypt(stored[place : place + 12], stored[place + 12 : stop], adds)
            place = stop
    assert place == len(stored)
    return content


async def test_a_second_program_opens_a_repository_under_a_key(databases: Databases, tmp_path: Path) -> None:
    shelf = KeyedShelf(databases, tmp_path)
    shelf.grant = await shelf.create("shop/app")
    layer = "layer " * (SEGMENT_BYTES // 4)
    for content in ("config", layer):
        await shelf.push(content.encode())
    manifest = image_of("config", [layer])
    await shelf.images_of_another_process().put(
        shelf.grant, manifest, media_type=None, rules=PutRules.REGISTRY
    )

    materials = {
        (key_id, material_id): opened_by_the_ring(
            bytes(sealed), "kms-material", f"kms_materials/{ACCOUNT}/{REGION}/{key_id}/{material_id}".encode()
        )
        for key_id, material_id, sealed in await shelf.rows(MATERIALS)
    }
    ((sealed_key,),) = await shelf.rows(SEALED_REPOSITORY_KEY)
    arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/shop/app"
    own_key = opened_ciphertext(bytes(sealed_key), materials, {"aws:ecr:arn": arn})
    found = set[bytes]()
    for digest, link_key, blob_key, header, location in await shelf.rows(HELD):
        share_key = opened_envelope(bytes(link_key), own_key, "link-key", digest.encode())
        adds = digest.encode() + b"\0" + bytes(header)
        data_key = opened_envelope(bytes(blob_key), share_key, "blob-key", adds)
        path = shelf.files.path(location)
        assert path is not None
        found.add(opened_segments(path.read_bytes(), data_key, bytes(header)))
    ((digest, sealed),) = await shelf.rows(CONTENTS)

    assert found == {b"config", layer.encode()}
    assert opened_envelope(bytes(sealed), own_key, "manifest", digest.encode()) == manifest
    await shelf.files.close()
