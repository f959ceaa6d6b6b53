"""A server whose master keys do not open what the database holds is refused, before it seals anything."""

import pytest

from openecr.adapters.clocks import SystemClock
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MasterKeyRing
from openecr.application.accounts import Accounts
from openecr.application.key_ring_proof import is_claimed, prove_key_ring
from openecr.domain.errors import CannotStart
from openecr.store.database import Database

ONE, TWO = b"1" * 32, b"2" * 32


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
