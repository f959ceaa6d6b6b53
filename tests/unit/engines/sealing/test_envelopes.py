"""Envelopes hold small secrets under one key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.engines.sealing import ENVELOPE_OVERHEAD_BYTES, close_envelope, open_envelope

KEY = bytes(range(32))
NONCE = bytes(range(12))

# Written down in docs/sealed-format.md: version, nonce, ciphertext and tag.
VECTOR = bytes.fromhex("01000102030405060708090a0b3467b569a091ecb1c16c3869e9c3999beb54535ae6e8")


@given(
    content=st.binary(max_size=100),
    associated=st.binary(max_size=50),
    nonce=st.binary(min_size=12, max_size=12),
)
def test_what_was_closed_opens_with_the_same_key_and_words(
    content: bytes, associated: bytes, nonce: bytes
) -> None:
    sealed = close_envelope(KEY, nonce, "purpose", content, associated)

    assert len(sealed) == len(content) + ENVELOPE_OVERHEAD_BYTES
    assert open_envelope(KEY, "purpose", sealed, associated) == content


def test_an_envelope_is_as_the_document_says() -> None:
    sealed = close_envelope(KEY, NONCE, "link-key", b"secret", b"sha256:00")

    assert sealed == VECTOR


@given(data=st.data())
def test_nothing_else_opens(data: st.DataObject) -> None:
    sealed = close_envelope(KEY, NONCE, "purpose", b"secret", b"whose")
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    flipped = bytearray(sealed)
    flipped[bit // 8] ^= 1 << bit % 8

    for key, purpose, envelope, whose in (
        (KEY, "purpose", bytes(flipped), b"whose"),
        (KEY, "purpose", sealed[: bit // 8], b"whose"),
        (KEY, "other", sealed, b"whose"),
        (KEY, "purpose", sealed, b"another's"),
        (KEY, "purposew", sealed, b"hose"),
        (bytes(32), "purpose", sealed, b"whose"),
    ):
        with pytest.raises(ValueError, match=r"envelope|sealed"):
            open_envelope(key, purpose, envelope, whose)
