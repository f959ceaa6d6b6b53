"""A server whose master keys do not open what the database holds is refused, before it seals anything."""

import asyncio

import pytest

from openecr.adapters.clocks import SystemClock
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MasterKeyRing
from openecr.application.accounts import Accounts
from openecr.application.key_ring_proof import PROOF_PURPOSE, is_claimed, prove_key_ring
from openecr.domain.errors import CannotStart
from openecr.store import server_state
from openecr.store.database import Database

ONE, TWO, THREE = b"1" * 32, b"2" * 32, b"3" * 32


async def ensure_account(database: Database, ring: MasterKeyRing) -> None:
    await Accounts(database=database, keys=ring, clock=SystemClock(), ids=SystemIds()).ensure()


async def test_the_first_ring_is_proven_ever_after(database: Database) -> None:
    assert not await is_claimed(database)
    await prove_key_ring(database, MasterKeyRing({1: ONE}))
    assert await is_claimed(database)
    await prove_key_ring(database, MasterKeyRing({1: ONE}))


async def test_another_ring_is_refused_whatever_its_numbers(database: Database) -> None:
    await prove_key_ring(database, MasterKeyRing({1: ONE}))
    for keys in ({1: TWO}, {2: ONE}, {1: TWO, 2: ONE}):
        with pytest.raises(CannotStart, match="do not open what the database holds"):
            await prove_key_ring(database, MasterKeyRing(keys))


async def test_a_ring_that_grew_is_proven(database: Database) -> None:
    await prove_key_ring(database, MasterKeyRing({1: ONE}))
    await prove_key_ring(database, MasterKeyRing({1: ONE, 2: TWO}))


async def test_a_database_of_an_earlier_version_is_claimed_only_by_the_ring_that_opens_its_keys(
    database: Database,
) -> None:
    await ensure_account(database, MasterKeyRing({1: ONE}))
    assert await is_claimed(database)
    with pytest.raises(CannotStart, match="do not open what the database holds"):
        await prove_key_ring(database, MasterKeyRing({1: TWO}))
    await prove_key_ring(database, MasterKeyRing({1: ONE}))
    with pytest.raises(CannotStart, match="do not open what the database holds"):
        await prove_key_ring(database, MasterKeyRing({1: TWO}))


async def refused(database: Database, ring: MasterKeyRing) -> str:
    """Try to start with a ring; return why it may not, or nothing."""
    try:
        await prove_key_ring(database, ring)
    except CannotStart as error:
        return error.message
    return ""


async def test_a_wrong_key_beside_the_right_ones_is_refused(database: Database) -> None:
    """Whichever seals: with two keys of one number, each server would seal what the other cannot open."""
    await prove_key_ring(database, MasterKeyRing({1: ONE, 2: TWO}, sealing_number=1))

    for sealing in (1, 2):
        told = await refused(database, MasterKeyRing({1: ONE, 2: THREE}, sealing_number=sealing))
        assert told.startswith("master key 2 is not the one that this database was used with")
    assert await refused(database, MasterKeyRing({1: ONE, 2: TWO})) == ""


async def test_of_two_keys_that_were_made_for_one_number_the_first_to_start_counts(
    database: Database,
) -> None:
    """`openecr keys add` was run on two machines with folders of their own."""
    await prove_key_ring(database, MasterKeyRing({1: ONE}))
    rings = [MasterKeyRing({1: ONE, 2: key}) for key in (TWO, THREE)]

    told = await asyncio.gather(*(refused(database, ring) for ring in rings))

    assert sorted(bool(each) for each in told) == [False, True]
    for ring, before in zip(rings, told, strict=True):
        assert await refused(database, ring) == before


async def test_a_key_that_was_taken_out_is_missed_by_nobody_and_its_number_is_not_used_again(
    database: Database,
) -> None:
    await prove_key_ring(database, MasterKeyRing({1: ONE, 2: TWO}, sealing_number=1))
    await prove_key_ring(database, MasterKeyRing({1: ONE}))
    assert await refused(database, MasterKeyRing({1: ONE, 2: THREE})) != ""
    await prove_key_ring(database, MasterKeyRing({1: ONE, 3: THREE}))


async def test_a_ring_that_is_refused_claims_no_number(database: Database) -> None:
    await prove_key_ring(database, MasterKeyRing({1: ONE, 2: TWO}, sealing_number=1))
    assert await refused(database, MasterKeyRing({1: ONE, 2: THREE, 3: THREE})) != ""

    await prove_key_ring(database, MasterKeyRing({1: ONE, 2: TWO, 3: ONE}))


async def test_what_a_database_of_an_earlier_version_holds_of_its_ring_counts(database: Database) -> None:
    sealed = MasterKeyRing({1: ONE}).seal(PROOF_PURPOSE, b"OpenECR").hex()
    await database.write(
        lambda connection: server_state.put_first(connection, server_state.KEY_RING_PROOF, sealed)
    )

    assert await refused(database, MasterKeyRing({1: TWO, 2: ONE})) != ""
    await prove_key_ring(database, MasterKeyRing({1: ONE, 2: TWO}))
    assert await refused(database, MasterKeyRing({1: ONE, 2: THREE})) != ""
