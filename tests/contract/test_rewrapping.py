"""After a rotation everything is sealed anew under the new master key, while it is used and changed."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import select

from openecr.adapters.ids import SystemIds
from openecr.adapters.keys import MASTER_KEY_BYTES, MasterKeyRing
from openecr.application.accounts import Accounts
from openecr.application.blobs import Blobs
from openecr.application.contents import Contents
from openecr.application.data_keys import DataKeys
from openecr.application.key_ring_proof import prove_key_ring
from openecr.application.rewrapping import STEP_ROWS, Rewrapping, RewrapReport, totals
from openecr.application.sessions import ROW_PURPOSE, Sessions, pack
from openecr.application.uploads import FinishRules
from openecr.domain.callers import RoleSession, Session
from openecr.domain.errors import CannotStart, Unavailable
from openecr.ports.keys import ServerKeyRing, master_key_number
from openecr.store import accounts, large_sessions
from openecr.store.connections import Connection
from openecr.store.database import Database
from openecr.store.sealed_rows import ACCESS_KEY_SECRETS, BLOB_KEYS, SESSIONS, UPLOAD_KEYS
from openecr.store.statements import Statement
from openecr.store.tables import BLOBS
from tests.contract.databases import Databases
from tests.contract.shelves import Shelf, chunks_of, digests_of
from tests.keyed import keyed_blobs_of

OLD, NEW = b"k" * MASTER_KEY_BYTES, b"n" * MASTER_KEY_BYTES
BOTH, NEW_ALONE = MasterKeyRing({1: OLD, 2: NEW}), MasterKeyRing({2: NEW})
OLD_SEALS = MasterKeyRing({1: OLD, 2: NEW}, sealing_number=1)
ACCOUNT = "111111111111"
BLOB_ROWS = Statement(select(BLOBS.c.digest, BLOBS.c.location, BLOBS.c.header))


@pytest.fixture
async def shelf(databases: Databases, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = await Shelf(databases, tmp_path).open()
    await prove_key_ring(shelf.database, shelf.keys)
    yield shelf
    await shelf.check()
    await shelf.files.close()


def accounts_of(shelf: Shelf, keys: ServerKeyRing) -> Accounts:
    return Accounts(database=shelf.database, keys=keys, clock=shelf.clock, ids=SystemIds())


def after_rotation(shelf: Shelf, keys: MasterKeyRing = BOTH) -> None:
    """Go on as a server with other keys."""
    shelf.keys = keys
    shelf.data_keys = DataKeys(keys=keys, ids=SystemIds(), encrypts=True)
    shelf.contents = Contents(store=shelf.store, data_keys=shelf.data_keys)
    shelf.blobs = Blobs(
        database=shelf.database,
        contents=shelf.contents,
        keyed=keyed_blobs_of(shelf.database, keys, shelf.clock),
        losses=shelf.losses,
        keys=keys,
        clock=shelf.clock,
        limits=shelf.limits,
    )
    shelf.uploads = shelf.another_process()


async def run(rewrapping: Rewrapping) -> RewrapReport:
    report = await rewrapping.resumed({})
    while await rewrapping.step(report):
        pass
    return report


async def add_sessions(database: Database, keys: ServerKeyRing, count: int) -> None:
    names = [f"session-{number:04}" for number in range(count)]
    sealed = {name: keys.seal(ROW_PURPOSE, b"x", associated=name.encode()) for name in names}

    def unit(connection: Connection) -> None:
        accounts.add(connection, ACCOUNT, created_at=0)
        for name in names:
            large_sessions.keep(connection, name, account_id=ACCOUNT, sealed=sealed[name], expires_at=2**50)

    await database.write(unit)


async def test_everything_is_opened_by_the_new_key_alone_and_no_blob_has_moved(shelf: Shelf) -> None:
    root = await accounts_of(shelf, shelf.keys).ensure()
    blobs = [await shelf.push(name.encode()) for name in ("one", "two", "three")]
    upload = await shelf.uploads.start(shelf.grant)
    await shelf.uploads.append(shelf.grant, upload.id, chunks_of(b"begun before, "))
    session = Session(
        issued_at=0, expires_at=2**50, name="ci", policy="{" + " " * 2000 + "}", policy_arns=("a" * 1500,)
    )
    caller = RoleSession(
        account_id=root.account_id, access_key_id="ASIA", unique_id="AROA", role_name="ci", session=session
    )
    before_sessions = Sessions(
        database=shelf.database, keys=shelf.keys, clock=shelf.clock, carried_seconds=60
    )
    carried = b"#" + b"0" * 64
    await shelf.database.write(
        lambda connection: large_sessions.keep(
            connection,
            "0" * 64,
            account_id=root.account_id,
            sealed=shelf.keys.seal(ROW_PURPOSE, pack(caller), associated=b"0" * 64),
            expires_at=2**50,
        )
    )
    stored = await shelf.rows(BLOB_ROWS)
    assert await before_sessions.find_carried(carried) is not None

    report = await run(Rewrapping(database=shelf.database, keys=BOTH))

    assert (report.number, report.unopened, report.is_done) == (2, 0, False)
    assert report.looked == report.rewrapped == 3 + 1 + 1 + 1 + 1  # blobs, upload, root's key, session, proof
    assert totals(await Rewrapping(database=shelf.database, keys=BOTH).count()) == {2: 7}
    assert await shelf.rows(BLOB_ROWS) == stored
    after_rotation(shelf, NEW_ALONE)
    await prove_key_ring(shelf.database, NEW_ALONE)
    assert (await accounts_of(shelf, NEW_ALONE).ensure()).secret == root.secret
    sessions = Sessions(database=shelf.database, keys=NEW_ALONE, clock=shelf.clock, carried_seconds=60)
    found = await sessions.find_carried(carried)
    assert found is not None
    assert found.principal_id == "AROA"
    for blob in blobs:
        again = await shelf.blobs.get(shelf.grant, blob.digest)
        assert await shelf.read(again) in {b"one", b"two", b"three"}
    await shelf.uploads.append(shelf.grant, upload.id, chunks_of(b"ended after"))
    ended = await shelf.uploads.finish(
        shelf.grant, upload.id, digests_of(b"begun before, ended after"), rules=FinishRules.REGISTRY
    )
    assert ended.size_bytes == len(b"begun before, ended after")
    with pytest.raises(CannotStart):
        await prove_key_ring(shelf.database, MasterKeyRing({1: OLD}))


async def test_what_has_changed_since_it_was_read_stays_as_it_is(shelf: Shelf) -> None:
    await add_sessions(shelf.database, shelf.keys, 1)
    (read,) = await shelf.database.scan(lambda c: SESSIONS.list_after(c, SESSIONS.first, limit=9))
    changed = BOTH.seal(ROW_PURPOSE, b"another", associated=b"session-0000")
    await shelf.database.write(
        lambda c: large_sessions.keep(c, "session-0000", account_id=ACCOUNT, sealed=changed, expires_at=2**50)
    )

    is_replaced = await shelf.database.write(lambda c: SESSIONS.replace(c, read, b"fresh"))

    assert not is_replaced
    assert await shelf.database.read(lambda c: large_sessions.find(c, "session-0000")) == changed


async def test_two_runs_at_a_time_seal_each_row_once(shelf: Shelf) -> None:
    count = 2 * STEP_ROWS + 7
    await add_sessions(shelf.database, shelf.keys, count)

    first, second = await asyncio.gather(
        *(run(Rewrapping(database=shelf.database, keys=BOTH)) for _ in range(2))
    )

    assert first.rewrapped + second.rewrapped == count + 1  # and the proof
    assert first.unopened == second.unopened == 0
    assert totals(await Rewrapping(database=shelf.database, keys=BOTH).count()) == {2: count + 1}


async def test_a_run_goes_on_where_it_was_interrupted_and_begins_anew_for_another_key(shelf: Shelf) -> None:
    await add_sessions(shelf.database, shelf.keys, STEP_ROWS + 1)
    rewrapping = Rewrapping(database=shelf.database, keys=BOTH)
    report = await rewrapping.resumed({})
    while report.rewrapped == 0:
        await rewrapping.step(report)

    payload = json.loads(json.dumps(asdict(report)))
    resumed = await rewrapping.resumed(payload)

    assert (resumed, resumed.rewrapped) == (report, STEP_ROWS)
    while await rewrapping.step(resumed):
        pass
    assert resumed.rewrapped == STEP_ROWS + 2
    back = Rewrapping(database=shelf.database, keys=OLD_SEALS)
    await back.ask()
    assert await back.resumed(payload) == RewrapReport(number=1, is_asked=True)
    assert (await run(back)).rewrapped == STEP_ROWS + 2
    assert totals(await back.count()) == {1: STEP_ROWS + 2}


async def test_who_was_left_behind_with_an_older_key_seals_nothing_back_by_himself(shelf: Shelf) -> None:
    """A worker, say, that still has the --sealing-key of a rotation that everybody else has ended."""
    await add_sessions(shelf.database, shelf.keys, 2)
    new, left_behind = (Rewrapping(database=shelf.database, keys=keys) for keys in (BOTH, OLD_SEALS))
    await run(new)

    report = await run(left_behind)

    assert (report.number, report.rewrapped, report.unopened) == (1, 0, 0)
    assert totals(await new.count()) == {2: 3}


async def test_the_operators_word_counts_for_one_run_whoever_does_it(shelf: Shelf) -> None:
    await add_sessions(shelf.database, shelf.keys, 2)
    new, old = (Rewrapping(database=shelf.database, keys=keys) for keys in (BOTH, OLD_SEALS))
    await new.ask()

    report = await run(old)

    assert (report.number, report.rewrapped) == (2, 3)
    assert totals(await new.count()) == {2: 3}
    await old.ask()
    assert (await run(new)).rewrapped == 3
    assert totals(await new.count()) == {1: 3}
    assert (await run(new)).number == 2
    assert (await run(old)).rewrapped == 0
    assert totals(await new.count()) == {2: 3}


async def test_who_lacks_the_key_that_was_asked_for_does_nothing(shelf: Shelf) -> None:
    await add_sessions(shelf.database, shelf.keys, 2)
    await Rewrapping(database=shelf.database, keys=BOTH).ask()

    with pytest.raises(Unavailable) as raised:
        await run(Rewrapping(database=shelf.database, keys=MasterKeyRing({1: OLD})))

    assert raised.value.context.startswith(
        "master key 2, which is to seal, is not known here: bring it back, or"
    )
    assert "`openecr keys rewrap`" in raised.value.context
    assert (await run(Rewrapping(database=shelf.database, keys=BOTH))).rewrapped == 3


async def test_what_no_known_key_opens_is_told_and_left(shelf: Shelf) -> None:
    lost = MasterKeyRing({9: b"9" * 32})
    await add_sessions(shelf.database, lost, 2)

    report = await run(Rewrapping(database=shelf.database, keys=BOTH))

    assert (report.unopened, report.rewrapped) == (2, 1)
    assert totals(await Rewrapping(database=shelf.database, keys=BOTH).count()) == {2: 1, 9: 2}


async def test_clients_go_on_while_keys_change(shelf: Shelf) -> None:
    """A secret is rotated, uploads end and begin, and blobs are pushed between the steps of a run."""
    accounts_before = accounts_of(shelf, shelf.keys)
    root = await accounts_before.ensure()
    await shelf.push(b"pushed before")
    upload = await shelf.uploads.start(shelf.grant)
    await shelf.uploads.append(shelf.grant, upload.id, chunks_of(b"in the middle"))
    old_server = shelf.uploads
    rewrapping = Rewrapping(database=shelf.database, keys=BOTH)
    report = await rewrapping.resumed({})

    fresh = await accounts_of(shelf, BOTH).rotate_key(root.account_id)
    await rewrapping.step(report)
    after_rotation(shelf)
    await old_server.finish(shelf.grant, upload.id, digests_of(b"in the middle"), rules=FinishRules.REGISTRY)
    while await rewrapping.step(report):
        await shelf.push(f"pushed at {report.kind}".encode())
    await run(Rewrapping(database=shelf.database, keys=BOTH))

    for column in (ACCESS_KEY_SECRETS, BLOB_KEYS, UPLOAD_KEYS):
        rows = await shelf.database.scan(
            lambda connection, column=column: column.list_after(connection, column.first, limit=99)  # type: ignore[misc]  # a default binds it
        )
        assert {master_key_number(row.sealed) for row in rows} <= {2}
    assert (await accounts_of(shelf, NEW_ALONE).ensure()).secret == fresh.secret
    for content in (b"pushed before", b"in the middle"):
        blob = await shelf.blobs.get(shelf.grant, digests_of(content)[0])
        assert await shelf.read(blob) == content
