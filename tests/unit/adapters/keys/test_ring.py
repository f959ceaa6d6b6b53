"""The key ring: what it seals it opens, and nothing else opens."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.adapters.keys.ring import PLAINTEXT_MAX_BYTES
from openecr.ports.keys import KeyRing

OLD = bytes(range(MASTER_KEY_BYTES))
NEW = bytes(reversed(range(MASTER_KEY_BYTES)))
RING: KeyRing = MasterKeyRing({1: OLD})


@given(plaintext=st.binary(max_size=300), associated=st.binary(max_size=40), purpose=st.text(max_size=20))
def test_what_was_sealed_is_opened(plaintext: bytes, associated: bytes, purpose: str) -> None:
    sealed = RING.seal(purpose, plaintext, associated=associated)
    assert RING.unseal(purpose, sealed, associated=associated) == plaintext


@given(data=st.data(), plaintext=st.binary(max_size=60))
def test_a_changed_bit_anywhere_is_noticed(data: st.DataObject, plaintext: bytes) -> None:
    sealed = bytearray(RING.seal("purpose", plaintext, associated=b"row"))
    position = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[position // 8] ^= 1 << (position % 8)
    with pytest.raises(ValueError, match="not sealed by this key ring"):
        RING.unseal("purpose", bytes(sealed), associated=b"row")


@given(data=st.data(), plaintext=st.binary(max_size=60))
def test_a_cut_or_longer_text_is_noticed(data: st.DataObject, plaintext: bytes) -> None:
    sealed = RING.seal("purpose", plaintext)
    cut = data.draw(st.integers(0, len(sealed) - 1))
    for wrong in (sealed[:cut], sealed + b"x"):
        with pytest.raises(ValueError, match="not sealed"):
            RING.unseal("purpose", wrong)


@given(garbage=st.binary(max_size=200))
def test_garbage_is_never_opened(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not sealed"):
        RING.unseal("purpose", garbage)


def test_a_seal_holds_for_its_purpose_and_associated_data_only() -> None:
    sealed = RING.seal("secrets", b"x", associated=b"row 1")
    for purpose, associated in (("tokens", b"row 1"), ("secrets", b"row 2"), ("secrets", b"")):
        with pytest.raises(ValueError, match="not sealed"):
            RING.unseal(purpose, sealed, associated=associated)


def test_two_seals_of_one_text_differ() -> None:
    assert RING.seal("purpose", b"same") != RING.seal("purpose", b"same")


def test_after_a_rotation_old_seals_open_and_the_newest_key_seals() -> None:
    rotated = MasterKeyRing({1: OLD, 2: NEW})
    assert rotated.unseal("purpose", RING.seal("purpose", b"old")) == b"old"
    fresh = rotated.seal("purpose", b"new")
    assert MasterKeyRing({2: NEW}).unseal("purpose", fresh) == b"new"
    with pytest.raises(ValueError, match="not sealed"):
        RING.unseal("purpose", fresh)


def test_a_key_that_does_not_seal_is_named_to_seal_all_the_same() -> None:
    ring = MasterKeyRing({1: OLD, 2: NEW})
    sealed = ring.seal_under(1, "purpose", b"x", associated=b"row")

    assert RING.unseal("purpose", sealed, associated=b"row") == b"x"
    assert ring.sealing_number == 2
    with pytest.raises(ValueError, match="no key of this ring"):
        ring.seal_under(3, "purpose", b"x")


def test_another_servers_ring_opens_nothing() -> None:
    with pytest.raises(ValueError, match="not sealed"):
        MasterKeyRing({1: NEW}).unseal("purpose", RING.seal("purpose", b"x"))


def test_what_is_sealed_has_a_bound() -> None:
    content = os.urandom(PLAINTEXT_MAX_BYTES)
    assert RING.unseal("purpose", RING.seal("purpose", content)) == content
    with pytest.raises(ValueError, match="too long"):
        RING.seal("purpose", content + b"x")


@pytest.mark.parametrize("keys", [{}, {1: b"short"}, {0: OLD}, {-1: OLD}, {1 << 32: OLD}])
def test_a_ring_of_bad_keys_is_refused(keys: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="key"):
        MasterKeyRing(keys)
