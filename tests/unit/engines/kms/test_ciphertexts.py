"""Ciphertext blobs: what was encrypted is decrypted, under the same key and context, and nothing else is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.domain.registries import RegistryId
from openecr.engines.kms import RANDOM_BYTES, NotOurs, Origin, canonical, decrypt, encrypt, origin_of

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
ORIGIN = Origin(
    registry=RegistryId(account_id="000000000000", region="us-east-1"),
    key_id="0b1c2d3e-0000-4000-8000-123456789abc",
    material_id="ab" * 32,
)
MATERIAL = bytes(range(32))
RANDOM = bytes(range(RANDOM_BYTES))
CONTEXT = {"aws:ecr:arn": "arn:aws:ecr:us-east-1:000000000000:repository/app", "b": ""}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
contexts = st.dictionaries(texts, texts, max_size=4)


def blob(context: dict[str, str] = CONTEXT, plaintext: bytes = b"secret") -> bytes:
    return encrypt(ORIGIN, MATERIAL, plaintext, context, random=RANDOM)


@given(
    st.binary(min_size=1, max_size=4096),
    contexts,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES),
)
def test_what_is_encrypted_is_decrypted_in_whatever_order_its_context_is(
    plaintext: bytes, context: dict[str, str], material: bytes, random: bytes
) -> None:
    made = encrypt(ORIGIN, material, plaintext, context, random=random)

    assert len(made) <= 6144
    assert origin_of(made) == ORIGIN
    assert decrypt(made, material, dict(reversed(context.items()))) == plaintext


@given(contexts, contexts)
def test_contexts_are_the_same_bytes_only_where_they_are_the_same(
    one: dict[str, str], other: dict[str, str]
) -> None:
    assert (canonical(one) == canonical(other)) is (one == other)


@given(st.data())
def test_no_changed_byte_and_no_cut_is_taken(data: st.DataObject) -> None:
    made = bytearray(blob())
    position = data.draw(st.integers(0, len(made) - 1))
    made[position] ^= data.draw(st.integers(1, 255))

    with pytest.raises(NotOurs):
        decrypt(bytes(made), MATERIAL, CONTEXT)
    with pytest.raises(NotOurs):
        decrypt(blob()[:position], MATERIAL, CONTEXT)


@pytest.mark.parametrize(
    "context",
    [
        {},
        CONTEXT | {"c": "d"},
        {"B" if key == "b" else key: value for key, value in CONTEXT.items()},
        CONTEXT | {"b": "x"},
    ],
)
def test_another_context_is_refused(context: dict[str, str]) -> None:
    with pytest.raises(NotOurs):
        decrypt(blob(), MATERIAL, context)


def test_another_material_is_refused() -> None:
    with pytest.raises(NotOurs):
        decrypt(blob(), bytes(32), CONTEXT)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_without_a_traceback(content: bytes) -> None:
    with pytest.raises(NotOurs):
        origin_of(content)
    with pytest.raises(NotOurs):
        origin_of(b"\x01" + content)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_format_is_that_of_the_vectors(vector: dict[str, Any]) -> None:
    origin = Origin(
        registry=RegistryId.parse(vector["registry"]),
        key_id=vector["key_id"],
        material_id=vector["material_id"],
    )
    plaintext, made = bytes.fromhex(vector["plaintext"]), bytes.fromhex(vector["ciphertext"])
    material, random = bytes.fromhex(vector["material"]), bytes.fromhex(vector["random"])

    assert encrypt(origin, material, plaintext, vector["context"], random=random) == made
    assert decrypt(made, material, vector["context"]) == plaintext
    assert origin_of(made) == origin
