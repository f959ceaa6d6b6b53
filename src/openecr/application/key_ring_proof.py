"""Proving at each start that the key ring opens what the database holds.

The first server seals a known text into the database. Another ring, of a folder that was forgotten when the database
was moved, say, would serve until somebody needs a secret, and seal more that the right ring cannot open.

That text is sealed under one key of the ring. So whoever starts first with a key of another number leaves a proof of
that key as well: where servers have folders of their own, `openecr keys add` may have made two keys of one number. A
proof of a number stays when its key is taken out, and hangs on nothing.
"""

from collections.abc import Mapping, Sequence

from openecr.application.accounts import SECRET_PURPOSE, associated_data
from openecr.domain.accounts import SealedKey
from openecr.domain.errors import CannotStart
from openecr.ports.keys import KeyRing, ServerKeyRing
from openecr.store import access_keys, server_state
from openecr.store.connections import Connection
from openecr.store.database import Database

PROOF_PURPOSE = "key-ring-proof"
_TEXT = b"OpenECR"


async def is_claimed(database: Database) -> bool:
    """Tell whether a server has ever used a database: what it holds was sealed by that server's ring."""

    def find(connection: Connection) -> bool:
        names = (server_state.KEY_RING_PROOF, server_state.DEFAULT_ACCOUNT)
        return any(server_state.find(connection, name) is not None for name in names)

    return await database.read(find)


async def prove_key_ring(database: Database, keys: ServerKeyRing) -> None:
    """Open the proofs that the database holds, and leave those that it lacks. Raises CannotStart."""
    await check_key_ring(database, keys)  # whoever is refused claims no number
    fresh = keys.seal(PROOF_PURPOSE, _TEXT).hex()

    def claim(connection: Connection) -> str:
        server_state.put_first(connection, server_state.KEY_RING_PROOF, fresh)
        return server_state.find(connection, server_state.KEY_RING_PROOF) or fresh

    if await database.read(_find_proof) is None:
        _open(keys, PROOF_PURPOSE, bytes.fromhex(await database.write(claim)))
    await _prove_each_key(database, keys)


async def check_key_ring(database: Database, keys: ServerKeyRing) -> None:
    """Open the proofs that the database holds, and write nothing. Raises CannotStart."""
    sample = await database.read(_find_sample)
    if sample is not None:  # without a proof: an earlier version's
        _open(keys, SECRET_PURPOSE, sample.sealed_secret, associated=_bound_to(sample))
    found = await database.read(_find_proof)
    if found is not None:
        _open(keys, PROOF_PURPOSE, bytes.fromhex(found))
    _open_each(keys, await database.read(lambda connection: _find_proofs(connection, keys.numbers)))


def highest_proven(connection: Connection) -> int:
    """Return the highest number that a master key was ever used under, whether or not it is still there; 0: none."""
    name = server_state.find_last(connection, server_state.MASTER_KEY_PROOF)
    return 0 if name is None else int(name.removeprefix(server_state.MASTER_KEY_PROOF))


async def _prove_each_key(database: Database, keys: ServerKeyRing) -> None:
    """Let nobody start whose key of a number is not the one that was used first. Raises CannotStart."""
    known = await database.read(lambda connection: _find_proofs(connection, keys.numbers))
    fresh = {
        number: keys.seal_under(number, PROOF_PURPOSE, _TEXT).hex()
        for number in keys.numbers
        if number not in known
    }

    def claim(connection: Connection) -> Mapping[int, str]:
        for number, proof in fresh.items():
            server_state.put_first(connection, _name_of(number), proof)
        return _find_proofs(connection, tuple(fresh))

    if fresh:
        _open_each(keys, await database.write(claim))


def _find_proof(connection: Connection) -> str | None:
    return server_state.find(connection, server_state.KEY_RING_PROOF)


def _find_proofs(connection: Connection, numbers: Sequence[int]) -> Mapping[int, str]:
    found = ((number, server_state.find(connection, _name_of(number))) for number in numbers)
    return {number: proof for number, proof in found if proof is not None}


def _name_of(number: int) -> str:
    return f"{server_state.MASTER_KEY_PROOF}{number:010}"


def _open_each(keys: KeyRing, proofs: Mapping[int, str]) -> None:
    for number, proof in proofs.items():
        try:
            keys.unseal(PROOF_PURPOSE, bytes.fromhex(proof))
        except ValueError:
            raise CannotStart(
                message=f"master key {number} is not the one that this database was used with: give that one; a key "
                "that nothing was sealed under yet may have another number instead"
            ) from None


def _find_sample(connection: Connection) -> SealedKey | None:
    """Return a secret of the default account."""
    account_id = server_state.find(connection, server_state.DEFAULT_ACCOUNT)
    return None if account_id is None else access_keys.find_newest_active(connection, account_id, account_id)


def _bound_to(key: SealedKey) -> bytes:
    return associated_data(key.account_id, key.access_key_id)


def _open(keys: KeyRing, purpose: str, sealed: bytes, *, associated: bytes = b"") -> None:
    try:
        keys.unseal(purpose, sealed, associated=associated)
    except ValueError:
        raise CannotStart(
            message="these master keys do not open what the database holds: give the keys that it was used with "
            "(--keys FOLDER, or OPENECR_MASTER_KEYS)"
        ) from None
