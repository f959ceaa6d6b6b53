"""Proving at each start that the key ring opens what the database holds.

The first server seals a known text into the database. Another ring, of a folder that was forgotten when the database
was moved, say, would serve until somebody needs a secret, and seal more that the right ring cannot open.
"""

from openecr.application.accounts import SECRET_PURPOSE, associated_data
from openecr.domain.accounts import SealedKey
from openecr.domain.errors import CannotStart
from openecr.ports.keys import KeyRing
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


async def prove_key_ring(database: Database, keys: KeyRing) -> None:
    """Open the proof that the database holds, or leave one in a database that has none. Raises CannotStart."""
    fresh = keys.seal(PROOF_PURPOSE, _TEXT).hex()
    sample = await database.read(_find_sample)

    def claim(connection: Connection) -> str:
        server_state.put_first(connection, server_state.KEY_RING_PROOF, fresh)
        return server_state.find(connection, server_state.KEY_RING_PROOF) or fresh

    if sample is not None:  # without a proof: an earlier version's
        _open(keys, SECRET_PURPOSE, sample.sealed_secret, associated=_bound_to(sample))
    found = await database.read(lambda connection: server_state.find(connection, server_state.KEY_RING_PROOF))
    if found is None:
        found = await database.write(claim)
    _open(keys, PROOF_PURPOSE, bytes.fromhex(found))


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
