"""The vectors of sealed keys and manifests (docs/sealed-format.md): written once, and true for ever.

Each is made here as the document says, by the library alone, and by the use cases that store such bytes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MasterKeyRing
from openecr.application.data_keys import DataKeys
from openecr.application.keyed_blobs import KeyedBlobs
from openecr.application.kms.vaults import Vault
from openecr.application.sealed_manifests import open_content, seal_content
from openecr.domain.blobs import StoredBlob, Upload
from openecr.domain.digests import Digest
from openecr.engines.sealing import NONCE_BYTES

_FILE = Path(__file__).parents[1] / "engines" / "sealing" / "key-vectors.json"
VECTORS: dict[str, dict[str, Any]] = {
    vector["name"]: {
        name: bytes.fromhex(value) if name in {"key", "nonce", "adds", "plaintext", "sealed"} else value
        for name, value in vector.items()
    }
    for vector in json.loads(_FILE.read_text("utf-8"))["vectors"]
}


def ring() -> MasterKeyRing:
    return MasterKeyRing({1: VECTORS["blob-key of the key ring"]["key"]})


class GivenIds(SystemIds):
    """What is drawn is given: a nonce, or else a key."""

    def __init__(self, vector: dict[str, Any]) -> None:
        self._vector = vector

    def token(self, size_bytes: int) -> bytes:
        """Return it."""
        drawn: bytes = self._vector["nonce" if size_bytes == NONCE_BYTES else "plaintext"]
        return drawn


def vault_of(name: str) -> Vault:
    return Vault(VECTORS[name]["key"], GivenIds(VECTORS[name]))


def upload_of(vector: dict[str, Any]) -> Upload:
    return Upload(
        id=vector["adds"].decode(),
        repository_id=1,
        owner="",
        received_bytes=0,
        epoch=0,
        started_at=0,
        expires_at=0,
        sealed_key=vector["sealed"],
    )


def blob_of(vector: dict[str, Any]) -> tuple[Digest, bytes]:
    digest, _, header = vector["adds"].partition(b"\0")
    return Digest.parse(digest.decode()), header


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_is_sealed_as_the_document_says(name: str) -> None:
    vector = VECTORS[name]
    purpose, key = vector["purpose"].encode(), vector["key"]
    if vector["sealed_by"] == "key ring":
        info = b"openecr/" + purpose
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)
        head = b"\x01" + vector["master_key_number"].to_bytes(4, "big")
        associated = head + vector["adds"]
    else:
        head = b"\x01"
        associated = head + purpose + b"\0" + vector["adds"]

    closed = AESGCM(key).encrypt(vector["nonce"], vector["plaintext"], associated)

    assert head + vector["nonce"] + closed == vector["sealed"]


def test_the_key_ring_opens_its_keys_of_uploads_and_blobs() -> None:
    data_keys = DataKeys(keys=ring(), ids=SystemIds(), encrypts=True)
    upload, blob = VECTORS["upload-key of the key ring"], VECTORS["blob-key of the key ring"]

    assert data_keys.of_upload(upload_of(upload)) == upload["plaintext"]
    assert data_keys.of_blob(*blob_of(blob), blob["sealed"]) == blob["plaintext"]


def test_the_key_of_a_repository_seals_and_opens_those_of_its_uploads() -> None:
    name = "upload-key of a repository"
    vector, vault = VECTORS[name], vault_of(name)
    data_keys = DataKeys(keys=ring(), ids=GivenIds(vector), encrypts=True)

    assert data_keys.for_upload(vector["adds"].decode(), vault) == vector["sealed"]
    assert data_keys.of_upload(upload_of(vector), vault) == vector["plaintext"]


def test_the_key_of_a_repository_seals_and_opens_its_manifests() -> None:
    name = "manifest of a repository"
    vector, vault = VECTORS[name], vault_of(name)
    digest = Digest.parse(vector["adds"].decode())

    assert seal_content(vault, vector["plaintext"], digest) == vector["sealed"]
    assert open_content(vault, vector["sealed"], digest) == vector["plaintext"]


@dataclass
class OneVault:
    """Opens every repository with one key."""

    vault: Vault

    async def open(self, *_: object) -> Vault:
        """Return it."""
        return self.vault


async def test_the_key_of_a_repository_opens_a_share_key_and_that_the_key_of_a_blob() -> None:
    link, sealed = VECTORS["link-key of a repository"], VECTORS["blob-key under its share key"]
    digest, header = blob_of(sealed)
    assert (link["adds"].decode(), link["plaintext"]) == (str(digest), sealed["key"])
    nothing: Any = None
    vaults: Any = OneVault(vault_of("link-key of a repository"))
    blob = StoredBlob(
        blob_id=1,
        digest=digest,
        size_bytes=5,
        location="00",
        header=header,
        sealed_key=sealed["sealed"],
        key_id="account/key",
        link_key=link["sealed"],
    )

    opened = await KeyedBlobs(database=nothing, vaults=vaults, clock=nothing, ids=SystemIds()).unlock(
        blob, nothing, nothing
    )

    assert opened.data_key == sealed["plaintext"]
