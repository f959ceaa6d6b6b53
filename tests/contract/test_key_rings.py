"""What every key ring promises, whoever holds its keys; and what is kept above a ring is not used once it is closed."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from openecr.adapters.data_folder import DataFolder
from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing, TrustedKeyRing, open_key_ring
from openecr.application.authorization_tokens import AuthorizationTokens
from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys
from openecr.application.kms.materials import Materials
from openecr.application.kms.vaults import Vault
from openecr.application.sessions import Sessions
from openecr.domain.callers import RoleSession, Root, Session
from openecr.domain.errors import Unavailable
from openecr.ports.keys import KeyRing
from openecr.server.keys import open_keys
from openecr.settings import load
from openecr.testing.clocks import MovableClock
from tests.contract.databases import Databases
from tests.contract.galleries import NOW
from tests.contract.shelves import Shelf

KEY = b"k" * MASTER_KEY_BYTES
RINGS = ("folder", "environment", "external KMS", "vault")


@pytest.fixture(params=RINGS)
def ring(request: pytest.FixtureRequest, tmp_path: Path) -> KeyRing:
    """The ring that each kind of place gives; the story of an external KMS opens the same class over a network."""
    match request.param:
        case "folder":
            return open_key_ring(tmp_path / "keys", may_create=True)
        case "environment":
            settings = load({"data": str(tmp_path / "data")}, {"OPENECR_MASTER_KEYS": f"7:{KEY.hex()}"})
            with DataFolder.acquire(settings.data) as folder:
                return open_keys(settings, folder, may_create=False)
        case "external KMS":
            return opened(MovableClock(NOW))
        case _:
            return Vault(KEY, SystemIds())


def opened(clock: MovableClock) -> TrustedKeyRing:
    trusted = TrustedKeyRing(clock=clock)
    trusted.open({1: KEY}, until=clock.now() + 60_000_000)
    return trusted


@pytest.mark.parametrize("size_bytes", [0, 1, 32, 100_000])
def test_what_was_sealed_is_opened_and_never_looks_the_same(ring: KeyRing, size_bytes: int) -> None:
    content = os.urandom(size_bytes)
    first, second = (ring.seal("purpose", content, associated=b"row") for _ in range(2))
    assert first != second
    assert ring.unseal("purpose", first, associated=b"row") == content
    assert ring.unseal("purpose", second, associated=b"row") == content


def test_a_seal_holds_for_its_purpose_and_row_alone(ring: KeyRing) -> None:
    sealed = ring.seal("purpose", b"x", associated=b"row")
    for purpose, associated in (("other", b"row"), ("purpose", b"other"), ("purpose", b"")):
        with pytest.raises(ValueError, match="sealed"):
            ring.unseal(purpose, sealed, associated=associated)


def test_whatever_was_changed_cut_or_made_up_is_refused(ring: KeyRing) -> None:
    sealed = ring.seal("purpose", b"content", associated=b"row")
    changed = [
        sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))
    ]
    for wrong in (*changed, *(sealed[:place] for place in range(len(sealed))), sealed + b"x"):
        with pytest.raises(ValueError, match=r"sealed|envelope"):
            ring.unseal("purpose", wrong, associated=b"row")


def test_an_external_ring_is_open_until_its_time_or_a_no_and_one_key_seals_throughout() -> None:
    clock = MovableClock(NOW)
    trusted = TrustedKeyRing(clock=clock)
    for use in (trusted.check_open, lambda: trusted.seal("p", b"x"), lambda: trusted.numbers):
        with pytest.raises(Unavailable):
            use()
    trusted.open({1: KEY}, until=NOW + 10)
    sealed = trusted.seal("p", b"x")
    trusted.open({1: KEY, 2: b"2" * 32}, until=NOW + 10)
    assert (trusted.numbers, trusted.sealing_number) == ((1, 2), 1)
    clock.move(seconds=0.00001)
    with pytest.raises(Unavailable):
        trusted.unseal("p", sealed)
    trusted.open({1: KEY}, until=NOW + 20)
    assert trusted.unseal("p", sealed) == b"x"
    trusted.close("no")
    assert trusted.closed_because == "no"
    with pytest.raises(Unavailable):
        trusted.unseal("p", sealed)
    with pytest.raises(ValueError, match="no master key 1"):
        trusted.open({2: b"2" * 32}, until=NOW + 20)


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    yield shelf
    await shelf.files.close()


async def test_what_was_opened_and_kept_is_not_used_once_the_ring_is_closed(shelf: Shelf) -> None:
    ring = opened(shelf.clock)
    tokens = AuthorizationTokens(keys=ring, clock=shelf.clock)
    token = tokens.issue(Root(account_id="1" * 12, access_key_id="AKIA"), "us-east-1").token_text
    sessions = Sessions(database=shelf.database, keys=ring, clock=shelf.clock, carried_seconds=60)
    session = Session(issued_at=0, expires_at=2**50, name="ci")
    caller = RoleSession(
        account_id="1" * 12, access_key_id="ASIA", unique_id="AROA", role_name="ci", session=session
    )
    session_token = sessions.issue(caller, "secret")
    carried = await sessions.carry(caller)
    assert carried is not None
    blob = await shelf.push(b"content")
    contents = Contents(
        store=shelf.store, data_keys=DataKeys(keys=MasterKeyRing({1: KEY}), ids=SystemIds(), encrypts=True)
    )
    assert contents.file(blob) is not None
    contents._data_keys._keys = ring
    materials = Materials(keys=ring, ids=SystemIds())
    uses: list[Callable[[], object]] = [
        lambda: tokens.open(token, region="us-east-1"),
        lambda: sessions.open("ASIA", session_token),
        lambda: contents.file(blob),
        materials.check_open,
    ]
    for use in uses:
        use()
    await sessions.find_carried(carried)

    ring.close("no")

    for use in uses:
        with pytest.raises(Unavailable):
            use()
    with pytest.raises(Unavailable):
        await sessions.find_carried(carried)
