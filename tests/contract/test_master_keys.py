"""A number of a master key that was used once is given to no other key, also where the key itself is gone."""

from dataclasses import replace
from pathlib import Path

from openecr.adapters.clocks import SystemClock
from openecr.adapters.keys import MasterKeyRing, TrustedKeyRing, open_key_ring
from openecr.application.key_ring_proof import prove_key_ring
from openecr.application.master_keys import MasterKeys
from openecr.ports.keys import NewMasterKey
from openecr.server.keys import add_key
from openecr.settings import load
from openecr.store.database import Database

ONE, TWO = b"1" * 32, b"2" * 32


class Service:
    """An external KMS that encrypts nothing."""

    async def generate(self, number: int) -> NewMasterKey:
        key = bytes((number,)) * 32
        return NewMasterKey(plaintext=key, ciphertext=key)

    async def decrypt(self, number: int, ciphertext: bytes) -> bytes:
        assert ciphertext == bytes((number,)) * 32
        return ciphertext


def master_keys_of(database: Database, ring: TrustedKeyRing, older: dict[int, bytes]) -> MasterKeys:
    return MasterKeys(
        database=database,
        service=Service(),
        ring=ring,
        clock=SystemClock(),
        check_seconds=5,
        trust_seconds=60,
        older=older,
    )


async def test_an_external_kms_draws_the_number_after_all_that_were_used(database: Database) -> None:
    ring = TrustedKeyRing(clock=SystemClock())
    await prove_key_ring(database, MasterKeyRing({1: ONE, 12: TWO}, sealing_number=1))
    master_keys = master_keys_of(database, ring, {1: ONE})

    await master_keys.start(may_create=True)

    assert ring.numbers == (1, 13)
    assert await master_keys.add() == 14
    await prove_key_ring(database, MasterKeyRing({1: ONE, 20: TWO}))
    assert await master_keys.add() == 21


async def test_the_next_key_of_a_folder_or_the_environment_has_a_number_that_was_never_used(
    database: Database, tmp_path: Path
) -> None:
    await prove_key_ring(database, MasterKeyRing({1: ONE, 2: TWO}, sealing_number=1))
    settings = load({"data": str(tmp_path)}, {})
    open_key_ring(tmp_path / "keys", may_create=True)
    of_environment = replace(settings, master_keys=(f"1:{ONE.hex()}",))

    assert (await add_key(settings, database, None))["number"] == 3
    assert (await add_key(settings, database, None))["number"] == 4
    assert (await add_key(of_environment, database, None))["number"] == 3
